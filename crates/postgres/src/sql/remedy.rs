//! What an error means for an operator: the cause, and the remedy, ready to paste.

use std::io;

use super::error::{Error, MOST_ITERATIONS};
use super::refusal::Refusal;
use super::statements::{self, identifier};
use super::words::word;
use super::{Admission, Settings};

/// The role that the operating-system user `postgres` gets by the method `peer` without a map.
const SUPERUSER: &str = "postgres";

impl Error {
    /// What is wrong, with the role and database concerned.
    #[must_use]
    pub fn cause(&self, settings: &Settings) -> String {
        let Settings { user, database, .. } = settings;
        if let Some(refusal) = Refusal::of(self, settings) {
            return why(refusal, settings);
        }
        match self {
            Self::Refused { login: true, .. } | Self::NoLogin(_) | Self::TooManyIterations => {
                format!("role {user} cannot log in to database {database}")
            }
            Self::Refused { code, .. } if code.code() == "42501" => {
                format!("role {user} may not call pg_reload_conf() in database {database}")
            }
            Self::NotRunning => format!("nobody listens on {}", settings.socket().display()),
            _ => self.to_string(),
        }
    }

    /// The command within the remedy, if there is one.
    #[must_use]
    pub fn command(&self, settings: &Settings) -> Option<String> {
        let Settings { user, database, .. } = settings;
        let create = || {
            settings
                .psql_in(database, &[statements::create_role(user), statements::grant_reload(user)])
        };
        if let Some(refusal) = Refusal::of(self, settings) {
            return match refusal {
                // A role belongs to the whole server, but its grant belongs to one database.
                Refusal::NoRole | Refusal::Unclear => Some(create()),
                Refusal::NoLogin => Some(settings.psql(&statements::let_log_in(user))),
                Refusal::Peer | Refusal::Line | Refusal::Rejected => {
                    Some(settings.let_in(Admission::of_both()))
                }
                Refusal::RoleLimit => Some(settings.psql(&statements::limit_connections(user))),
                Refusal::DatabaseLimit => {
                    Some(settings.psql(&statements::remove_connection_limit(database)))
                }
                Refusal::DatabaseClosed => {
                    Some(settings.psql(&statements::allow_connections(database)))
                }
                Refusal::Password if settings.password_file.is_some() => {
                    Some(settings.psql(&statements::remove_password_expiry(user)))
                }
                Refusal::Password | Refusal::Slots => None,
            };
        }
        match self {
            Self::Refused { code, login: true, .. } if code.code() == "42501" => {
                Some(settings.psql(&statements::grant_connect(database, user)))
            }
            Self::Refused { code, .. } if code.code() == "42501" => {
                Some(settings.psql_in(database, &[statements::grant_reload(user)]))
            }
            // The deciding line asks for a password, but none is configured.
            Self::NoLogin(_) if settings.password_file.is_none() => {
                Some(settings.let_in(Admission::of_both()))
            }
            Self::Planted { statement, .. } => {
                Some(settings.psql_in(database, std::slice::from_ref(statement)))
            }
            _ => None,
        }
    }

