//! Commands for pasting, by which an administrator changes the server.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Settings;
use pgsvid_base::files;
use pgsvid_base::text::argument;

/// Largest user database that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// The superuser that `initdb` makes, and the user that packages run PostgreSQL as.
const SUPERUSER: &str = "postgres";
/// For statements about the whole server: unlike the database `postgres` everybody has it, and nobody works in it, so it has no
/// triggers that somebody else has made.
const ANYWHERE: &str = "template1";

/// How a superuser reaches a server by psql.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Psql {
    /// What lets a command run as PostgreSQL's user, with a blank behind it.
    switch: String,
    /// Where the server is, with a blank before it.
    options: String,
}

impl Psql {
    /// A server that is reached by these options of psql alone, such as ` -h db.example`.
    #[must_use]
    pub fn at(options: String) -> Self {
        Self { switch: String::new(), options }
    }

    /// The command that executes a statement about the whole server.
    #[must_use]
    pub fn execute(&self, statement: &str) -> String {
        let Self { switch, options } = self;
        format!("{switch}psql -U {SUPERUSER} -d {ANYWHERE} -c {}{options}", argument(statement))
    }
}

impl Settings {
    /// How a superuser reaches this server. The command runs as the user that owns the socket, which `peer` lets in, unless that is
    /// who reads it.
    #[must_use]
    pub fn administrator(&self) -> Psql {
        Psql { switch: self.switch(), options: self.psql_options() }
    }

    /// The command that executes a statement about the whole server as a superuser.
    #[must_use]
    pub fn psql(&self, statement: &str) -> String {
        self.administrator().execute(statement)
    }

    /// The same for statements that count in one database. Its event triggers, which may be anybody's, do not run: those that are
    /// enabled as usual pass over a session of this kind, on every version.
    #[must_use]
    pub fn psql_in(&self, database: &str, statements: &[String]) -> String {
        let statements: Vec<String> =
            statements.iter().map(|statement| format!(" -c {}", argument(statement))).collect();
        let (user, options) = (self.switch(), self.psql_options());
        format!(
            "{user}env PGOPTIONS='-c session_replication_role=replica' psql -U {SUPERUSER} -d {}{}{options}",
            argument(database),
            statements.concat()
        )
    }

    /// What lets a command run as PostgreSQL's user; nothing where that is who asks.
    fn switch(&self) -> String {
        let owner = std::fs::symlink_metadata(self.socket()).ok().map(|socket| socket.uid());
        if owner == Some(rustix::process::geteuid().as_raw()) {
            return String::new();
        }
        let name = owner
            .filter(|owner| *owner != 0)
            .and_then(name)
            .unwrap_or_else(|| SUPERUSER.to_owned());
        format!("sudo -u {} ", argument(name))
    }
}

fn name(uid: u32) -> Option<String> {
    let users = files::text(Path::new("/etc/passwd"), LARGEST).ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
