//! Why the published set is not proven to be served, and how that is logged.

use std::time::{Duration, SystemTime};

use tracing::{debug, error, info, warn};

use super::Attempt;
use crate::consumers::delivery::{Obstacle, Told};
use crate::consumers::problem::Problem;
use crate::diagnose;
use crate::finding::Finding;
use crate::sql::{self, Retry};
use crate::survey;
use crate::timing;
use crate::verify::{Answer, Verdict};

/// Why the published set is not proven to be served.
pub(in crate::consumers) struct Trouble {
    pub(in crate::consumers) verdict: Verdict,
    pub(in crate::consumers) problem: Problem,
    pub(in crate::consumers) weight: Weight,
}

/// When a waiting reload deserves a warning.
const LATE: Duration = Duration::from_secs(60);
/// A waiting reload becomes an alarm after a quarter of the published leaf's lifetime: the lifetime is divided by this.
const ALARMING: u32 = 4;

/// How serious a trouble is.
pub(in crate::consumers) enum Weight {
    /// It goes away without help.
    Pending,
    /// It has not gone away for a while, or is not likely to.
    Late,
    /// Nothing is known to be wrong, but nothing is proven either, and waiting may not help.
    Unproven,
    /// Somebody must fix it.
    Alarm,
}

impl Weight {
    fn is_alarm(&self) -> bool {
        matches!(self, Self::Alarm)
    }
}

impl Trouble {
    /// Raises the weight after waiting for this long; `life` is the published leaf's lifetime. A stopped server is no fault,
    /// but a server whose address is wrong still serves a certificate that expires.
    pub(in crate::consumers) fn grow(
        mut self,
        obstacle: Obstacle,
        waited: Duration,
        life: Duration,
    ) -> (Self, Obstacle) {
        let (weight, name) = match waited {
            _ if waited >= life / ALARMING => (Weight::Alarm, "alarm"),
            // It was reported at once.
            _ if matches!(self.weight, Weight::Late) => return (self, obstacle),
            _ if waited >= LATE.min(life / ALARMING / 2) => (Weight::Late, "late"),
            _ => return (self, obstacle),
        };
        let key = format!("{} {name}", obstacle.key);
        let obstacle = Obstacle { key, alarm: weight.is_alarm(), ..obstacle };
        self.weight = weight;
        (self, obstacle)
    }

    /// What to log about a failed attempt, and what it means for the next one; `again` if the one before failed, too.
    pub(super) fn of(
        attempt: &Attempt,
        session: &sql::Settings,
        again: bool,
        why_not_newer: Finding,
        now: SystemTime,
    ) -> (Self, Obstacle) {
        let findings = &attempt.findings;
        let outlived = attempt.has_outlived_its_renewal();
        let general = if outlived {
            diagnose::outlived(&attempt.facts, why_not_newer, now)
        } else {
            diagnose::explain(attempt.verdict, &attempt.facts, now)
        };
        let verdict = attempt.verdict;
        let refused = outlived || attempt.retry() == Retry::Slowly;
        // Each handshake that a server ends causes a line in its log.
        let slow = refused || matches!(attempt.facts.answer, Answer::Refused(_) | Answer::TooLarge);
        // Another reload of the set that is served already would fix nothing.
        let Some(error) = attempt.sql.as_ref().filter(|_| !outlived) else {
            let sentence = general.text.clone();
            let findings = if findings.is_empty() { vec![general] } else { findings.clone() };
            let weight = match verdict {
                Verdict::Unreachable => Weight::Unproven,
                _ => Weight::Alarm,
            };
            let alarm = weight.is_alarm();
            let key = identity(verdict, "served", &findings);
            let codes = findings.iter().map(|found| found.code).collect();
            let problem = Problem { sentence, findings, codes, pending: false };
            return (Self { verdict, problem, weight }, Obstacle { key, slow, alarm });
        };
        // Whatever else is wrong, the reload has not happened yet.
        let first = no_session(error, session);
        let said = first.text.clone();
        let mut all = vec![first];
        all.extend_from_slice(findings);
        // A starting server binds its TCP port first. A server that keeps answering has its socket elsewhere, and will never
        // be asked to reload.
        let elsewhere = again
            && matches!(error, sql::Error::NotRunning)
            && matches!(
                attempt.facts.answer,
                Answer::Served(_) | Answer::Plaintext | Answer::Refused(_) | Answer::TooLarge
            );
        let (state, pending) = if refused {
            ("impossible", format!("PostgreSQL cannot be asked to reload: {error}"))
        } else if elsewhere {
            let sentence = format!(
                "a server answers at {}, but PostgreSQL's socket is not at the configured path",
                attempt.facts.address
            );
            ("elsewhere", sentence)
        } else {
            // If no server listens, the sentence names the socket: it may be the wrong one.
            let why = match error {
                sql::Error::NotRunning => said,
                _ => error.to_string(),
            };
            ("pending", format!("the reload is pending: {why}"))
        };
        let (sentence, weight) = match verdict {
            Verdict::Expired => (format!("{}; {pending}", general.text), Weight::Alarm),
            _ if refused || elsewhere => (pending, Weight::Alarm),
            _ if diagnose::is_limited(error, session) => (pending, Weight::Late),
            _ => (pending, Weight::Pending),
        };
        let alarm = weight.is_alarm();
        let key = identity(verdict, state, &all);
        let codes = all.iter().map(|found| found.code).collect();
        // If waiting is enough, the sentence is complete.
        all.retain(|found| found.fix.is_some());
        let pending = !alarm;
        let problem = Problem { sentence, findings: all, codes, pending };
        (Self { verdict, problem, weight }, Obstacle { key, slow, alarm })
    }

