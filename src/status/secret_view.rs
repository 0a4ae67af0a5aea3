//! A Kubernetes Secret, as the status shows it.

use serde::{Deserialize, Serialize};

use super::{ConsumerView, Secret, Time};
use crate::timing;

/// A Kubernetes Secret that pgsvid writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it was last seen to hold the published set.
    pub holds: bool,
    /// When this process has last written it; `None` if it has not.
    pub written: Option<Time>,
    /// How often this process has restored it after somebody had changed or deleted it.
    pub restored: u64,
}

impl SecretView {
    pub(super) fn of(secret: &Secret) -> Self {
        let Secret { namespace, name, holds, written, restored } = secret.clone();
        Self { namespace, name, holds, written: written.map(Time), restored }
    }

    /// One phrase for people.
    #[must_use]
    pub fn in_words(&self, now: Time) -> String {
        let Self { namespace, name, .. } = self;
        let holds = if self.holds { "holds the set" } else { "not known to hold the set" };
        let written = match self.written {
            Some(moment) => format!(", written {} ago", timing::roughly(moment.until(now))),
            None => String::new(),
        };
        let restored = match self.restored {
            0 => String::new(),
            1 => ", restored once".to_owned(),
            times => format!(", restored {times} times"),
        };
        format!("{namespace}/{name}: {holds}{written}{restored}")
    }
}

impl ConsumerView {
    /// Whether a handshake shows what it serves.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.login.is_none() && self.secrets.is_empty() && self.instances.is_none()
    }

    /// One phrase about its Secrets; `None` if it writes none.
    #[must_use]
    pub fn secrets_in_words(&self) -> Option<String> {
        let all = self.secrets.len();
        if all == 0 {
            return None;
        }
        if self.verdict.as_deref() == Some("standby") {
            return Some("another replica writes the Secrets".to_owned());
        }
        let holding = self.secrets.iter().filter(|it| it.holds).count();
        Some(format!("in {holding} of {all} Secrets"))
    }
}
