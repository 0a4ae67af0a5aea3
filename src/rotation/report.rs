//! What is said of a rotation. A change of state is said once, its repetition at the debug level.

use std::time::{Duration, SystemTime};

use rustls::AlertDescription;
use tracing::{debug, error, info, warn};

use super::consumer::Attempt;
use crate::diagnose::{self, Finding};
use crate::material::Material;
use crate::postgres::{self, Retry, TlsSettings};
use crate::publish::Disowned;
use crate::timing;
use crate::verify::{Answer, Target, Verdict};

/// Milliseconds, to the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The line of a rotation that came to its end.
pub(super) fn rotated(
    attempt: &Attempt,
    session: &postgres::Settings,
    material: &Material,
    generation: u64,
    took: Option<Duration>,
    routine: bool,
) {
    if routine {
        debug!(generation, verdict = %attempt.verdict, "verified again");
        return;
    }
    // A reload that was not possible is no fault once the handshake has shown the new certificate.
    let authorities_by = match &attempt.facts.answer {
        Answer::Served(served) => Some(served.proof().name()),
        Answer::Plaintext | Answer::Nothing(_) => None,
    };
    let without_reload = attempt.sql.as_ref().map(ToString::to_string);
    info!(
        generation,
        verdict = %attempt.verdict,
        spiffe_id = %material.spiffe_id(),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        publish_ms = took.map(milliseconds),
        reload_ms = attempt.reload.map(milliseconds),
        verify_ms = milliseconds(attempt.verify),
        authorities_by,
        without_reload,
        "rotated"
    );
    // Somebody else's reload, or PostgreSQL's start, has done our work; it will not do so at the next renewal.
    if let Some(error) = &attempt.sql
        && error.retry() == Retry::Slowly
    {
        let cause = error.cause(session);
        let fix = error.remedy(session);
        warn!(generation, cause, fix, "PostgreSQL cannot be asked to reload at the next renewal");
    }
}

/// What others could have put into the published directory.
pub fn disowned(found: &[Disowned]) {
    for Disowned { found, removed } in found {
        let path = found.path.display();
        if *removed {
            warn!(
                %path,
                cause = %found.reason,
                fix = "unless pgsvid ran as another user before: let nobody else write to the directory, or mount it \
                       where nobody else does",
                "removed from the published directory what others could have put there"
            );
        } else if found.is_roots() {
            warn!(%path, cause = %found.reason, "the published set is root's: it stays until there is one of our own");
        } else {
            warn!(
                %path,
                cause = %found.reason,
                fix = "let nobody else write to the directory, or mount it where nobody else does",
                "the published set may be an older one: it stays, and counts for nothing, until the agent has sent one"
            );
        }
    }
}

/// The line of a publication where no server takes part.
pub(super) fn published(material: &Material, generation: u64, took: Duration) {
    info!(
        generation,
        spiffe_id = %material.spiffe_id(),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        publish_ms = milliseconds(took),
        "published"
    );
}

/// The agent changes the identity without end.
pub(super) fn paced(every: Duration) {
    warn!(
        every = %humantime::format_duration(every),
        fix = "see the agent's log for why it issues so many SVIDs",
        "the agent changes the identity without end: the newest is published now and then, a changed bundle at once"
    );
}

pub(super) fn publication_failed(text: &str, delay: Duration, repeated: bool) {
    let next = format!("what was published stays; retrying in {}", roughly(delay));
    if repeated {
        debug!(error = text, next, "still cannot publish the new identity");
    } else {
        error!(error = text, next, "cannot publish the new identity");
    }
}

/// What is known of the server, once.
pub(super) fn server(settings: &TlsSettings, target: &Target) {
    if *target == Target::Auto && settings.listen_addresses.is_empty() {
        warn!(
            version = settings.version,
            fix = "let it listen on 127.0.0.1 (listen_addresses) to have every rotation proven",
            "PostgreSQL has no TCP listener: what it serves cannot be verified"
        );
    } else {
        info!(
            version = settings.version,
            listen_addresses = settings.listen_addresses,
            port = settings.port,
            "connected to PostgreSQL"
        );
    }
}

pub(super) fn concerns(concerns: &[Finding]) {
    for Finding { cause, fix } in concerns {
        warn!(cause, fix, "PostgreSQL's settings do not lead to the published files");
    }
}

