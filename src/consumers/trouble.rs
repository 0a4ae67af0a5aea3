//! Why the published set is not proven to be in force at a consumer, and how that is logged.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::Attempt;
use super::delivery::{AlreadyReported, Obstacle};
use super::problem::Problem;
use crate::finding::Finding;
use crate::sql::Retry;
use crate::timing;
use crate::verify::{Answer, Verdict};

/// Why the published set is not proven to be served.
pub(super) struct Trouble {
    pub(super) verdict: Verdict,
    pub(super) problem: Problem,
    pub(super) weight: Weight,
}

/// Why a consumer could not be asked to reload.
pub(super) struct NotAsked {
    /// What the consumer is: `PostgreSQL`.
    pub(super) program: &'static str,
    /// The error, in one sentence.
    pub(super) error: String,
    /// The error as a finding, with its remedy.
    pub(super) found: Finding,
    /// Whether nobody listens on its socket.
    pub(super) is_absent: bool,
    /// Whether it has no room for pgsvid: that may go away, but is worth a warning.
    pub(super) is_limited: bool,
}

/// When a waiting reload deserves a warning.
const LATE: Duration = Duration::from_secs(60);
/// A waiting reload becomes an alarm after a quarter of the published leaf's lifetime: the lifetime is divided by this.
const ALARMING: u32 = 4;

/// How serious a trouble is.
pub(super) enum Weight {
    /// Others reload the servers, and still have time.
    Awaited,
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
    /// Whether a reload of pgsvid's own is pending, which becomes more serious with time.
    pub(super) fn is_reload_pending(&self) -> bool {
        self.problem.pending && !matches!(self.weight, Weight::Awaited)
    }

    /// Raises the weight after waiting for this long; `life` is the published leaf's lifetime. A stopped server is no fault,
    /// but a server whose address is wrong still serves a certificate that expires.
    pub(super) fn grow(
        mut self,
        obstacle: Obstacle,
        waited: Duration,
        life: Duration,
    ) -> (Self, Obstacle) {
        let (weight, name) = match waited {
            _ if waited >= life / ALARMING => (Weight::Alarm, "alarm"),
            // This weight was reported at once.
            _ if matches!(self.weight, Weight::Late) => return (self, obstacle),
            _ if waited >= LATE.min(life / ALARMING / 2) => (Weight::Late, "late"),
            _ => return (self, obstacle),
        };
        let key = format!("{} {name}", obstacle.key);
        let obstacle = Obstacle { key, alarm: weight.is_alarm(), ..obstacle };
        self.weight = weight;
        (self, obstacle)
    }

    /// A trouble, and what it means for the next attempt. `general` explains the verdict; the attempt's own findings are more
    /// exact. `not_asked` says why the consumer could not be asked to reload, if so; `again` if the attempt before failed, too.
    pub(super) fn of(
        attempt: &Attempt,
        general: Finding,
        not_asked: Option<NotAsked>,
        again: bool,
    ) -> (Self, Obstacle) {
        let (verdict, findings) = (attempt.verdict, &attempt.findings);
        let outlived = attempt.has_outlived_its_renewal();
        let refused = outlived || attempt.retry() == Retry::Slowly;
        let answer = &attempt.facts.answer;
        // Each handshake that a server ends causes a line in its log.
        let slow = refused
            || matches!(answer, Answer::Refused(_) | Answer::TooLarge)
            || is_of_a_login(verdict);
        // Another reload of the set that is served already would fix nothing.
        let Some(not_asked) = not_asked.filter(|_| !outlived) else {
            let sentence = general.text.clone();
            let findings = if findings.is_empty() { vec![general] } else { findings.clone() };
            let weight = match verdict {
                Verdict::Unreachable | Verdict::Unavailable => Weight::Unproven,
                _ => Weight::Alarm,
            };
            let alarm = weight.is_alarm();
            let key = identity(verdict, "served", &findings);
            let codes = findings.iter().map(|found| found.code).collect();
            let problem = Problem { sentence, findings, codes, pending: false };
            return (Self { verdict, problem, weight }, Obstacle { key, slow, alarm });
        };
        // Whatever else is wrong, the reload has not happened yet.
        let NotAsked { program, error, found, is_absent, is_limited } = not_asked;
        // If no server listens, the sentence names the socket: it may be the wrong one.
        let why = if is_absent { found.text.clone() } else { error.clone() };
        let mut all = vec![found];
        all.extend_from_slice(findings);
        // A starting server binds its TCP port first. A server that keeps answering has its socket elsewhere, and will never
        // be asked to reload.
        let elsewhere = again && is_absent && !matches!(answer, Answer::Nothing(_));
        let (state, pending) = if refused {
            ("impossible", format!("{program} cannot be asked to reload: {error}"))
        } else if elsewhere {
            let address = &attempt.facts.address;
            let sentence = format!(
                "a server answers at {address}, but {program}'s socket is not at the configured path"
            );
            ("elsewhere", sentence)
        } else {
            ("pending", format!("the reload is pending: {why}"))
        };
        let (sentence, weight) = match verdict {
            Verdict::Expired => (format!("{}; {pending}", general.text), Weight::Alarm),
            _ if refused || elsewhere => (pending, Weight::Alarm),
            _ if is_limited => (pending, Weight::Late),
            _ => (pending, Weight::Pending),
        };
        let alarm = weight.is_alarm();
        let key = identity(verdict, state, &all);
        let codes = all.iter().map(|found| found.code).collect();
        // If waiting is enough, the sentence is complete.
        all.retain(|found| found.fix.is_some());
        let problem = Problem { sentence, findings: all, codes, pending: !alarm };
        (Self { verdict, problem, weight }, Obstacle { key, slow, alarm })
    }

    /// Logs the trouble, with the level of its weight.
    pub(super) fn say(
        &self,
        consumer: Option<&str>,
        generation: u64,
        delay: Duration,
        told: AlreadyReported,
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
            _ if told == AlreadyReported::Before => {
                debug!(consumer, generation, %verdict, code, cause, fix, command, next, "still: {sentence}");
            }
            // Each generation that waits deserves a line, but not an alarm of its own.
            _ if told == AlreadyReported::ForAnotherGeneration => {
                info!(event = "still-not-in-force", consumer, generation, %verdict, code, cause, fix, command, next, "published; still: {sentence}");
            }
            Weight::Awaited => {
                info!(event = "served-awaited", consumer, generation, %verdict, code, cause, fix, command, next, "{sentence}");
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

/// Whether it is the verdict on a login that a server has refused, which it logs.
fn is_of_a_login(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Refused | Verdict::PasswordAsked | Verdict::ServerUntrusted | Verdict::Unavailable
    )
}

/// Identifies a trouble by codes and objects, without times and sentences.
pub(super) fn identity(verdict: Verdict, state: &str, findings: &[Finding]) -> String {
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
    fn troubles_are_distinguished_by_codes_and_objects_and_not_by_sentences() {
        let found = |code, object: &str, text: &str| [Finding::failure(code, text).about(object)];
        let identity = |found: &[Finding]| identity(Verdict::StillOld, "served", found);
        let first = identity(&found(Code::KeyModeRefused, "/a", "expires in 12s"));
        assert_eq!(first, identity(&found(Code::KeyModeRefused, "/a", "expires in 9s")));
        assert_ne!(first, identity(&found(Code::KeyModeRefused, "/b", "expires in 12s")));
        assert_ne!(first, identity(&found(Code::KeyUnreadable, "/a", "expires in 12s")));
    }
}
