//! What is known of a file with a token, or with the JWT bundle.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::finding_view::FindingView;
use super::time::Time;
use super::{LONGEST_DELAY, SHORTEST_DELAY};
use crate::finding::{Code, Finding};
use crate::timing;

/// A file with a token, or with the JWT bundle.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenFile {
    /// Its path.
    pub file: String,
    /// The audience of the token; empty for the JWT bundle.
    pub audience: Vec<String>,
    /// The SPIFFE ID of the token, once it is known.
    pub spiffe_id: Option<String>,
    /// When this process last wrote it.
    pub written: Option<SystemTime>,
    /// When the token expires.
    pub expires: Option<SystemTime>,
    /// When the next token is asked for.
    pub renewal: Option<SystemTime>,
    /// Why the signature is not verified; `None` if it is.
    pub unverified: Option<String>,
    /// Why there is no newer one; `None` if nothing is wrong.
    pub problem: Option<Finding>,
    /// The file is not as pgsvid wrote it, and could not be written again.
    pub damage: Option<Finding>,
    /// When it is tried again, if it is.
    pub retry: Option<SystemTime>,
    /// How many keys of the own trust domain the JWT bundle has.
    pub keys: Option<usize>,
    /// How often it was written.
    pub writes: u64,
    /// How often that failed, or the agent gave nothing that could be written.
    pub failures: u64,
}

impl TokenFile {
    /// Whether it is the JWT bundle.
    #[must_use]
    pub fn is_bundle(&self) -> bool {
        self.audience.is_empty()
    }

    /// Whether this process has got it from the agent, and it is valid.
    #[must_use]
    pub fn is_there(&self, now: SystemTime) -> bool {
        if self.is_bundle() {
            return self.keys.is_some();
        }
        self.renewal.is_some() && self.expires.is_some_and(|end| end > now)
    }

    /// What is wrong at this time: the file is missing or changed, the token has expired, or its renewal is overdue. A renewal
    /// that has failed and has still time is none.
    #[must_use]
    pub fn finding(&self, now: SystemTime) -> Option<Finding> {
        if self.damage.is_some() {
            return self.damage.clone();
        }
        if let Some(end) = self.expires.filter(|end| *end <= now) {
            let text = format!("the token in {} has expired at {}", self.file, timing::utc(end));
            let found = Finding::failure(Code::JwtExpired, text).about(&self.file);
            return Some(match &self.problem {
                Some(why) => {
                    let Finding { cause, fix, command, .. } = why.clone();
                    Finding { cause, fix, command, ..found }
                }
                None => found.fix("see the agent's log; pgsvid asks it again and again"),
            });
        }
        let problem = self.problem.as_ref()?;
        let has_time = match (self.expires, self.renewal) {
            (Some(end), Some(renewal)) => {
                let tolerance = end.duration_since(renewal).unwrap_or_default() / 10;
                now < renewal + tolerance.clamp(SHORTEST_DELAY, LONGEST_DELAY)
            }
            _ => false,
        };
        (!has_time).then(|| problem.clone())
    }
}

/// The part of the status document about such a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenView {
    /// Its path.
    pub file: String,
    /// `token` or `bundle`.
    pub kind: String,
    /// The audience of the token; empty for the JWT bundle.
    pub audience: Vec<String>,
    /// The SPIFFE ID of the token.
    pub spiffe_id: Option<String>,
    /// When this process last wrote it.
    pub written: Option<Time>,
    /// When the token expires.
    pub not_after: Option<Time>,
    /// When the next token is asked for.
    pub renewal: Option<Time>,
    /// Why the signature is not verified; `None` if it is.
    pub unverified: Option<String>,
    /// How many keys of the own trust domain the JWT bundle has.
    pub keys: Option<usize>,
    /// What is wrong, and the remedy; `None` if nothing is.
    pub finding: Option<FindingView>,
    /// When it is tried again, if it is.
    pub retry: Option<Time>,
    /// How often it was written.
    pub writes: u64,
    /// How often that failed.
    pub failures: u64,
}

impl TokenView {
    pub(super) fn of(token: &TokenFile, now: SystemTime) -> Self {
        Self {
            file: token.file.clone(),
            kind: if token.is_bundle() { "bundle" } else { "token" }.to_owned(),
            audience: token.audience.clone(),
            spiffe_id: token.spiffe_id.clone(),
            written: token.written.map(Time),
            not_after: token.expires.map(Time),
            renewal: token.renewal.map(Time),
            unverified: token.unverified.clone(),
            keys: token.keys,
            finding: token.finding(now).as_ref().map(FindingView::of),
            retry: token.retry.map(Time),
            writes: token.writes,
            failures: token.failures,
        }
    }

    /// One phrase for people.
    #[must_use]
    pub fn in_words(&self, now: Time) -> String {
        let mut words = if self.kind == "bundle" {
            let keys = self.keys.map_or("not written yet".to_owned(), |keys| match keys {
                1 => "1 key".to_owned(),
                _ => format!("{keys} keys"),
            });
            format!("JWT bundle, {keys}")
        } else {
            let left = match self.not_after {
                None => "no token yet".to_owned(),
                Some(end) if end > now => format!("{} left", timing::roughly(now.until(end))),
                Some(end) => format!("expired {} ago", timing::roughly(end.until(now))),
            };
            format!("for {}, {left}", self.audience.join(", "))
        };
        if self.unverified.is_some() {
            words.push_str(", signature not verified");
        }
        format!("{}: {words}", self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn t06_a_failure_counts_once_the_token_is_missing_overdue_or_expired() {
        let problem = Finding::failure(Code::JwtToken, "no new token");
        let missing = TokenFile {
            file: "/token".to_owned(),
            audience: vec!["a".to_owned()],
            problem: Some(problem),
            ..TokenFile::default()
        };
        let code = |token: &TokenFile, now| token.finding(at(now)).map(|found| found.code);
        assert_eq!(code(&missing, 1000), Some(Code::JwtToken));
        let (expires, renewal) = (Some(at(1300)), Some(at(1150)));
        let held = TokenFile { expires, renewal, ..missing.clone() };
        for (now, wanted) in [
            (1150, None),
            (1164, None),
            (1166, Some(Code::JwtToken)),
            (1299, Some(Code::JwtToken)),
            (1300, Some(Code::JwtExpired)),
        ] {
            assert_eq!(code(&held, now), wanted, "{now}");
        }
        let fine = TokenFile { problem: None, ..held };
        assert_eq!((code(&fine, 1299), code(&fine, 1300)), (None, Some(Code::JwtExpired)));
        // However much time there is: readers do not find what pgsvid wrote.
        let damage = Some(Finding::failure(Code::JwtFile, "it is gone"));
        assert_eq!(code(&TokenFile { damage, ..fine }, 1000), Some(Code::JwtFile));
    }
}
