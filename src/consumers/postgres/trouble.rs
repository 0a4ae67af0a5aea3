//! Why the published set is not proven to be served, and how it is said.

use std::time::{Duration, SystemTime};

use tracing::{debug, error, info, warn};

use super::Attempt;
use crate::consumers::delivery::{Obstacle, Told};
use crate::consumers::problem::Problem;
use crate::diagnose;
use crate::finding::Finding;
use crate::sql::{self, Retry};
use crate::timing;
use crate::verify::{Answer, Verdict};

/// Why the published set is not proven to be served.
pub(in crate::consumers) struct Trouble {
    pub(in crate::consumers) verdict: Verdict,
    pub(in crate::consumers) problem: Problem,
    pub(in crate::consumers) weight: Weight,
}

/// When a reload that waits is worth a warning.
const LATE: Duration = Duration::from_secs(60);
/// The part of the published leaf's life after which it is an alarm.
const ALARMING: u32 = 4;

/// How much a trouble matters.
pub(in crate::consumers) enum Weight {
    /// Goes away by itself.
    Pending,
    /// Has not gone away by itself for a while.
    Late,
    /// Nothing is known to be wrong, but nothing is proven either, and waiting may not help.
    Unproven,
    /// Somebody has to fix it.
    Alarm,
}

impl Weight {
    fn is_alarm(&self) -> bool {
        matches!(self, Self::Alarm)
    }
}

impl Trouble {
    /// Waiting was enough, and has gone on for so long; `life` is that of the published leaf. A server that is down is no
    /// fault, but one that is looked for in the wrong place goes on serving what expires.
    pub(in crate::consumers) fn grow(
        mut self,
        obstacle: Obstacle,
        waited: Duration,
        life: Duration,
    ) -> (Self, Obstacle) {
        let (weight, name) = match waited {
            _ if waited >= life / ALARMING => (Weight::Alarm, "alarm"),
            _ if waited >= LATE.min(life / ALARMING / 2) => (Weight::Late, "late"),
            _ => return (self, obstacle),
        };
        let key = format!("{} {name}", obstacle.key);
        let obstacle = Obstacle { key, alarm: weight.is_alarm(), ..obstacle };
        self.weight = weight;
        (self, obstacle)
    }

    /// What to say of an attempt that has failed, and what it means for the next; `again` if the one before failed, too.
    pub(super) fn of(
        attempt: &Attempt,
        session: &sql::Settings,
        again: bool,
        now: SystemTime,
    ) -> (Self, Obstacle) {
        let findings = &attempt.findings;
        let outlived = attempt.has_outlived_its_renewal();
        let general = if outlived {
            diagnose::outlived(&attempt.facts, now)
        } else {
            diagnose::explain(attempt.verdict, &attempt.facts, now)
        };
        let verdict = attempt.verdict;
        let slow = outlived || attempt.retry() == Retry::Slowly;
        // Another reload of what is served already would fix nothing.
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
        let mut all = vec![diagnose::session(error, session)];
        all.extend_from_slice(findings);
        // A server that is just starting binds its TCP port first; one that answers again and again has its socket
        // elsewhere, and will never be asked to reload.
        let elsewhere = again
            && matches!(error, sql::Error::NotRunning)
            && matches!(attempt.facts.answer, Answer::Served(_) | Answer::Plaintext);
        let (state, pending) = if slow {
            ("impossible", format!("PostgreSQL cannot be asked to reload: {error}"))
        } else if elsewhere {
            let sentence = format!(
                "a server answers at {}, but PostgreSQL's socket is not where it is looked for",
                attempt.facts.address
            );
            ("elsewhere", sentence)
        } else {
            ("pending", format!("the reload is pending: {error}"))
        };
        let (sentence, weight) = match verdict {
            Verdict::Expired => (format!("{}; {pending}", general.text), Weight::Alarm),
            _ if slow || elsewhere => (pending, Weight::Alarm),
            _ => (pending, Weight::Pending),
        };
        let alarm = weight.is_alarm();
        let key = identity(verdict, state, &all);
        let codes = all.iter().map(|found| found.code).collect();
        // Where waiting is enough, the sentence says it all.
        all.retain(|found| found.fix.is_some());
        let pending = matches!(weight, Weight::Pending);
        let problem = Problem { sentence, findings: all, codes, pending };
        (Self { verdict, problem, weight }, Obstacle { key, slow, alarm })
    }

    /// Says it: an alarm, unless waiting is enough.
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
        let fix = joined(findings.iter().filter_map(|finding| finding.fix.as_deref()), "; ");
        let next = format!("retrying in {}", timing::shortly(delay));
        match weight {
            _ if told == Told::Before => {
                debug!(consumer, generation, %verdict, code, cause, fix, next, "still: {sentence}");
            }
            // Each generation that waits is worth a line, but no alarm of its own.
            _ if told == Told::ForAnotherGeneration => {
                info!(event = "still-not-in-force", consumer, generation, %verdict, code, cause, fix, next, "published; still: {sentence}");
            }
            Weight::Pending => {
                info!(event = "reload-pending", consumer, generation, %verdict, code, cause, fix, next, "published; {sentence}");
            }
            Weight::Late => {
                warn!(event = "reload-pending", consumer, generation, %verdict, code, cause, fix, next, "published; {sentence}");
            }
            Weight::Unproven => {
                warn!(event = "unproven", consumer, generation, %verdict, code, cause, fix, next, "published; {sentence}");
            }
            Weight::Alarm => {
                error!(event = "not-in-force", consumer, generation, %verdict, code, cause, fix, next, "{sentence}");
            }
        }
    }
}

/// Tells one trouble from the next: by codes and objects, without times and sentences.
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
