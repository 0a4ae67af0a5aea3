//! Which user may set a server up: the server's own. Root switches to that user, for good, before anything is sent or
//! touched.
//!
//! The process that listens on the socket says where the server's files are. So setup never has more rights than that
//! process: a server planted by an attacker cannot make setup change anything that the attacker could not.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::Error;
use crate::{files, sandbox, sql, survey};

/// Largest user or group database that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// The threads of this process (`proc_pid_task(5)`).
const TASKS: &str = "/proc/self/task";

/// The user that this process has switched to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
    /// The name in /etc/passwd, if there is one.
    name: Option<String>,
    groups: BTreeSet<u32>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (uid {})", self.uid),
            None => write!(
                f,
                "uid {}, which has no name in /etc/passwd, and so no groups from /etc/group",
                self.uid
            ),
        }
    }
}

/// Makes sure that this process has no more rights than the listener on the server's socket. Root switches to that user,
/// which is returned; any other user must already be that user.
pub(super) async fn become_owner(server: &sql::Settings) -> Result<Option<Owner>, Error> {
    let socket = server.socket();
    let (uid, gid) = sql::listener(server).await.map_err(|cause| Error::Socket {
        socket: socket.clone(),
        remedy: match cause {
            // Only a running server can be set up or reverted, and this one may need files that no longer exist.
            sql::Error::NotRunning => Some(format!(
                "{}; if it does not start because the files that ssl_cert_file names are missing, start it once without TLS, continue, \
                 then stop it and start it as usual: {}",
                cause.remedy(server).unwrap_or_default(),
                survey::start_without_tls(server)
            )),
            _ => cause.remedy(server),
        },
        cause,
    })?;
    let ours = geteuid();
    if !ours.is_root() {
        // A program of root's may be forwarding connections. Root's rights are never used.
        return if uid == ours.as_raw() || uid == 0 {
            Ok(None)
        } else {
            Err(Error::ForeignListener { socket, listener: uid, ours: ours.as_raw() })
        };
    }
    if uid == 0 {
        return Err(Error::RootListens { socket });
    }
    // Checked as root: after the switch this process has the listener's user ID, and would always accept that user.
    if !sql::may_listen(server, uid) {
        let cause = sql::Error::Peer { uid };
        return Err(Error::Socket { socket, remedy: cause.remedy(server), cause });
    }
    let text = |path: &str| files::text(Path::new(path), LARGEST).unwrap_or_default();
    let owner = Owner::find(uid, gid, &text("/etc/passwd"), &text("/etc/group"));
    match owner.take_over() {
        Ok(()) => Ok(Some(owner)),
        Err(cause) => Err(Error::NotBecome { user: owner.to_string(), cause }),
    }
}

impl Owner {
    /// The user with this ID and its groups in /etc/group, as `initgroups(3)` gives them to a server: one of them may allow
    /// it to read the published key.
    fn find(uid: u32, gid: u32, passwd: &str, group: &str) -> Self {
        let number = |field: Option<&str>| field.and_then(|field| field.parse::<u32>().ok());
        let user = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_it = number(fields.get(2).copied()) == Some(uid);
            is_it.then(|| (fields[0].to_owned(), number(fields.get(3).copied())))
        });
        let Some((name, first)) = user else {
            return Self { uid, gid, name: None, groups: BTreeSet::new() };
        };
        let others = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let members = fields.get(3)?;
            members.split(',').any(|member| member == name).then(|| number(Some(fields[2])))?
        });
        let groups = others.chain(first).collect();
        Self { uid, gid, name: Some(name), groups }
    }

    /// Switches this process, which runs as root with one thread, to that user for good.
    fn take_over(&self) -> io::Result<()> {
        // The kernel reads this number as "leave unchanged".
        if self.uid == 0 || [self.uid, self.gid].contains(&u32::MAX) {
            return Err(io::Error::other("these are not the numbers of a user"));
        }
        // These system calls only change the thread that makes them.
        let threads = std::fs::read_dir(TASKS)?.count();
        if threads != 1 {
            return Err(io::Error::other(format!("{threads} threads run already")));
        }
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups)?;
        let gid = Gid::from_raw(self.gid);
        set_thread_res_gid(gid, gid, gid)?;
        let uid = Uid::from_raw(self.uid);
        set_thread_res_uid(uid, uid, uid)?;
        // The kernel clears the capabilities itself, unless a securebit is set.
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        )?;
        // The listener's user must not control this process, above all through its terminal. Set after the change of user,
        // which resets it.
        sandbox::keep_out_of_dumps().map_err(io::Error::other)?;
        for thread in std::fs::read_dir(TASKS)? {
            let status = std::fs::read_to_string(thread?.path().join("status"))?;
            if let Some(line) = self.contradicts(&status) {
                return Err(io::Error::other(format!("a thread still has {line:?}")));
            }
        }
        Ok(())
    }

    /// The line of a thread's status that shows other rights than this user's; the name of a missing line.
    fn contradicts(&self, status: &str) -> Option<String> {
        let Self { uid, gid, groups, .. } = self;
        let four = |number: &u32| vec![number.to_string(); 4];
        let none = || vec!["0000000000000000".to_owned()];
        let wanted = [
            ("Uid:", four(uid)),
            ("Gid:", four(gid)),
            ("Groups:", groups.iter().map(u32::to_string).collect()),
            ("CapInh:", none()),
            ("CapPrm:", none()),
            ("CapEff:", none()),
            ("CapAmb:", none()),
        ];
        wanted.into_iter().find_map(|(name, wanted)| {
            let Some(line) = status.lines().find(|line| line.starts_with(name)) else {
                return Some(name.to_owned());
            };
            // The kernel sorts groups by its own numbers.
            let sorted = |mut fields: Vec<String>| {
                fields.sort_unstable();
                fields
            };
            let found = line.split_whitespace().skip(1).map(str::to_owned).collect();
            (sorted(found) != sorted(wanted)).then(|| line.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnonsense\n\
                          postgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
    const GROUP: &str = "root:x:0:\nssl-cert:x:103:www,postgres\npostgres:x:104:\nother:x:105:postgres2\nnonsense\n";

    #[test]
    fn a_user_has_the_groups_of_its_name() {
        let owner = Owner::find(101, 104, PASSWD, GROUP);
        assert_eq!(owner.to_string(), "postgres (uid 101)");
        assert_eq!(owner.groups, BTreeSet::from([103, 104]));
        let owner = Owner::find(999, 998, PASSWD, GROUP);
        assert_eq!((owner.name, owner.gid, owner.groups), (None, 998, BTreeSet::new()));
    }

    #[test]
    fn every_remaining_right_of_root_is_found() {
        let owner = Owner::find(101, 104, PASSWD, GROUP);
        let none = "0000000000000000";
        let status = format!(
            "Name:\tpgsvid\nUid:\t101\t101\t101\t101\nGid:\t104\t104\t104\t104\nGroups:\t103 104 \nCapInh:\t{none}\n\
             CapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t000001ffffffffff\nCapAmb:\t{none}\n"
        );
        assert_eq!(owner.contradicts(&status), None);
        for (was, is) in [
            ("Uid:\t101\t101\t101\t101", "Uid:\t101\t101\t0\t101"),
            ("Gid:\t104\t104\t104\t104", "Gid:\t104\t104\t104\t0"),
            ("103 104", "0 103 104"),
            ("103 104", "103 104 105"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000000002"),
            ("CapAmb", "Cap"),
        ] {
            assert!(owner.contradicts(&status.replace(was, is)).is_some(), "{is}");
        }
    }
}
