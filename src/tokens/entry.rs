//! One token: when it is renewed, when its expiry is reported, and its part of the status. The time is an argument.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::error;

use super::claims::Claims;
use super::due::Due;
use super::feed::Bundles;
use super::keys::Proof;
use super::last_failure::LastFailure;
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
    pub(super) due: Due,
    /// When the last one was asked for.
    asked: Option<Instant>,
    /// Its life, from the beginning that is known to the expiry.
    life: Duration,
    backoff: Backoff,
    told: LastFailure,
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
        let output = Output::of_token(token.file.clone());
        let backoff = Backoff::new(AGAIN.0, AGAIN.1);
        Self {
            token,
            output,
            repair: Repair::new(),
            state,
            due: Due::after(Duration::ZERO, now),
            asked: None,
            life: Duration::ZERO,
            backoff,
            told: LastFailure::default(),
            raised: 0,
        }
    }

    /// Records a token of an earlier run, if it is one that is asked for. `spiffe_id` is the configured one.
    pub(super) fn adopt(&mut self, claims: &Claims, spiffe_id: Option<&str>) {
        let mut wanted = self.token.audience.iter();
        if !wanted.all(|it| claims.audience.contains(it))
            || spiffe_id.is_some_and(|it| it != claims.subject)
        {
            return;
        }
        let begun = claims.issued.unwrap_or(claims.expires);
        self.life = claims.expires.duration_since(begun).unwrap_or_default();
        self.state.expires = Some(claims.expires);
        self.state.spiffe_id = Some(claims.subject.clone());
    }

    /// Makes the next one due at once, or a second after the last try.
    pub(super) fn hurry(&mut self, now: SystemTime) {
        let since = self.asked.map_or(SHORTEST, |asked| asked.elapsed());
        let delay = SHORTEST.saturating_sub(since);
        if delay < self.due.left(now) {
            self.due = Due::after(delay, now);
        }
    }

    /// The same, and from now on a failure is overdue: what is in the file may be of no use.
    fn doubt(&mut self, now: SystemTime) {
        self.hurry(now);
        if let Some(renewal) = &mut self.state.renewal {
            *renewal = now.min(*renewal);
        }
    }

    /// The identity is another one. A token of an earlier run that belongs to none of them is not ours.
    pub(super) fn identity_change(&mut self, spiffe_id: Option<&str>, now: SystemTime) {
        self.doubt(now);
        let is_adopted = self.state.writes == 0;
        if is_adopted && spiffe_id.is_some() && self.state.spiffe_id.as_deref() != spiffe_id {
            (self.state.expires, self.state.spiffe_id, self.raised) = (None, None, 0);
        }
    }

    /// The clock was set, or the machine has slept.
    pub(super) fn leapt(&mut self, now: SystemTime) {
        self.doubt(now);
        self.raised = self.raised.min(self.passed(now));
    }

    /// Verifies the token that was written by newer keys. One that they no longer verify is renewed at once, and so is one
    /// whose renewal has failed: the keys may have been why.
    pub(super) fn verify_again(&mut self, bundles: &Bundles, now: SystemTime) {
        if self.state.problem.is_some() {
            self.hurry(now);
        }
        let Some(token) = self.output.token() else { return };
        let Ok(claims) = Claims::read(token) else { return };
        let why = match bundles.verify(&claims.subject, token, &claims) {
            Ok(proof) => proof.unverified(),
            Err(rejection) => Some(rejection.to_string()),
        };
        if why.is_some() && self.state.unverified.is_none() {
            self.doubt(now);
        }
        self.state.unverified = why;
    }

    /// Records that the agent is being asked.
    pub(super) fn asking(&mut self) {
        self.asked = Some(Instant::now());
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
        self.due = Due::after(renewal(begun, self.life, left, now), now);
        self.backoff.reset();
        self.told.forget();
        self.raised = 0;
        self.repair.is_whole(&mut self.state);
        let state = &mut self.state;
        state.spiffe_id = Some(claims.subject.clone());
        state.expires = Some(claims.expires);
        state.renewal = Some(self.due.at);
        state.unverified = proof.clone().unverified();
        (state.problem, state.retry) = (None, None);
        if written {
            state.written = Some(now);
            state.writes += 1;
        }
    }

    /// Records a failure. Returns the delay before the next try, and whether the failure is news.
    pub(super) fn failed(&mut self, failure: &super::Failure, now: SystemTime) -> (Duration, bool) {
        let delay = if failure.is_permanent() {
            let left = self.state.expires.and_then(|end| end.duration_since(now).ok());
            let part = left.filter(|left| !left.is_zero()).map_or(SLOWLY, |left| left / 4);
            timing::jittered(SLOWLY.min(part))
        } else {
            self.backoff.delay()
        };
        let delay = delay.max(SHORTEST);
        self.due = Due::after(delay, now);
        self.state.failures += 1;
        self.state.retry = Some(self.due.at);
        self.state.problem = Some(failure.finding(&self.state.file, "token"));
        (delay, self.told.is_news(failure))
    }

    /// When the expiry is reported: with a quarter of the life left, but not before the renewal is due, and at the end.
    fn moments(&self) -> Option<[SystemTime; 2]> {
        let end = self.state.expires?;
        let quarter = end.checked_sub(self.life.mul_f64(LEFT)).unwrap_or(end);
        Some([self.state.renewal.map_or(quarter, |due| due.max(quarter)).min(end), end])
    }

    /// How many of these moments have passed.
    fn passed(&self, now: SystemTime) -> usize {
        self.moments().iter().flatten().filter(|moment| **moment <= now).count()
    }

    /// Until the next of these moments; `None` if there is none.
    pub(super) fn until_alarm(&self, now: SystemTime) -> Option<Duration> {
        let next = self.moments()?.get(self.raised).copied()?;
        Some(next.duration_since(now).unwrap_or_default())
    }

    /// Reports that the token expires, or has expired, and that there is no new one.
    pub(super) fn raise(&mut self, has_identity: bool, now: SystemTime) {
        let (Some([_, end]), due) = (self.moments(), self.passed(now)) else { return };
        if due <= self.raised {
            return;
        }
        self.raised = due;
        let state = &self.state;
        let why = state.problem.as_ref();
        let code = why.map_or(Code::JwtExpired, |it| it.code);
        let fix = why.and_then(|it| it.fix.as_deref());
        let none = if has_identity {
            "the agent has given no newer one"
        } else {
            "the agent offers no identity to ask for a token with"
        };
        let cause = why.map_or(none, Finding::why);
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

/// How long it is until a token is renewed: a moment after half of its life, or of what is left if that has passed.
fn renewal(begun: SystemTime, life: Duration, left: Duration, now: SystemTime) -> Duration {
    let half = |whole: Duration| whole / 2 + BEYOND_HALF.min(whole / 10);
    let of_life = (begun + half(life)).duration_since(now).unwrap_or_default();
    let delay = if of_life.is_zero() { half(left) } else { of_life };
    delay.max(SHORTEST)
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
        assert_eq!(entry.due.at, at(1000));
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, true, at(1000));
        assert_eq!((entry.due.at, entry.state.writes), (at(1151), 1));
        // One that the agent issued a while ago, as after a restart of pgsvid.
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, false, at(1100));
        assert_eq!(entry.due.at, at(1151));
        // The same one again, as an agent may give it: half of what is left.
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, false, at(1200));
        assert_eq!((entry.due.at, entry.state.writes), (at(1251), 1));
        // No busy loop at the end of a life.
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, false, at(1299));
        assert_eq!(entry.due.at, at(1300));
    }

    #[test]
    fn t06_the_expiry_is_due_with_a_quarter_left_and_at_the_end_and_not_after_a_renewal() {
        let mut entry = entry(at(1000));
        assert_eq!(entry.until_alarm(at(1000)), None);
        entry.succeeded(&claims(1000, 1400), &Proof::Verified, true, at(1000));
        assert_eq!(entry.until_alarm(at(1000)), Some(Duration::from_secs(300)));
        entry.raise(true, at(1299));
        assert_eq!(entry.raised, 0);
        entry.raise(true, at(1300));
        assert_eq!(
            (entry.raised, entry.until_alarm(at(1300))),
            (1, Some(Duration::from_secs(100)))
        );
        entry.raise(true, at(1400));
        assert_eq!((entry.raised, entry.until_alarm(at(1400))), (2, None));
        entry.succeeded(&claims(1400, 1800), &Proof::Verified, true, at(1400));
        assert_eq!(entry.raised, 0);
        // The agent gives the same one again with a fifth left: no alarm before it was asked again.
        entry.succeeded(&claims(1400, 1800), &Proof::Verified, false, at(1720));
        assert_eq!(entry.until_alarm(at(1720)), Some(Duration::from_secs(41)));
    }

    #[tokio::test(start_paused = true)]
    async fn t18_a_clock_that_is_set_back_delays_no_renewal_and_no_finding() {
        let mut entry = entry(at(10_000));
        entry.succeeded(&claims(10_000, 10_300), &Proof::Verified, true, at(10_000));
        entry.raise(true, at(10_300));
        assert_eq!(entry.raised, 2);
        // An hour back: without a report of the kernel, the timer still ends.
        assert_eq!(entry.due.left(at(6400)), Duration::from_secs(151));
        tokio::time::advance(Duration::from_secs(151)).await;
        assert!(entry.due.left(at(6551)).is_zero());
        // With a report it is due at once, a failure is overdue soon, and the alarms are ahead again.
        entry.succeeded(&claims(10_000, 10_300), &Proof::Verified, false, at(10_000));
        entry.leapt(at(6400));
        assert!(entry.due.left(at(6400)).is_zero());
        entry.failed(&Failure::Rejected(Rejection::TooLong), at(6400));
        assert!(entry.state.finding(at(6400) + Duration::from_secs(3600)).is_some());
        assert_eq!(entry.raised, 0);
    }

    #[test]
    fn t01_a_token_of_an_earlier_run_counts_if_it_is_the_one_that_is_asked_for() {
        let adopted = |subject: Option<&str>, claims: &Claims| {
            let mut entry = entry(at(1000));
            entry.adopt(claims, subject);
            entry
        };
        let own = claims(1000, 1300);
        assert!(adopted(None, &own).state.expires.is_some());
        assert!(adopted(Some("s"), &own).state.expires.is_some());
        assert!(adopted(Some("other"), &own).state.expires.is_none());
        let foreign = Claims { audience: vec!["b".to_owned()], ..own.clone() };
        assert!(adopted(None, &foreign).state.expires.is_none());
        // The identity is known later.
        let mut entry = adopted(None, &own);
        entry.identity_change(Some("s"), at(1000));
        assert!(entry.state.expires.is_some());
        entry.identity_change(Some("other"), at(1000));
        assert!(entry.state.expires.is_none());
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

    #[tokio::test(start_paused = true)]
    async fn t02_an_agent_that_is_back_is_asked_at_once_but_not_in_a_tight_loop() {
        let mut entry = entry(at(1000));
        entry.asking();
        for _ in 0..10 {
            entry.failed(&Failure::Thread, at(1000));
        }
        assert!(entry.due.left(at(1000)) >= Duration::from_secs(30));
        entry.hurry(at(1000));
        assert_eq!(entry.due.left(at(1000)), SHORTEST);
        tokio::time::advance(SHORTEST).await;
        entry.failed(&Failure::Thread, at(1001));
        entry.hurry(at(1001));
        assert!(entry.due.left(at(1001)).is_zero());
    }

    #[test]
    fn t02_a_refusal_that_stays_does_not_cost_the_token_that_is_still_valid() {
        use crate::source::Error;
        let code = tonic::Code::InvalidArgument;
        let refusal = Failure::Agent(Error::Answered { code, text: String::new() });
        let mut entry = entry(at(1000));
        let seconds = |delay: Duration| delay.as_secs_f64().round();
        let (without, _) = entry.failed(&refusal, at(1000));
        assert!((270.0..=300.0).contains(&seconds(without)), "{without:?}");
        entry.succeeded(&claims(1000, 1300), &Proof::Verified, true, at(1000));
        let (delay, _) = entry.failed(&refusal, at(1152));
        assert!((33.0..=37.0).contains(&seconds(delay)), "{delay:?}");
        let (late, _) = entry.failed(&refusal, at(1300));
        assert!(seconds(late) >= 270.0, "{late:?}");
    }
}
