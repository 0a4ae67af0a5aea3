//! How often the daemon was replaced by the first process of pgsvid, because it had ended unexpectedly.

use serde::{Deserialize, Serialize};

use super::Time;
use crate::timing;

/// The daemons before this one, of the same first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// How many have ended.
    pub count: u32,
    /// How the last one ended: an exit status, or a signal.
    pub ended: String,
}

impl Restarts {
    /// One phrase for people. The daemon that tells it started at this time.
    #[must_use]
    pub fn in_words(&self, started: Option<Time>, now: Time) -> String {
        let times = match self.count {
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        let last = started.map_or_else(String::new, |started| {
            format!(", last {} ago", timing::roughly(started.until(now)))
        });
        format!("restarted {times}{last}: the one before ended unexpectedly ({})", self.ended)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_last_restart_has_its_age_and_its_cause() {
        let at = |seconds| Time(UNIX_EPOCH + Duration::from_secs(seconds));
        let words = |count| {
            let ended = "signal: 9 (SIGKILL)".to_owned();
            Restarts { count, ended }.in_words(Some(at(0)), at(300))
        };
        assert!(words(1).starts_with("restarted once, last 5m ago: "), "{}", words(1));
        assert!(words(3).contains("3 times") && words(3).contains("SIGKILL"), "{}", words(3));
    }
}