/// PostgreSQL will not read the published map: whoever was taken out of it keeps his role.
pub(super) fn unreadable_map(expression: &str, error: &postgres::Error) {
    error!(
        cause = format!("/{expression}: {error}"),
        fix = "mend files.ident_lines, and restart pgsvid",
        "PostgreSQL cannot read the published map, and goes on with the one that it had"
    );
}

/// Errors in files that a reload reads. They hinder neither the certificates nor one another, but somebody's edit.
pub(super) fn file_errors(errors: &[String]) {
    for error in errors {
        warn!(
            cause = error,
            fix = "mend the line, then reload",
            "PostgreSQL's files have an error"
        );
    }
}

/// The server refuses the published leaf as a client's, and not for its authority.
pub(super) fn unwelcome(alert: AlertDescription) {
    warn!(
        ?alert,
        fix = "look for \"could not accept SSL connection\" in the server log: the line names the reason",
        "PostgreSQL does not take the published certificate from a client, so its authorities are proven by their names alone"
    );
}

/// Why the published set is not proven to be served.
pub(super) struct Trouble {
    verdict: Verdict,
    pub(super) sentence: String,
    /// Tells one trouble from the next; free of times.
    pub(super) key: String,
    /// What brings it about, and what mends it.
    pub(super) findings: Vec<Finding>,
    pub(super) slow: bool,
    weight: Weight,
}

/// Whether a trouble was said already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Never,
    ForAnotherGeneration,
    Before,
}

/// How much a trouble matters.
enum Weight {
    /// Goes away by itself.
    Pending,
    /// Nothing is known to be wrong, but nothing is proven either, and waiting may not help.
    Unproven,
    /// Somebody has to mend it.
    Alarm,
}

impl Trouble {
    pub(super) fn of(
        attempt: &Attempt,
        findings: &[Finding],
        session: &postgres::Settings,
        again: bool,
        now: SystemTime,
    ) -> Self {
        let outlived = attempt.has_outlived_its_renewal();
        let (sentence, general) = if outlived {
            diagnose::outlived(&attempt.facts, now)
        } else {
            diagnose::explain(attempt.verdict, &attempt.facts, now)
        };
        let verdict = attempt.verdict;
        let slow = outlived || attempt.retry() == Retry::Slowly;
        // Another reload of what is served already would mend nothing.
        let Some(error) = attempt.sql.as_ref().filter(|_| !outlived) else {
            let findings = if findings.is_empty() { vec![general] } else { findings.to_vec() };
            let weight = match verdict {
                Verdict::Unreachable => Weight::Unproven,
                _ => Weight::Alarm,
            };
            let key = format!("{verdict} {findings:?}");
            return Self { verdict, sentence, key, findings, slow, weight };
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
            && matches!(error, postgres::Error::NotRunning)
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
        let key = format!("{verdict} {pending} {all:?}");
        Self { verdict, sentence, key, findings: all, slow, weight }
    }

    pub(super) fn is_alarm(&self) -> bool {
        matches!(self.weight, Weight::Alarm)
    }

    /// Says it: an alarm, unless waiting is enough.
    pub(super) fn say(&self, generation: u64, delay: Duration, said: Said) {
        let Self { verdict, sentence, findings, weight, .. } = self;
        let cause = joined(findings.iter().map(|finding| finding.cause.as_str()));
        let fix = joined(findings.iter().map(|finding| finding.fix.as_str()));
        let next = format!("retrying in {}", roughly(delay));
        match weight {
            _ if said == Said::Before => {
                debug!(generation, %verdict, cause, fix, next, "still: {sentence}");
            }
            // Each generation that waits is worth a line, but no alarm of its own.
            _ if said == Said::ForAnotherGeneration => {
                info!(generation, %verdict, cause, fix, next, "published; still: {sentence}");
            }
            Weight::Pending => {
                info!(generation, %verdict, cause, fix, next, "published; {sentence}");
            }
            Weight::Unproven => {
                warn!(generation, %verdict, cause, fix, next, "published; {sentence}");
            }
            Weight::Alarm => error!(generation, %verdict, cause, fix, next, "{sentence}"),
        }
    }
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn roughly(delay: Duration) -> String {
    if delay < Duration::from_secs(1) {
        format!("{} ms", delay.as_millis())
    } else {
        timing::roughly(delay)
    }
}
