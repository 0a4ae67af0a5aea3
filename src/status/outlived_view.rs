//! Sessions that have outlived the certificate of their client, in the document of the status.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Sessions;
use crate::timing::roughly;

/// The outlived sessions on one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutlivedView {
    /// The longest life of a client's certificate in seconds: an older session has outlived it.
    pub life_s: u64,
    /// Number of sessions whose client has shown a certificate.
    pub certified: u64,
    /// The sessions that have outlived it, by role: the roles with most of them first, at most 20, then `other`.
    pub by_role: Vec<RoleView>,
    /// How many sessions this process has ended because of `postgres.end_sessions`.
    pub ended: u64,
}

/// The sessions of one role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleView {
    /// The role; `other` for all that are not counted by name.
    pub role: String,
    /// Their number.
    pub count: u64,
    /// Number of sessions by the time since the certificate must have expired; each label is the upper limit of that time:
    /// `1h`, `1d`, `7d` or `more`.
    pub by_age: Vec<(String, u64)>,
    /// The time since the certificate of the oldest session must have expired, in seconds.
    pub longest_s: u64,
}

impl OutlivedView {
    pub(super) fn of(sessions: &Sessions) -> Self {
        let by_role = sessions.outlived.iter().map(|one| RoleView {
            role: one.role.clone(),
            count: one.by_age.iter().map(|(_, count)| count).sum(),
            by_age: one.by_age.iter().map(|(age, count)| ((*age).to_owned(), *count)).collect(),
            longest_s: one.longest.as_secs(),
        });
        Self {
            life_s: sessions.life.as_secs(),
            certified: sessions.certified,
            by_role: by_role.collect(),
            ended: sessions.ended,
        }
    }

    /// The number of sessions that have outlived their certificate.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.by_role.iter().map(|role| role.count).sum()
    }

    /// One phrase for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        let life = roughly(Duration::from_secs(self.life_s));
        let (certified, count) = (self.certified, self.count());
        let ended = match self.ended {
            0 => String::new(),
            ended => format!("; {ended} ended so far"),
        };
        format!(
            "{certified} with a client certificate, {count} of them older than the {life} that it lives at most{ended}"
        )
    }
}

impl RoleView {
    /// One phrase for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        let ages = self.by_age.iter().filter(|(_, count)| *count > 0);
        let ages: Vec<String> = ages
            .map(|(age, count)| match age.as_str() {
                "more" => format!("{count} for more than 7d"),
                age => format!("{count} for up to {age}"),
            })
            .collect();
        let longest = roughly(Duration::from_secs(self.longest_s));
        format!("{} expired: {}; the oldest for {longest}", self.count, ages.join(", "))
    }
}
