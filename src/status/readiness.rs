//! Whether the database should be used: the published set and the verdict, as one answer.

use std::time::SystemTime;

use super::{Consumer, Status};
use crate::timing;
use crate::verify::Verdict;

/// The answer of `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What is missing, in words. Ready is who misses nothing.
    pub missing: Vec<String>,
    /// What is not as it should be, and no reason to take a database out of service.
    pub degraded: Vec<String>,
}

impl Readiness {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Judges what is known, by the time that it is now: a certificate expires without any event.
pub(super) fn of(status: &Status, now: SystemTime) -> Readiness {
    let mut readiness = Readiness::default();
    set(status, now, &mut readiness);
    for consumer in status.consumers.iter().filter(|_| status.published.is_some()) {
        let mut alone = Readiness::default();
        judge(consumer, now, &mut alone);
        // One alone needs no name.
        let named = |text: String| match status.consumers.len() {
            1 => text,
            _ => format!("{}: {text}", consumer.name),
        };
        readiness.missing.extend(alone.missing.into_iter().map(named));
        readiness.degraded.extend(alone.degraded.into_iter().map(named));
    }
    readiness
}

fn set(status: &Status, now: SystemTime, readiness: &mut Readiness) {
    let Some(published) = &status.published else {
        readiness.missing.push(format!("no identity is published yet: {}", status.agent));
        return;
    };
    if published.not_after <= now {
        let since = timing::utc(published.not_after);
        readiness.missing.push(format!("the published certificate has expired at {since}"));
    }
    if let Some(problem) = &status.displaced {
        readiness.missing.push(problem.clone());
    }
    if status.withdrawn {
        readiness.degraded.push("the agent has withdrawn the identity".to_owned());
    }
    if let Some(problem) = status.problem.as_ref().filter(|_| status.displaced.is_none()) {
        readiness.degraded.push(problem.clone());
    } else if let Some(late) = status.overdue(now).filter(|_| published.not_after > now) {
        let left = published.not_after.duration_since(now).unwrap_or_default();
        let (cause, _) = status.why_not_renewed();
        readiness.degraded.push(format!(
            "the renewal is overdue for {}: {cause}; clients refuse the certificate in {}",
            timing::roughly(late),
            timing::roughly(left)
        ));
    }
}

fn judge(consumer: &Consumer, now: SystemTime, readiness: &mut Readiness) {
    let unreachable = consumer.verdict == Some(Verdict::Unreachable);
    let because = |general: &str| consumer.problem.clone().unwrap_or_else(|| general.to_owned());
    // Who does not answer is judged by the last answer.
    let Some(verdict) = consumer.answered else {
        readiness.missing.push(if unreachable {
            because("PostgreSQL has not answered yet")
        } else {
            "PostgreSQL has not been verified yet".to_owned()
        });
        return;
    };
    let accepted = match verdict {
        Verdict::Current | Verdict::OldAuthorities | Verdict::Unverifiable => true,
        Verdict::Plaintext
        | Verdict::Expired
        | Verdict::Foreign
        | Verdict::StillOld
        | Verdict::Unreachable => false,
    };
    if !accepted {
        readiness.missing.push(because(verdict.name()));
        return;
    }
    if let Some(served) = consumer.served.as_ref().filter(|served| served.not_after <= now) {
        let since = timing::utc(served.not_after);
        readiness.missing.push(format!("the served certificate has expired at {since}"));
    } else if let Some(problem) = &consumer.problem {
        readiness.degraded.push(problem.clone());
    } else if unreachable {
        readiness.degraded.push("PostgreSQL does not answer".to_owned());
    } else if let Some(unproven) = consumer.unproven {
        readiness.degraded.push(unproven.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Connection, Published, Served};
    use super::*;
    use crate::material::Fingerprint;
    use crate::verify::Proof;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(3600);

    fn published() -> Status {
        Status {
            published: Some(Published {
                generation: 1,
                spiffe_id: "spiffe://example.org/db".to_owned(),
                serial: "01".to_owned(),
                leaf: Fingerprint::of(b"leaf"),
                not_before: NOW - HOUR,
                not_after: NOW + HOUR,
                authorities_not_after: None,
            }),
            consumers: vec![Consumer::named("main")],
            ..Status::default()
        }
    }

    #[test]
    fn every_verdict_is_judged_as_the_design_has_it() {
        for (verdict, ready) in [
            (Verdict::Unverifiable, true),
            (Verdict::Plaintext, false),
            (Verdict::Expired, false),
            (Verdict::Foreign, false),
            (Verdict::StillOld, false),
            (Verdict::OldAuthorities, true),
            (Verdict::Current, true),
        ] {
            let mut status = published();
            status.consumers[0].judged(verdict, NOW);
            assert_eq!(status.readiness(NOW).is_ready(), ready, "{verdict}");
            // As before, while the published set is valid.
            status.consumers[0].judged(Verdict::Unreachable, NOW);
            let readiness = status.readiness(NOW);
            assert_eq!(readiness.is_ready(), ready, "{verdict}, then unreachable");
            assert_eq!(readiness.degraded.is_empty(), !ready, "{readiness:?}");
            assert!(!status.readiness(NOW + HOUR).is_ready(), "{verdict}: expired");
        }
    }

    #[test]
    fn nothing_counts_before_it_was_seen() {
        assert!(!Status::default().readiness(NOW).is_ready());
        let mut status = published();
        assert!(!status.readiness(NOW).is_ready(), "not verified");
        status.consumers[0].judged(Verdict::Unreachable, NOW);
        assert!(!status.readiness(NOW).is_ready(), "never answered");
        status.consumers.clear();
        assert!(status.readiness(NOW).is_ready(), "files alone");
    }

    #[test]
    fn a_withdrawn_identity_is_degraded_until_it_expires() {
        let mut status = published();
        status.consumers[0].judged(Verdict::Current, NOW);
        status.withdrawn = true;
        let readiness = status.readiness(NOW);
        assert!(readiness.is_ready() && readiness.degraded.len() == 1, "{readiness:?}");
        assert!(!status.readiness(NOW + HOUR).is_ready());
    }

    #[test]
    fn what_is_served_expires_without_another_verdict() {
        let mut status = published();
        status.consumers[0].judged(Verdict::OldAuthorities, NOW);
        let served = |not_after| Served {
            serial: "01".to_owned(),
            not_after,
            since: NOW,
            authorities_by: Proof::Key,
        };
        status.consumers[0].served = Some(served(NOW + HOUR / 2));
        assert!(status.readiness(NOW).is_ready());
        assert!(!status.readiness(NOW + HOUR / 2).is_ready());
    }

    #[test]
    fn each_consumer_counts_and_is_named_where_there_are_several() {
        let mut status = published();
        status.consumers.push(Consumer::named("other"));
        status.consumers[0].judged(Verdict::Current, NOW);
        status.consumers[1].judged(Verdict::StillOld, NOW);
        let readiness = status.readiness(NOW);
        assert_eq!(readiness.missing, ["other: still-old"]);
        status.consumers[1].judged(Verdict::Current, NOW);
        assert!(status.readiness(NOW).is_ready());
        status.consumers[0].problem = Some("it is slow".to_owned());
        assert_eq!(status.readiness(NOW).degraded, ["main: it is slow"]);
    }

    #[test]
    fn what_cannot_be_published_is_degraded_whatever_consumers_serve() {
        let mut status = published();
        status.consumers[0].judged(Verdict::Current, NOW);
        status.problem = Some("the volume is full".to_owned());
        let readiness = status.readiness(NOW);
        assert!(readiness.is_ready() && readiness.degraded.len() == 1, "{readiness:?}");
    }

    #[test]
    fn n04_a_renewal_that_is_overdue_is_degraded_with_its_reason_and_what_it_costs() {
        let mut status = published();
        status.consumers[0].judged(Verdict::Current, NOW);
        status.agent = "the agent is gone".to_owned();
        // The life is two hours, and its half is now.
        assert!(status.readiness(NOW + Duration::from_secs(59)).degraded.is_empty());
        let late = status.readiness(NOW + Duration::from_secs(61));
        let text = "the renewal is overdue for 1m 1s: no newer identity has come from the agent (the agent is gone); \
                    clients refuse the certificate in 58m 59s";
        assert_eq!(late.degraded, [text]);
        status.connection = Connection::Streaming;
        let late = status.readiness(NOW + Duration::from_secs(61));
        assert!(
            late.degraded[0].contains("the agent is connected, and has sent no newer identity")
        );
        // Nothing is said twice once it is over.
        let over = status.readiness(NOW + HOUR);
        assert!(!over.is_ready() && over.degraded.is_empty(), "{over:?}");
    }
}
