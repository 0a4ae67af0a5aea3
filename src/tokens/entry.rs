//! One token: when it is renewed, when its expiry is reported, and its part of the status. The time is an argument.

use std::time::{Duration, SystemTime};

use tracing::error;

use super::claims::Claims;
use super::keys::Proof;
use super::output::Output;
use super::repair::Repair;
use super::settings::Token;
use crate::finding::{Code, Finding};
use crate::status::TokenFile;
use crate::timing::{self, Backoff};

/// First and longest back-off after a failure.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often an agent that has no JWT-SVIDs is asked again.
const SLOWLY: Duration = Duration::from_secs(300);
/// The longest delay of a renewal beyond half of the life. SPIRE's agent keeps a token until then, and gives the same one
/// before.
const BEYOND_HALF: Duration = Duration::from_secs(1);
/// The share of the life that is left when the expiry is reported first.
const LEFT: f64 = 0.25;
/// Shortest time between two requests for a token.
const SHORTEST: Duration = Duration::from_secs(1);

/// A token, and its file.
pub(super) struct Entry {
    pub(super) token: Token,
    pub(super) output: Output,
    pub(super) repair: Repair,
    pub(super) state: TokenFile,
    /// When the next one is asked for.
    pub(super) due: SystemTime,
    /// Its life, from the beginning that is known to the expiry.
    life: Duration,
    backoff: Backoff,
    /// The last failure that was logged since the last success.
    told: Option<String>,
    /// How many of the moments of [`Entry::moments`] were reported.
    raised: usize,
}

impl Entry {
    pub(super) fn new(token: Token, now: SystemTime) -> Self {
        let state = TokenFile {
            file: token.file.path.display().to_string(),
            audience: token.audience.clone(),
            ..TokenFile::default()
        };
        let output = Output::new(token.file.clone());
        let backoff = Backoff::new(AGAIN.0, AGAIN.1);
        Self {
            token,
            output,
            repair: Repair::new(),
            state,
            due: now,
            life: Duration::ZERO,
            backoff,
            told: None,
            raised: 0,
        }
    }

    /// Records a token of an earlier run.
    pub(super) fn adopt(&mut self, claims: &Claims) {
        let begun = claims.issued.unwrap_or(claims.expires);
        self.life = claims.expires.duration_since(begun).unwrap_or_default();
        self.state.expires = Some(claims.expires);
        self.state.spiffe_id = Some(claims.subject.clone());
    }

    /// Records that the file holds this token.
    pub(super) fn succeeded(
        &mut self,
        claims: &Claims,
        proof: &Proof,
        written: bool,
        now: SystemTime,
    ) {
        let left = claims.expires.duration_since(now).unwrap_or_default();
        let begun = claims.issued.filter(|issued| *issued <= now).unwrap_or(now);
        self.life = claims.expires.duration_since(begun).unwrap_or(left);
        self.due = now + renewal(left);
        self.backoff.reset();
        (self.told, self.raised) = (None, 0);
        self.repair.is_whole(&mut self.state);
        let state = &mut self.state;
        state.spiffe_id = Some(claims.subject.clone());
        state.expires = Some(claims.expires);
        state.renewal = Some(self.due);
        state.unverified = match proof {
            Proof::Verified => None,
            Proof::Unverified(why) => Some(why.clone()),
        };
        (state.problem, state.retry) = (None, None);
        if written {
            state.written = Some(now);
            state.writes += 1;
        }
    }

    /// Records a failure. Returns the delay before the next try, and whether the failure is news.
    pub(super) fn failed(&mut self, failure: &super::Failure, now: SystemTime) -> (Duration, bool) {
        let delay =
            if failure.is_permanent() { SLOWLY } else { self.backoff.delay().max(SHORTEST) };
        self.due = now + delay;
        self.state.failures += 1;
        self.state.retry = Some(self.due);
        self.state.problem = Some(failure.finding(&self.state.file, "token"));
        let text = failure.to_string();
        let is_news = self.told.as_ref() != Some(&text);
        self.told = Some(text);
        (delay, is_news)
    }

    /// When the expiry is reported: with a quarter of the life left, and at the end.
    fn moments(&self) -> Option<[SystemTime; 2]> {
        let end = self.state.expires?;
        Some([end.checked_sub(self.life.mul_f64(LEFT)).unwrap_or(end), end])
    }

