//! The account under which servers and programs run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{getegid, geteuid};

/// A user of this system.
///
/// Except for [`Account::nameless`] it has an entry in the user database, because PostgreSQL's peer authentication looks the
/// name up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account of PostgreSQL, which pgsvid must share: the one that runs the tests, or instead of root, which PostgreSQL
    /// refuses, `postgres` or `nobody`.
    pub fn server() -> &'static Self {
        static SERVER: OnceLock<Account> = OnceLock::new();
        SERVER.get_or_init(|| {
            if !geteuid().is_root() {
                return Self::current().clone();
            }
            let users = users();
            ["postgres", "nobody"]
                .iter()
                .find_map(|name| users.iter().find(|user| user.name == *name))
                .cloned()
                .expect("root needs a user `postgres` or `nobody` to run PostgreSQL under")
        })
    }

    /// An account that is neither root nor the server's, if the tests may choose one.
    pub fn third() -> Option<Self> {
        let choose = geteuid().is_root();
        let is_third = |user: &Self| user.uid != 0 && user != Self::server();
        choose.then(|| users().into_iter().find(is_third)).flatten()
    }

    /// An account without an entry in the user database, as in some containers. Only root may choose it.
    pub fn nameless() -> Self {
        let users = users();
        let is_free = |number: &u32| users.iter().all(|user| user.uid != *number);
        let uid = (54_321..60_000).find(is_free).expect("not all numbers have a name");
        Self { name: String::new(), uid, gid: uid }
    }

    /// The account that runs the tests.
    pub fn current() -> &'static Self {
        static CURRENT: OnceLock<Account> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let uid = geteuid().as_raw();
            let name = users()
                .into_iter()
                .find(|user| user.uid == uid)
                .map(|user| user.name)
                .or_else(|| name_from_directory_service(uid))
                .unwrap_or_else(|| {
                    panic!("uid {uid} has no name, so PostgreSQL's peer authentication cannot work")
                });
            Self { name, uid, gid: getegid().as_raw() }
        })
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user ID.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The ID of the user's first group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Lets the command run under this account. Only root can change the account, and has to.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self != Self::current() {
            command.uid(self.uid).gid(self.gid);
        }
    }
}

fn users() -> Vec<Account> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(user).collect()
}

fn user(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}

fn name_from_directory_service(uid: u32) -> Option<String> {
    let output = Command::new("getent").args(["passwd", &uid.to_string()]).output().ok()?;
    user(str::from_utf8(&output.stdout).ok()?).map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd() {
        let found = user("postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash").unwrap();
        assert_eq!((found.name(), found.uid(), found.gid()), ("postgres", 101, 104));
        assert_eq!(user("+::::::"), None);
    }

    #[test]
    fn servers_never_run_as_root() {
        assert_ne!(Account::server().uid(), 0);
    }
}
