//! One hook, as it is configured.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

/// A command or a signal that follows a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its name, which no other hook and no server has.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// The event after which it is run.
    pub when: When,
    /// How long a run may take.
    pub timeout: Duration,
    /// Whether the next publication waits for its run, for a limited time.
    pub barrier: bool,
    /// The user that it runs as; `None` for the user of pgsvid.
    pub user: Option<User>,
    /// The environment variables of a command, in addition to those that pgsvid sets.
    pub environment: Vec<(String, String)>,
    /// The directory of the published files.
    pub directory: PathBuf,
    /// Its number in the parent's table; `None` if the parent does not have this hook.
    #[serde(skip)]
    pub number: Option<u8>,
}

/// A user, with the IDs that belonged to the name when pgsvid was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// As it is configured.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its other groups.
    pub groups: Vec<u32>,
}

impl User {
    /// The user with its groups, by /etc/passwd and /etc/group; no other name service is asked. A user who is not in
    /// /etc/passwd gets the group whose ID equals the user ID.
    #[must_use]
    pub fn look_up(name: &str, uid: u32) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let users = read("/etc/passwd");
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let has_name = |fields: &Vec<String>| fields.first().is_some_and(|it| it == name);
        let has_id = |fields: &Vec<String>| fields.get(2).is_some_and(|it| it.parse() == Ok(uid));
        // Another name may have the same ID, with other groups.
        let users = || users.lines().map(fields);
        let entry = users().find(has_name).or_else(|| users().find(has_id)).unwrap_or_default();
        let gid = entry.get(3).and_then(|gid| gid.parse().ok()).unwrap_or(uid);
        let known_as = entry.first().map_or(name, String::as_str);
        let all = read("/etc/group");
        let groups = all.lines().map(fields).filter_map(|group| {
            let is_member = group.get(3)?.split(',').any(|member| member == known_as);
            group.get(2)?.parse().ok().filter(|_| is_member)
        });
        Self { name: name.to_owned(), uid, gid, groups: groups.collect() }
    }
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A program with its arguments; no shell reads them.
    Command(Vec<String>),
    /// A signal to the process whose number a file holds.
    Signal {
        /// Its name, without `SIG`.
        signal: String,
        /// The file.
        pid_file: PathBuf,
        /// The name of the program that the process must run.
        process: Option<String>,
    },
    /// The parent signals or restarts the application of `exec`.
    Application,
}

/// The event after which a hook is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// After each publication.
    Published,
    /// Once every PostgreSQL is proven to serve what was published.
    Proven,
    /// After a token or the JWT bundle was written.
    Jwt,
}

impl When {
    /// Its name in the configuration and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Proven => "proven",
            Self::Jwt => "jwt",
        }
    }
}

impl When {
    /// The event in words, which follow "after ".
    #[must_use]
    pub fn occasion(self) -> &'static str {
        match self {
            Self::Published => "each set is published",
            Self::Proven => "each set is proven",
            Self::Jwt => "each token is written",
        }
    }
}

/// The signals that a hook may send.
pub const SIGNALS: [(&str, Signal); 8] = [
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
    ("WINCH", Signal::WINCH),
    ("CONT", Signal::CONT),
];

/// The signal with this name, which may begin with `SIG`; and its name without `SIG`.
#[must_use]
pub fn signal(name: &str) -> Option<(&'static str, Signal)> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    SIGNALS.into_iter().find(|(known, _)| *known == name)
}
