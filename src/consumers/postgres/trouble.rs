//! Why the published set is not proven to be served, and how it is said.

use std::time::{Duration, SystemTime};

use tracing::{debug, error, info, warn};

use super::Attempt;
use crate::consumers::delivery::{Obstacle, Told};
use crate::diagnose::{self, Finding};
use crate::sql::{self, Retry};
use crate::timing;
use crate::verify::{Answer, Verdict};

/// Why the published set is not proven to be served.
pub(super) struct Trouble {
    verdict: Verdict,
    pub(super) sentence: String,
    /// What brings it about, and what fixes it.
    pub(super) findings: Vec<Finding>,
    weight: Weight,
}

/// How much a trouble matters.
enum Weight {
    /// Goes away by itself.
    Pending,
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
    /// What to say of an attempt that has failed, and what it means for the next; `again` if the one before failed, too.
    pub(super) fn of(
        attempt: &Attempt,
        session: &sql::Settings,
        again: bool,
        now: SystemTime,
    ) -> (Self, Obstacle) {
        let findings = &attempt.findings;
        let outlived = attempt.has_outlived_its_renewal();
        let (sentence, general) = if outlived {
            diagnose::outlived(&attempt.facts, now)
        } else {
            diagnose::explain(attempt.verdict, &attempt.facts, now)
        };
        let verdict = attempt.verdict;
        let slow = outlived || attempt.retry() == Retry::Slowly;
        // Another reload of what is served already would fix nothing.
        let Some(error) = attempt.sql.as_ref().filter(|_| !outlived) else {
            let findings = if findings.is_empty() { vec![general] } else { findings.clone() };
            let weight = match verdict {
                Verdict::Unreachable => Weight::Unproven,
                _ => Weight::Alarm,
            };
            let alarm = weight.is_alarm();
            let key = format!("{verdict} {findings:?}");
            return (Self { verdict, sentence, findings, weight }, Obstacle { key, slow, alarm });
        };
        // Whatever else is wrong, the reload has not happened yet.
        let mut all = Vec::new();
        if let Some(fix) = error.remedy(session) {
            all.push(Finding { cause: error.cause(session), fix });
        }
        all.extend_from_slice(findings);
        // A server that is just starting binds its TCP port first; one that answers again and again has its socket
        // elsewhere, and will never be asked to reload.
        let elsewhere = again
            && matches!(error, sql::Error::NotRunning)
            && matches!(attempt.facts.answer, Answer::Served(_) | Answer::Plaintext);
        let pending = if slow {
            format!("PostgreSQL cannot be asked to reload: {error}")
        } else if elsewhere {
            format!(
                "a server answers at {}, but PostgreSQL's socket is not where it is looked for",
                attempt.facts.address
            )
        } else {
            format!("the reload is pending: {error}")
        };
        let (sentence, weight) = match verdict {
            Verdict::Expired => (format!("{sentence}; {pending}"), Weight::Alarm),
            _ if slow || elsewhere => (pending.clone(), Weight::Alarm),
            _ => (pending.clone(), Weight::Pending),
        };
        let alarm = weight.is_alarm();
        let key = format!("{verdict} {pending} {all:?}");
        (Self { verdict, sentence, findings: all, weight }, Obstacle { key, slow, alarm })
    }

    /// Says it: an alarm, unless waiting is enough.
    pub(super) fn say(&self, generation: u64, delay: Duration, told: Told) {
        let Self { verdict, sentence, findings, weight, .. } = self;
        let cause = joined(findings.iter().map(|finding| finding.cause.as_str()));
        let fix = joined(findings.iter().map(|finding| finding.fix.as_str()));
        let next = format!("retrying in {}", timing::shortly(delay));
        match weight {
            _ if told == Told::Before => {
                debug!(generation, %verdict, cause, fix, next, "still: {sentence}");
            }
            // Each generation that waits is worth a line, but no alarm of its own.
            _ if told == Told::ForAnotherGeneration => {
                info!(event = "still-not-in-force", generation, %verdict, cause, fix, next, "published; still: {sentence}");
            }
            Weight::Pending => {
                info!(event = "reload-pending", generation, %verdict, cause, fix, next, "published; {sentence}");
            }
            Weight::Unproven => {
                warn!(event = "unproven", generation, %verdict, cause, fix, next, "published; {sentence}");
            }
            Weight::Alarm => {
                error!(event = "not-in-force", generation, %verdict, cause, fix, next, "{sentence}");
            }
        }
    }
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}