    /// Logs it: as an alarm, unless waiting is enough.
    pub(in crate::consumers) fn say(
        &self,
        consumer: Option<&str>,
        generation: u64,
        delay: Duration,
        told: Told,
    ) {
        let Self { verdict, problem: Problem { sentence, findings, codes, .. }, weight } = self;
        let code = joined(codes.iter().map(|code| code.name()), ", ");
        let cause = joined(findings.iter().map(Finding::why), "; ");
        let advice: Vec<String> = findings.iter().filter_map(Finding::advice).collect();
        let fix = joined(advice.iter().map(String::as_str), "; ");
        let mut commands: Vec<&str> =
            findings.iter().filter_map(|finding| finding.command.as_deref()).collect();
        commands.dedup();
        let command = joined(commands.into_iter(), " && ");
        let next = format!("retrying in {}", timing::shortly(delay));
        match weight {
            _ if told == Told::Before => {
                debug!(consumer, generation, %verdict, code, cause, fix, command, next, "still: {sentence}");
            }
            // Each generation that waits deserves a line, but not an alarm of its own.
            _ if told == Told::ForAnotherGeneration => {
                info!(event = "still-not-in-force", consumer, generation, %verdict, code, cause, fix, command, next, "published; still: {sentence}");
            }
            Weight::Pending => {
                info!(event = "reload-pending", consumer, generation, %verdict, code, cause, fix, command, next, "published; {sentence}");
            }
            Weight::Late => {
                warn!(event = "reload-pending", consumer, generation, %verdict, code, cause, fix, command, next, "published; {sentence}");
            }
            Weight::Unproven => {
                warn!(event = "unproven", consumer, generation, %verdict, code, cause, fix, command, next, "published; {sentence}");
            }
            Weight::Alarm => {
                error!(event = "not-in-force", consumer, generation, %verdict, code, cause, fix, command, next, "{sentence}");
            }
        }
    }
}

/// Why PostgreSQL could not be asked to reload: the finding of `check`, if the files that it needs can be read here.
pub(super) fn no_session(error: &sql::Error, session: &sql::Settings) -> Finding {
    if let Some(found) = diagnose::deciding_line(error, session, || survey::access(session, None)) {
        return found;
    }
    let found = diagnose::session(error, session);
    if matches!(error, sql::Error::NotRunning) {
        return diagnose::looked_around(found, &survey::neighbours(session));
    }
    found
}

/// Identifies a trouble by codes and objects, without times and sentences.
fn identity(verdict: Verdict, state: &str, findings: &[Finding]) -> String {
    let mut identity = format!("{verdict} {state}");
    for Finding { code, object, .. } in findings {
        identity.extend([" ", code.name(), "=", object.as_deref().unwrap_or_default()]);
    }
    identity
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>, between: &str) -> Option<String> {
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(between))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Code;

    #[test]
    fn a_trouble_is_told_from_the_next_by_codes_and_objects_and_not_by_sentences() {
        let found = |code, object: &str, text: &str| [Finding::failure(code, text).about(object)];
        let identity = |found: &[Finding]| identity(Verdict::StillOld, "served", found);
        let first = identity(&found(Code::KeyModeRefused, "/a", "expires in 12s"));
        assert_eq!(first, identity(&found(Code::KeyModeRefused, "/a", "expires in 9s")));
        assert_ne!(first, identity(&found(Code::KeyModeRefused, "/b", "expires in 12s")));
        assert_ne!(first, identity(&found(Code::KeyUnreadable, "/a", "expires in 12s")));
    }
}
