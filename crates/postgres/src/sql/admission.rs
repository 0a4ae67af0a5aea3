//! What lets this process's user log in over the socket: lines of `pg_hba.conf` and `pg_ident.conf`, and a command that adds
//! them.

use super::Settings;
use super::commands::{self, SUPERUSER};
use super::words::word;
use pgsvid_base::text::argument;

/// Which lines are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission<'a> {
    /// Whether `pg_hba.conf` needs a line above all others.
    pub line: bool,
    /// The map that needs a line in `pg_ident.conf`.
    pub map: Option<&'a str>,
}

impl Admission<'_> {
    /// Both lines are missing.
    #[must_use]
    pub fn of_both() -> Self {
        Self { line: true, map: Some(MAP) }
    }
}

/// The map that pgsvid's own line of `pg_hba.conf` uses.
const MAP: &str = "pgsvid";
/// The placeholder for a user whose name is not known.
const UNKNOWN: &str = "<os-user>";

impl Settings {
    /// The line of `pg_hba.conf` that lets the role in, and the line of `pg_ident.conf` that lets this process's user log in
    /// as it.
    #[must_use]
    pub fn admitting_lines(&self, map: &str) -> [String; 2] {
        let (database, role) = (word(&self.database), word(&self.user));
        let method = if self.password_file.is_some() {
            "scram-sha-256".to_owned()
        } else {
            format!("peer map={MAP}")
        };
        let user = commands::own_name().map_or_else(|| UNKNOWN.to_owned(), |name| word(&name));
        [format!("local {database} {role} {method}"), format!("{} {user} {role}", word(map))]
    }

    /// The command that adds the missing lines and reloads. If pgsvid cannot read its user's name, the command asks `id` for
    /// it, and stops before it writes anything if the machine on which it is executed has no such user.
    #[must_use]
    pub fn let_in(&self, Admission { line, map }: Admission<'_>) -> String {
        let map = map.filter(|_| self.password_file.is_none());
        let [hba, mapping] = self.admitting_lines(map.unwrap_or(MAP));
        let file = |setting: &str| format!("\"$({} -AtXc 'SHOW {setting}')\"", self.psql_here());
        let mut steps = Vec::new();
        let mut mapping = argument(&mapping);
        if map.is_some() && commands::own_name().is_none() {
            // A sandbox keeps pgsvid from reading the user database.
            steps.push(format!("u=$(id -un {})", rustix::process::geteuid().as_raw()));
            mapping = mapping.replace(UNKNOWN, "'\"$u\"'");
        }
        if line {
            // sed treats a backslash as the beginning of an escape.
            let text = argument(format!("1i {}", hba.replace('\\', "\\\\")));
            steps.push(format!("sed -i --follow-symlinks {text} {}", file("hba_file")));
        }
        if map.is_some() {
            // The operating-system user `postgres` logs in as this role without a map so far. The new line of pg_hba.conf
            // names a map, so that user needs a line in the map, too.
            let own = (line
                && self.user == SUPERUSER
                && commands::own_name().as_deref() != Some(SUPERUSER))
            .then(|| format!(" {}", argument(format!("{MAP} {SUPERUSER} {SUPERUSER}"))));
            let lines = format!("{mapping}{}", own.unwrap_or_default());
            steps.push(format!("printf '\\n%s' {lines} '' >> {}", file("ident_file")));
        }
        steps.push(format!("{} -c 'SELECT pg_catalog.pg_reload_conf()'", self.psql_here()));
        self.as_owner(&steps.join(" && "))
    }
}