    /// Until the next of these moments; `None` if there is none.
    pub(super) fn until_alarm(&self, now: SystemTime) -> Option<Duration> {
        let next = self.moments()?.get(self.raised).copied()?;
        Some(next.duration_since(now).unwrap_or_default())
    }

    /// Reports that the token expires, or has expired, and that there is no new one.
    pub(super) fn raise(&mut self, now: SystemTime) {
        let Some(moments) = self.moments() else { return };
        let due = moments.iter().filter(|moment| **moment <= now).count();
        if due <= self.raised {
            return;
        }
        self.raised = due;
        let state = &self.state;
        let why = state.problem.as_ref();
        let code = why.map_or(Code::JwtExpired, |it| it.code);
        let fix = why.and_then(|it| it.fix.as_deref());
        let cause =
            why.map_or("the agent offers no identity to ask for a token with", Finding::why);
        let [_, end] = moments;
        let sentence = match end.duration_since(now) {
            Ok(left) if !left.is_zero() => {
                format!("the token expires in {}, and there is no new one", timing::roughly(left))
            }
            _ => "the token has expired: servers will refuse it".to_owned(),
        };
        error!(
            event = "token-expires",
            file = state.file,
            %code,
            not_after = timing::utc(end),
            cause,
            fix,
            "{sentence}"
        );
    }
}

/// After which part of what is left of its life a token is renewed.
fn renewal(left: Duration) -> Duration {
    (left / 2 + BEYOND_HALF.min(left / 10)).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::SingleFile;
    use crate::tokens::{Failure, Rejection};

    fn entry(now: SystemTime) -> Entry {
        let file = SingleFile { path: "/nowhere/token".into(), mode: 0o600, group: None };
        Entry::new(Token { audience: vec!["a".to_owned()], file }, now)
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn claims(issued: u64, expires: u64) -> Claims {
        let text = format!("{{\"sub\":\"s\",\"aud\":\"a\",\"exp\":{expires},\"iat\":{issued}}}");
        let part = |text: &str| {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
        };
        Claims::read(&format!("{}.{}.AAAA", part("{\"alg\":\"ES256\"}"), part(&text))).unwrap()
    }

    #[test]
    fn t01_a_token_is_renewed_a_moment_after_half_of_its_life() {
        let mut entry = entry(at(1000));
        assert_eq!(entry.due, at(1000));
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, true, at(1000));
        assert_eq!((entry.due, entry.state.writes), (at(1151), 1));
        // The same one again, as an agent may give it: half of what is left.
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, false, at(1200));
        assert_eq!((entry.due, entry.state.writes), (at(1251), 1));
        // No busy loop at the end of a life.
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, false, at(1299));
        assert_eq!(entry.due, at(1300));
    }

    #[test]
    fn t06_the_expiry_is_due_with_a_quarter_left_and_at_the_end_and_not_after_a_renewal() {
        let mut entry = entry(at(1000));
        assert_eq!(entry.until_alarm(at(1000)), None);
        entry.succeeded(&claims(1000, 1400), &Proof::Verified, true, at(1000));
        assert_eq!(entry.until_alarm(at(1000)), Some(Duration::from_secs(300)));
        entry.raise(at(1299));
        assert_eq!(entry.raised, 0);
        entry.raise(at(1300));
        assert_eq!(
            (entry.raised, entry.until_alarm(at(1300))),
            (1, Some(Duration::from_secs(100)))
        );
        entry.raise(at(1400));
        assert_eq!((entry.raised, entry.until_alarm(at(1400))), (2, None));
        entry.succeeded(&claims(1400, 1800), &Proof::Verified, true, at(1400));
        assert_eq!(entry.raised, 0);
    }

    #[test]
    fn t02_a_failure_is_news_once_and_delays_grow_up_to_a_limit() {
        let mut entry = entry(at(1000));
        let failure = Failure::Rejected(Rejection::TooLong);
        assert!(entry.failed(&failure, at(1000)).1);
        for _ in 0..20 {
            let (delay, is_news) = entry.failed(&failure, at(1000));
            assert!(!is_news && delay >= SHORTEST && delay <= AGAIN.1, "{delay:?}");
        }
        assert!(entry.failed(&Failure::Thread, at(1000)).1, "another one");
        assert_eq!(entry.state.failures, 22);
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, true, at(1000));
        assert!(entry.state.problem.is_none() && entry.failed(&failure, at(1000)).1);
    }
}
