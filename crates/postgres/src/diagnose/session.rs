//! Why an SQL session could not be opened, or a statement failed.

use crate::sql::{self, Error};
use crate::survey::Neighbour;
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::argument;

/// The finding about an error, with its code, its cause and its remedy. A finding without a remedy means that waiting is
/// enough, or that pgsvid knows no remedy.
#[must_use]
pub fn session(error: &Error, settings: &sql::Settings) -> Finding {
    let found = Finding::failure(code(error), error.cause(settings));
    let found = match error {
        // A missing role and a refused peer authentication have the same SQLSTATE.
        Error::Refused { code, text, .. } => {
            found.about(format!("SQLSTATE {}: {text}", code.code()))
        }
        Error::PasswordFile { path, cause } => found.about(format!("{}: {cause}", path.display())),
        Error::Peer { uid } => found.about(format!("uid {uid}")),
        Error::OtherPort { port } => found.about(format!("port {port}")),
        _ => found,
    };
    let found = found.fix(error.remedy(settings).unwrap_or_default());
    match error.command(settings) {
        Some(command) => found.command(command),
        None => found,
    }
}

/// Adds the sockets that were found instead of the one on which nobody listens.
#[must_use]
pub fn looked_around(found: Finding, neighbours: &[Neighbour]) -> Finding {
    let places: Vec<String> =
        neighbours.iter().map(|it| format!("{}/.s.PGSQL.{}", it.host.display(), it.port)).collect();
    let fix = match neighbours {
        [] => return found,
        [it] => format!(
            "did you mean --postgres {} --port {} (postgres.host, postgres.port)? If so, correct it, and restart pgsvid; if not, start PostgreSQL",
            argument(&it.host),
            it.port
        ),
        _ => "start PostgreSQL, or set --postgres and --port (postgres.host, postgres.port) to the right one, and restart pgsvid"
            .to_owned(),
    };
    let places = places.join(", and on ");
    let cause = format!("{}; a PostgreSQL of this machine listens on {places}", found.why());
    found.cause(cause).fix(fix)
}

fn code(error: &Error) -> Code {
    match error {
        Error::NotRunning => Code::PostgresqlNotRunning,
        Error::Forbidden => Code::SocketForbidden,
        Error::Silent(_) | Error::Slow(_) => Code::PostgresqlSilent,
        Error::Lost(_) => Code::SessionLost,
        Error::Peer { .. } => Code::SocketOfOtherUser,
        Error::OtherPort { .. } => Code::SocketOfOtherServer,
        Error::TooMuch | Error::Unexpected => Code::NotPostgresql,
        Error::NoLogin(_) => Code::LoginMethodUnsupported,
        Error::PasswordFile { .. } => Code::PasswordFileUnreadable,
        Error::TooManyIterations => Code::ScramIterations,
        Error::LongPath => Code::SocketPathLong,
        Error::Refused { code, login, .. } => match (code.code(), login) {
            ("42501", true) => Code::ConnectPrivilege,
            ("42501", false) => Code::ReloadPrivilege,
            ("3D000", _) => Code::DatabaseMissing,
            ("28P01", _) => Code::RolePasswordRefused,
            ("28000", _) => Code::RoleLoginRefused,
            ("53300", _) => Code::ConnectionSlots,
            ("57P01" | "57P02" | "57P03", _) => Code::PostgresqlStarting,
            _ => Code::SessionRefused,
        },
        Error::Planted { .. } => Code::CatalogPlanted,
        // Only statements of setup cause this error.
        Error::EventTrigger { .. } => Code::SessionRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_found_is_named_and_of_several_none_is_chosen() {
        let found = || Finding::failure(Code::PostgresqlNotRunning, "nobody listens").fix("start");
        let at = |port| Neighbour { host: "/run/it's".into(), port };
        assert_eq!(looked_around(found(), &[]), found());
        let one = looked_around(found(), &[at(5499)]);
        assert!(one.fix.unwrap().contains(r#"--postgres "/run/it's" --port 5499 "#));
        assert!(one.cause.unwrap().contains("listens on /run/it's/.s.PGSQL.5499"));
        let two = looked_around(found(), &[at(5498), at(5499)]);
        assert!(!two.fix.unwrap().contains("54"));
        assert!(two.cause.unwrap().contains("5498"));
    }
}
