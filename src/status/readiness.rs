//! Whether the database should be used, judged by the published set and the verdicts.

use std::time::SystemTime;

use super::{Consumer, Kind, Status};
use crate::finding::{Code, Finding, Severity};
use crate::timing;
use crate::verify::Verdict;

/// The answer of `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What is missing, one sentence each. Empty if ready.
    pub missing: Vec<String>,
    /// Problems that are no reason to take a database out of service, one sentence each.
    pub degraded: Vec<String>,
}

impl Readiness {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Judges the status at the present time: a certificate expires without any event.
pub(super) fn of(status: &Status, now: SystemTime) -> Readiness {
    let mut readiness = Readiness::default();
    set(status, now, &mut readiness);
    for consumer in status.consumers.iter().filter(|_| status.published.is_some()) {
        // Others reload it, and still have time.
        if consumer.instances.as_ref().is_some_and(|it| it.awaited) {
            continue;
        }
        let mut alone = Readiness::default();
        judge(consumer, now, &mut alone);
        // The database serves its clients, whatever its REST API shows; a client's login says nothing about its machine, and the servers
        // of others nothing about this one.
        let is_aside = consumer.login.as_ref().is_some_and(|login| !login.readiness);
        // Nor do Secrets, unless they are all that there is.
        let is_beside = consumer.kind == Kind::Secrets && !status.directory.is_empty();
        if matches!(consumer.kind, Kind::Patroni | Kind::Served) || is_aside || is_beside {
            let missing = std::mem::take(&mut alone.missing);
            alone.degraded.splice(0..0, missing);
        }
        // A single consumer needs no name.
        let named = |text: String| match status.consumers.len() {
            1 => text,
            _ => format!("{}: {text}", consumer.name),
        };
        readiness.missing.extend(alone.missing.into_iter().map(named));
        readiness.degraded.extend(alone.degraded.into_iter().map(named));
    }
    // A hook is no reason to take a database out of service.
    readiness.degraded.extend(status.hooks.iter().filter_map(|hook| hook.problem.clone()));
    // Nor is a token.
    readiness.degraded.extend(
        status.tokens.iter().filter_map(|token| token.finding(now)).map(|found| found.text),
    );
    readiness
}

fn set(status: &Status, now: SystemTime, readiness: &mut Readiness) {
    let delay = status.delay(now).map(|found| found.text);
    if status.published.is_none() {
        readiness.missing.extend(delay);
        return;
    }
    if !status.has_started(now) {
        readiness.missing.extend(delay);
        readiness.missing.extend(status.displaced.clone());
    } else if let Some(problem) = &status.displaced {
        readiness.missing.push(problem.clone());
    } else {
        readiness.degraded.extend(delay);
    }
    readiness.degraded.extend(status.names(now).into_iter().map(|found| found.text));
    readiness.degraded.extend(status.order(now).map(|found| found.text.clone()));
}

fn judge(consumer: &Consumer, now: SystemTime, readiness: &mut Readiness) {
    let program = consumer.kind.program();
    let unreachable = consumer.verdict == Some(Verdict::Unreachable);
    let because = |general: &str| consumer.problem.clone().unwrap_or_else(|| general.to_owned());
    // A consumer that does not answer is judged by its last answer.
    let Some(verdict) = consumer.answered else {
        readiness.missing.push(if unreachable {
            because(&format!("{program} has not answered yet"))
        } else if consumer.kind == Kind::Served {
            because("no instance has been looked at yet")
        } else if consumer.kind == Kind::Client {
            because("no login as the client has ended yet")
        } else if consumer.kind == Kind::Secrets {
            because("no Secret has been written yet")
        } else {
            because(&format!("{program} has not been verified yet"))
        });
        return;
    };
    let accepted = match verdict {
        Verdict::Current
        | Verdict::OldAuthorities
        | Verdict::Unverifiable
        | Verdict::Admitted
        | Verdict::HandedOver
        | Verdict::Standby => true,
        Verdict::PasswordAsked
        | Verdict::Refused
        | Verdict::ServerUntrusted
        | Verdict::Unavailable
        | Verdict::Plaintext
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
        readiness.degraded.push(format!("{program} does not answer"));
    } else if let Some(unproven) = consumer.unproven {
        readiness.degraded.push(unproven.to_owned());
    }
    let is_reported = |it: &&Finding| {
        let is_failure = it.severity == Severity::Failure;
        // A problem tells them otherwise.
        consumer.kind == Kind::Served
            || (is_failure && (consumer.problem.is_none() || consumer.kind == Kind::Secrets))
            || (is_failure && it.code == Code::ClientCertificatesUnasked)
            || (is_failure && matches!(it.code, Code::PgbouncerLogin | Code::PgbouncerShowsOther))
    };
    // Its sessions with PostgreSQL go on, so this is no reason to take it out of service.
    readiness.degraded.extend(consumer.in_place.iter().map(|it| it.text.clone()));
    readiness
        .degraded
        .extend(consumer.concerns.iter().filter(is_reported).map(|it| it.text.clone()));
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
                dns_names: vec!["db.example".to_owned()],
                serial: "01".to_owned(),
                leaf: Fingerprint::of(b"leaf"),
                set: Fingerprint::of(b"set"),
                not_before: NOW - HOUR,
                not_after: NOW + HOUR,
                authorities_not_after: None,
            }),
            consumers: vec![Consumer::named(Kind::Postgres, "main")],
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
            // The last answer still counts while the published set is valid.
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
            seen: NOW,
            authorities_by: Proof::Key,
        };
        status.consumers[0].served = Some(served(NOW + HOUR / 2));
        assert!(status.readiness(NOW).is_ready());
        assert!(!status.readiness(NOW + HOUR / 2).is_ready());
        let verdict = |now| status.consumers[0].verdict_at(now);
        assert_eq!(verdict(NOW), Some(Verdict::OldAuthorities));
        assert_eq!(verdict(NOW + HOUR / 2), Some(Verdict::Expired));
    }

    #[test]
    fn a_message_that_is_rejected_is_degraded_before_the_renewal_is_overdue() {
        let mut status = published();
        status.consumers[0].judged(Verdict::Current, NOW);
        status.connection = Connection::Streaming;
        status.rejection = Some("the key is another's".to_owned());
        let readiness = status.readiness(NOW);
        let text = "the agent's newest message is rejected: the key is another's; the certificate expires in 1h";
        assert_eq!((readiness.is_ready(), &readiness.degraded[..]), (true, &[text.to_owned()][..]));
        let code = |status: &Status, now| status.delay(now).map(|found| found.code);
        assert_eq!(code(&status, NOW), Some(Code::Svid));
        status.problem = Some("the volume is full".to_owned());
        assert_eq!(code(&status, NOW), Some(Code::PublishedNewest));
        assert_eq!(code(&status, NOW + HOUR), Some(Code::PublishedExpired));
        assert_eq!(code(&Status::default(), NOW), Some(Code::NothingPublished));
    }

    #[test]
    fn each_consumer_counts_and_is_named_where_there_are_several() {
        let mut status = published();
        status.consumers.push(Consumer::named(Kind::Postgres, "other"));
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
    fn a_set_that_cannot_be_published_is_degraded_with_every_verdict() {
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
        // The lifetime is two hours, and half of it is over now.
        assert!(status.readiness(NOW + Duration::from_secs(59)).degraded.is_empty());
        let late = status.readiness(NOW + Duration::from_secs(61));
        let text = "the renewal is overdue for 1m 1s: no newer identity has come from the agent (the agent is gone); \
                    the certificate expires in 58m 59s";
        assert_eq!(late.degraded, [text]);
        status.connection = Connection::Streaming;
        let late = status.readiness(NOW + Duration::from_secs(61));
        assert!(
            late.degraded[0].contains("the agent is connected, but has sent no newer identity")
        );
        // Nothing is reported twice once it has expired.
        let over = status.readiness(NOW + HOUR);
        assert!(!over.is_ready() && over.degraded.is_empty(), "{over:?}");
    }
}