    /// What an operator must do, ready to paste. `None` if waiting is enough, or if pgsvid knows no remedy, as for
    /// [`Error::Unexpected`] and [`Error::TooMuch`].
    #[must_use]
    pub fn remedy(&self, settings: &Settings) -> Option<String> {
        let (user, database) = (identifier(&settings.user), &settings.database);
        if let Some(refusal) = Refusal::of(self, settings) {
            return self.remedy_of(refusal, settings);
        }
        match self {
            Self::NotRunning => Some(
                "start PostgreSQL, or set postgres.host to a directory of its unix_socket_directories and \
                 postgres.port to its port, and restart pgsvid"
                    .to_owned(),
            ),
            // As root, pgsvid keeps the capability for a socket without permissions for others only if it finds such a socket
            // when it starts.
            Self::Forbidden if rustix::process::geteuid().is_root() => Some(
                "restart pgsvid now that the socket exists: as root it keeps the right to use a closed socket only if \
                 it finds the socket closed at its start"
                    .to_owned(),
            ),
            Self::Forbidden => Some(format!(
                "let pgsvid's uid enter {} and use the socket (unix_socket_permissions)",
                settings.host.display()
            )),
            Self::Peer { uid } => Some(format!(
                "if PostgreSQL runs as uid {uid}, set postgres.require_peer = \"{uid}\"; otherwise that process has put a \
                 socket of its own at {}: stop it, and start PostgreSQL",
                settings.socket().display()
            )),
            Self::OtherPort { port } => Some(format!(
                "check what {} leads to (ls -l); if that server is the right one, set postgres.port to {port}",
                settings.socket().display()
            )),
            Self::EventTrigger { name } => Some(format!(
                "if only a superuser owns its function, run the statement yourself; or, while setup runs: {}",
                settings.psql_in(database, &[format!("ALTER EVENT TRIGGER {} DISABLE", identifier(name))])
            )),
            Self::Planted { statement, owner } => Some(format!(
                "check what it is, and who has given role {owner} the right to create objects in the schema pg_catalog; to remove it: {}",
                settings.psql_in(&settings.database, std::slice::from_ref(statement))
            )),
            Self::PasswordFile { path, cause }
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some(format!("make {} readable for pgsvid's uid", path.display()))
            }
            Self::PasswordFile { path, .. } => Some(format!(
                "replace {} by a regular file that holds only the password of role {user}",
                path.display()
            )),
            Self::TooManyIterations => Some(format!(
                "set scram_iterations to {MOST_ITERATIONS} or less, and then the password of role {user} again (psql: \\password {user})"
            )),
            Self::LongPath => Some(format!(
                "set postgres.host to a shorter path of the directory {}, such as a symbolic link",
                settings.host.display()
            )),
            Self::Refused { code, login, .. } => match code.code() {
                "42501" if *login => self.command(settings),
                "42501" => Some(format!(
                    "as a superuser, in that database, because the grant only applies there: {}",
                    self.command(settings).unwrap_or_default()
                )),
                "3D000" => Some(format!(
                    "set postgres.database to a database that exists; {database} does not"
                )),
                _ => None,
            },
            Self::NoLogin(_) => Some(format!(
                "{}; where that is impossible, set postgres.password_file to a file with the password of role {user}",
                add_lines(settings)
            )),
            _ => None,
        }
    }

    fn remedy_of(&self, refusal: Refusal, settings: &Settings) -> Option<String> {
        let user = identifier(&settings.user);
        match refusal {
            Refusal::Peer | Refusal::Line | Refusal::Rejected => Some(add_lines(settings)),
            Refusal::Password => Some(match &settings.password_file {
                Some(path) => format!(
                    "put the password of role {user} into {}; if it is right there, it has expired (VALID UNTIL), and \
                     this command removes the expiry",
                    path.display()
                ),
                None => format!("if role {user} exists, {}", add_lines(settings)),
            }),
            Refusal::Unclear => Some(format!(
                "if there is no such role: {}; if the role exists, {}",
                self.command(settings).unwrap_or_default(),
                add_lines(settings)
            )),
            Refusal::Slots => Some(
                "end sessions that are not needed, or raise max_connections (a restart)".to_owned(),
            ),
            _ => self.command(settings),
        }
    }
}

/// The advice to add lines that let this process's user log in as the role.
fn add_lines(settings: &Settings) -> String {
    let [line, mapping] = settings.admitting_lines("pgsvid");
    let role = word(&settings.user);
    if settings.password_file.is_some() {
        return format!(
            "let role {role} log in with its password: `{line}` above the general lines of pg_hba.conf, then reload"
        );
    }
    // The operating-system user `postgres` logs in as this role without a map so far. The new line of pg_hba.conf names a
    // map, so that user needs a line in the map, too.
    let own = if settings.user == SUPERUSER {
        format!(" and `pgsvid {SUPERUSER} {role}` beside it")
    } else {
        String::new()
    };
    format!(
        "let uid {uid} log in as role {role}: `{line}` above the general lines of pg_hba.conf, `{mapping}` in pg_ident.conf{own}, then \
         reload; the uid needs a name where PostgreSQL runs",
        uid = rustix::process::geteuid().as_raw(),
    )
}

fn why(refusal: Refusal, settings: &Settings) -> String {
    let Settings { user, database, .. } = settings;
    match refusal {
        Refusal::NoRole => format!("there is no role {user}"),
        Refusal::NoLogin => format!("role {user} may not log in (NOLOGIN)"),
        Refusal::Peer => format!(
            "role {user} cannot log in to database {database}: the line of pg_hba.conf that decides does not let pgsvid's \
             user log in as this role"
        ),
        Refusal::Line => format!(
            "role {user} cannot log in to database {database}: no line of pg_hba.conf matches it over the socket"
        ),
        Refusal::Rejected => format!(
            "role {user} cannot log in to database {database}: a line of pg_hba.conf rejects it, and the first line that matches \
             a login decides"
        ),
        Refusal::RoleLimit => format!(
            "all connections of role {user} are in use (CONNECTION LIMIT), or its limit is 0"
        ),
        Refusal::DatabaseLimit => format!(
            "all connections of database {database} are in use (CONNECTION LIMIT), or its limit is 0"
        ),
        Refusal::Slots => "all connections of the server are in use (max_connections)".to_owned(),
        Refusal::DatabaseClosed => {
            format!("database {database} allows no connections (ALLOW_CONNECTIONS)")
        }
        Refusal::Password => format!(
            "role {user} cannot log in to database {database}: PostgreSQL does not accept its password"
        ),
        Refusal::Unclear => format!("role {user} cannot log in to database {database}"),
    }
}
