//! Whether pgsvid's role may see the sessions of others, and end those that have outlived their certificate.

use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;

use crate::sql::{self, TlsSettings};

/// The finding about the rights that the role lacks, with the grant as its remedy. `ends` means that such sessions are to be
/// ended; otherwise only their number is unknown without the rights. `None` if it lacks nothing.
#[must_use]
pub fn session_rights(
    settings: &TlsSettings,
    session: &sql::Settings,
    ends: bool,
) -> Option<Finding> {
    let blind = !settings.may_read_stats;
    let powerless = ends && !settings.may_end_sessions;
    if !blind && !powerless {
        return None;
    }
    let role = shown(&session.user);
    let command = session.grant_sessions(blind, powerless, settings.version_number);
    let found = if ends {
        let (lacks, groups) = match (blind, powerless) {
            (true, true) => ("neither see nor end", "pg_read_all_stats and pg_signal_backend"),
            (true, false) => ("not see", "pg_read_all_stats"),
            _ => ("not end", "pg_signal_backend"),
        };
        let text = "postgres.end_sessions is set, and no session is ended";
        Finding::warning(Code::SessionRights, text).cause(format!(
            "role {role} may {lacks} the sessions of other roles: it is no member of {groups}"
        ))
    } else {
        let text = format!(
            "role {role} may not see the sessions of other roles: it is no member of pg_read_all_stats"
        );
        Finding::skipped(Code::SessionRights, text)
    };
    Some(found.command(command))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use pgsvid_base::finding::Severity;

    use super::*;
    use crate::sql::Purpose;

    #[test]
    fn what_is_missing_is_granted_and_nothing_else() {
        let session = sql::Settings {
            host: PathBuf::from("/var/run/postgresql"),
            port: 5432,
            user: "pgsvid".to_owned(),
            database: "postgres".to_owned(),
            password_file: None,
            require_peer: None,
            purpose: Purpose::Reload,
        };
        let found = |may_read_stats, may_end_sessions, version_number, ends| {
            let settings = TlsSettings {
                version_number,
                may_read_stats,
                may_end_sessions,
                ..Default::default()
            };
            session_rights(&settings, &session, ends)
        };
        for (sees, may_end, version, ends, severity, grant) in [
            (
                false,
                false,
                150_018,
                true,
                Severity::Warning,
                "GRANT pg_read_all_stats, pg_signal_backend TO pgsvid'",
            ),
            (
                true,
                false,
                160_000,
                true,
                Severity::Warning,
                "GRANT pg_signal_backend TO pgsvid WITH INHERIT TRUE'",
            ),
            (false, true, 150_018, true, Severity::Warning, "GRANT pg_read_all_stats TO pgsvid'"),
            (false, false, 150_018, false, Severity::Skipped, "GRANT pg_read_all_stats TO pgsvid'"),
        ] {
            let found = found(sees, may_end, version, ends).unwrap();
            assert_eq!((found.code, found.severity), (Code::SessionRights, severity));
            let command = found.command.unwrap();
            assert!(command.contains(grant), "{command}");
        }
        assert_eq!(found(true, true, 150_018, true), None);
        assert_eq!(found(true, false, 150_018, false), None);
    }
}
