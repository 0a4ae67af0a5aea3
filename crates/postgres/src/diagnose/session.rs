//! Why there is no SQL session, or a statement failed.

use crate::sql::{self, Error};
use pgsvid_base::finding::{Code, Finding};

/// The code of an error, with its cause and its remedy. Without a remedy waiting is enough.
#[must_use]
pub fn session(error: &Error, settings: &sql::Settings) -> Finding {
    let found = Finding::failure(code(error), error.cause(settings));
    let found = match error {
        // A missing role and a refused peer authentication have one SQLSTATE.
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
        // Of statements that setup alone makes.
        Error::EventTrigger { .. } => Code::SessionRefused,
    }
}
