//! What a PgBouncer shows to PostgreSQL: a handshake at its port tells nothing about it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Time;
use crate::timing::roughly;

/// What is known about the certificate that a PgBouncer shows to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSide {
    /// `unproven`, `current`, or what the last login has shown instead.
    pub state: &'static str,
    /// Whether logins are configured.
    pub is_tried: bool,
    /// When the login was made that has shown this state; `None` if it is `unproven`.
    pub at: Option<SystemTime>,
}

/// The state in which PostgreSQL is proven to see the published certificate.
pub(super) const CURRENT: &str = "current";

/// The same, in the document of the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSideView {
    /// `unproven`, `current`, `other`, `no-certificate`, `plaintext`, `refused` or `unanswered`.
    pub state: String,
    /// Whether `pgbouncer.login_role` is set.
    pub tried: bool,
    /// When the last login with the published set was made.
    pub at: Option<Time>,
}

impl ServerSideView {
    pub(super) fn of(seen: &ServerSide) -> Self {
        Self { state: seen.state.to_owned(), tried: seen.is_tried, at: seen.at.map(Time) }
    }

    /// One phrase for people.
    #[must_use]
    pub fn in_words(&self, now: Time) -> String {
        let ago = self.at.map(|at| format!(", {} ago", roughly(at.until(now)))).unwrap_or_default();
        if !self.tried {
            return "what PostgreSQL sees is unproven: pgbouncer.login_role is not set".to_owned();
        }
        match self.state.as_str() {
            CURRENT => format!("PostgreSQL saw the published certificate{ago}"),
            "unproven" => "what PostgreSQL sees is unproven: no login with this set yet".to_owned(),
            state => format!("what PostgreSQL sees is not the published certificate: {state}{ago}"),
        }
    }
}
