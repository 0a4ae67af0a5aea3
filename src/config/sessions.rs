//! Which sessions count as outliving the certificate of their client, and whether they are ended.

use std::time::Duration;

use super::file::Postgres;
use super::given::Resolver;
use super::keys::{self, Key};
use super::{Error, rules};
use crate::consumers::SessionSettings;

/// The value with which no session is ended.
const OFF: &str = "off";
/// The beginning of every other value.
const AFTER: &str = "after ";

/// Why sessions are not ended by a life that pgsvid has guessed.
const NEEDS_LIFE: &str = "it needs postgres.client_svid_life, the longest life of a client's certificate, to end no session whose certificate is valid; set that key, too";

pub(super) fn sessions(
    resolver: &Resolver<'_>,
    table: &Postgres,
) -> Result<SessionSettings, Error> {
    let wrong = |key: &'static Key| move |why: String| resolver.in_file(key.name, why);
    let life = table.client_svid_life.as_deref().map(rules::interval).transpose();
    let end = table.end_sessions.as_deref().unwrap_or(keys::POSTGRES_END_SESSIONS.default_text());
    let life = life.map_err(wrong(&keys::POSTGRES_CLIENT_SVID_LIFE))?;
    let end_after = end_after(end).map_err(wrong(&keys::POSTGRES_END_SESSIONS))?;
    if life.is_none() && end_after.is_some() {
        // Without it the life is that of pgsvid's own leaves, which may be shorter: sessions would end too early.
        return Err(resolver.in_file(keys::POSTGRES_END_SESSIONS.name, NEEDS_LIFE));
    }
    Ok(SessionSettings { life, end_after })
}

fn end_after(text: &str) -> Result<Option<Duration>, String> {
    if text == OFF {
        return Ok(None);
    }
    let Some(after) = text.strip_prefix(AFTER) else {
        return Err(format!("{text:?} is neither \"{OFF}\" nor a time such as \"{AFTER}10m\""));
    };
    rules::pause(after).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    #[test]
    fn b112_sessions_are_not_ended_by_a_life_that_is_a_guess() {
        let error = config("[postgres]\nend_sessions = 'after 10m'").unwrap_err();
        assert!(
            error.contains("postgres.end_sessions") && error.contains("client_svid_life"),
            "{error}"
        );
        config("[postgres]\nclient_svid_life = '1h'\nend_sessions = 'after 10m'").unwrap();
        config("[postgres]\nend_sessions = 'off'").unwrap();
    }

    #[test]
    fn sessions_are_ended_after_a_time_or_not_at_all() {
        assert_eq!(end_after("off"), Ok(None));
        assert_eq!(end_after("after 10m"), Ok(Some(Duration::from_secs(600))));
        assert_eq!(end_after("after 0s"), Ok(Some(Duration::ZERO)));
        for wrong in ["", "on", "10m", "after", "after ", "after 10", "after -1m", "after 2y"] {
            assert!(end_after(wrong).is_err(), "{wrong}");
        }
    }
}
