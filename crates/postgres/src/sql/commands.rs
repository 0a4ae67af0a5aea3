//! Commands that an administrator pastes to change the server.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Settings;
use pgsvid_base::files;
use pgsvid_base::text::argument;

/// Largest user database that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// The superuser that `initdb` creates, and the user as which packages run PostgreSQL.
pub(super) const SUPERUSER: &str = "postgres";
/// The database for statements about the whole server. Unlike `postgres` it always exists, and nobody works in it, so nobody
/// has created triggers in it.
const ANYWHERE: &str = "template1";

/// How a superuser reaches a server with psql.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Psql {
    /// The prefix that runs a command as PostgreSQL's user, with a trailing blank.
    switch: String,
    /// The prefix by which libpq checks who answers, with a trailing blank.
    peer: String,
    /// The options that name the server, with a leading blank.
    options: String,
}

impl Psql {
    /// A server on the network. It must prove its name by an authority of `bundle` before psql sends it a password. `address`
    /// is connected to instead of a look-up, unless it is empty.
    #[must_use]
    pub fn at(host: &str, address: &str, port: u16, bundle: &Path) -> Self {
        let (host, bundle) = (argument(host), argument(bundle));
        let address = if address.is_empty() {
            String::new()
        } else {
            format!("PGHOSTADDR={} ", argument(address))
        };
        Self {
            switch: String::new(),
            peer: format!("env PGSSLMODE=verify-full PGSSLROOTCERT={bundle} {address}"),
            options: format!(" -h {host} -p {port}"),
        }
    }

    /// The command that executes a statement about the whole server.
    #[must_use]
    pub fn execute(&self, statement: &str) -> String {
        let Self { switch, peer, options } = self;
        let statement = argument(statement);
        format!("{switch}{peer}psql -U {SUPERUSER} -d {ANYWHERE} -c {statement}{options}")
    }

    /// The same, followed by a reload, so that the change takes effect.
    #[must_use]
    pub fn execute_and_reload(&self, statement: &str) -> String {
        let Self { switch, peer, options } = self;
        let statement = argument(statement);
        format!(
            "{switch}{peer}psql -U {SUPERUSER} -d {ANYWHERE} -c {statement} -c 'SELECT pg_catalog.pg_reload_conf()'{options}"
        )
    }
}

impl Settings {
    /// How a superuser reaches this server. The command runs as the owner of the socket, which `peer` lets in, unless
    /// pgsvid's user is the owner.
    #[must_use]
    pub fn administrator(&self) -> Psql {
        let peer = self.peer().map_or_else(String::new, |peer| format!("env {peer}"));
        Psql { switch: self.switch(), peer, options: self.psql_options() }
    }

    /// The command that executes a statement about the whole server as a superuser.
    #[must_use]
    pub fn psql(&self, statement: &str) -> String {
        self.administrator().execute(statement)
    }

    /// The same, followed by a reload, so that the change takes effect.
    #[must_use]
    pub fn psql_with_reload(&self, statement: &str) -> String {
        self.administrator().execute_and_reload(statement)
    }

    /// The command that executes statements in one database as a superuser, without a reload. The owner of the database can set
    /// everything else that a session starts with, so the command sets what decides how statements are read: the encoding, and
    /// the schemas in which names are looked up. With `session_replication_role = replica` event triggers that are enabled
    /// normally do not run, on every version: a trigger's function may belong to any role.
    #[must_use]
    pub fn psql_in(&self, database: &str, statements: &[String]) -> String {
        let statements: Vec<String> =
            statements.iter().map(|statement| format!(" -c {}", argument(statement))).collect();
        let (user, options) = (self.switch(), self.psql_options());
        format!(
            "{user}env {}PGCLIENTENCODING=UTF8 PGOPTIONS='-c session_replication_role=replica -c search_path=' psql -U {SUPERUSER} {}{}{options}",
            self.peer().unwrap_or_default(),
            in_database(database),
            statements.concat()
        )
    }

    /// The beginning of a psql command about the whole server, for a reader who is PostgreSQL's user.
    pub(super) fn psql_here(&self) -> String {
        let peer = self.peer().map_or_else(String::new, |peer| format!("env {peer}"));
        format!("{peer}psql -U {SUPERUSER} -d {ANYWHERE}{}", self.psql_options())
    }

    /// The command that runs a shell script as PostgreSQL's user.
    pub(super) fn as_owner(&self, script: &str) -> String {
        let switch = self.switch();
        if switch.is_empty() {
            script.to_owned()
        } else {
            format!("{switch}sh -c {}", argument(script))
        }
    }

    /// The prefix that runs a command as PostgreSQL's user; empty if that user reads the command.
    fn switch(&self) -> String {
        if self.is_in_an_open_directory() {
            let user = self.expected_user();
            let is_ours = own_name().as_deref() == Some(&user) && !is_read_by_others();
            return if is_ours { String::new() } else { format!("sudo -u {} ", argument(user)) };
        }
        let owner = std::fs::symlink_metadata(self.socket()).ok().map(|socket| socket.uid());
        if owner == Some(own()) && !is_read_by_others() {
            return String::new();
        }
        let name = owner
            .filter(|owner| *owner != 0)
            .and_then(name)
            .unwrap_or_else(|| SUPERUSER.to_owned());
        format!("sudo -u {} ", argument(name))
    }
}

impl Settings {
    /// `PGREQUIREPEER=postgres `, where other users may put a socket into PostgreSQL's directory: psql then connects to no process
    /// of theirs, and sends it no password. pgsvid has looked who listens before it prints a command, but PostgreSQL may be
    /// restarted before somebody pastes it.
    fn peer(&self) -> Option<String> {
        let user = argument(self.expected_user());
        self.is_in_an_open_directory().then(|| format!("PGREQUIREPEER={user} "))
    }

    /// Whether users other than root, this process's and PostgreSQL's may create files in the socket's directory.
    fn is_in_an_open_directory(&self) -> bool {
        std::fs::metadata(&self.host).is_ok_and(|found| {
            let is_trusted = |uid| uid == 0 || uid == own() || runs_postgresql(uid);
            found.mode() & 0o002 != 0
                || !is_trusted(found.uid()) && self.require_peer != Some(found.uid())
        })
    }

    /// The user that PostgreSQL should run as: the configured one, or this process's, as the daemon demands. Root's `check` and
    /// `setup` expect the user of the packages.
    fn expected_user(&self) -> String {
        let wanted = self.require_peer.or_else(|| Some(own()).filter(|uid| *uid != 0));
        wanted.and_then(name).unwrap_or_else(|| SUPERUSER.to_owned())
    }
}

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Environment variables that show that another user reads this process's output, and pastes commands into their own shell: sudo
/// names its caller, and systemd names each invocation of a service, whose journal the administrator reads.
const OTHERS: [&str; 2] = ["SUDO_USER", "INVOCATION_ID"];

fn is_read_by_others() -> bool {
    OTHERS.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The option of psql for a database of that name. A name with `=` in it, or one that looks like a URI, would be a connection string, which
/// overrides all other options (libpq: `fe-connect.c`, `recognized_connection_string`).
#[must_use]
pub fn in_database(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_plain) {
        return format!("-d {}", argument(name));
    }
    let name = name.replace('\\', "\\\\").replace('\'', "\\'");
    format!("-d {}", argument(format!("dbname='{name}'")))
}

/// The name of this process's user in /etc/passwd; `None` if it is not there, or if the file cannot be read.
#[must_use]
pub fn own_name() -> Option<String> {
    name(own())
}

/// Whether packages run PostgreSQL as this user.
pub(crate) fn runs_postgresql(uid: u32) -> bool {
    name(uid).as_deref() == Some(SUPERUSER)
}

fn name(uid: u32) -> Option<String> {
    let users = files::text(Path::new("/etc/passwd"), LARGEST).ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
