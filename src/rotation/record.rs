//! What is recorded of the loop's work in the status, for whoever reports.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::consumers::{self, Concluded, Consumer, Publication};
use crate::material::Material;
use crate::source::{self, Identity, SourceState};
use crate::status::{Attempt, Connection, Outcome, Sessions, Status, Step};
use crate::timing;
use crate::verify::Verdict;

/// The agent, as the source has it.
pub(super) fn agent(status: &mut Status, state: &SourceState) {
    status.withdrawn = matches!(state.identity, Identity::Withdrawn(_));
    status.agent = state.to_string();
    status.rejection = state.rejected.as_ref().map(|rejected| rejected.reason.clone());
    let is_streaming = matches!(state.connection, source::Connection::Streaming);
    if !is_streaming {
        status.connected = None;
    } else if status.connected.is_none() || status.connects != state.connects {
        status.connected = Some(timing::now());
    }
    status.connects = state.connects;
    status.rejections.clone_from(&state.rejections_by_reason);
    status.connection = match state.connection {
        source::Connection::Connecting => Connection::Connecting,
        source::Connection::Streaming => Connection::Streaming,
        source::Connection::NotRegistered => Connection::NotRegistered,
        source::Connection::Failed(_) => Connection::Failed,
    };
}

/// When the next try is due by the wall clock.
pub(super) fn due(next: Option<Instant>) -> Option<SystemTime> {
    next.map(|next| timing::now() + next.saturating_duration_since(Instant::now()))
}

fn attempt(material: &Material, generation: u64, outcome: Outcome, step: Step) -> Attempt {
    Attempt {
        consumer: None,
        at: timing::now(),
        generation,
        serial: material.leaf().serial().to_string(),
        outcome,
        step,
        tries: 1,
        verdict: None,
        publish: None,
        reload: None,
        verify: None,
        whole: None,
        problem: None,
        codes: Vec::new(),
    }
}

/// A publication that failed.
pub(super) fn unpublished(
    status: &mut Status,
    material: &Material,
    generation: u64,
    problem: &str,
    retry: Option<SystemTime>,
) {
    status.problem = Some(problem.to_owned());
    status.retry = retry;
    let failed = attempt(material, generation, Outcome::Failed, Step::Publish);
    status.history.add(Attempt { problem: Some(problem.to_owned()), ..failed });
}

/// A publication that nobody has to be told of.
pub(super) fn published(status: &mut Status, material: &Material, generation: u64, took: Duration) {
    let published = attempt(material, generation, Outcome::Completed, Step::Publish);
    status.history.add(Attempt { publish: Some(took), whole: Some(took), ..published });
}

/// What handing over has come to. A look at what is known to be served is no attempt, unless it finds something else.
pub(super) fn handed_over(
    status: &mut Status,
    seen: &consumers::Attempt,
    consumer: &Consumer,
    publication: &Publication,
    (publish, whole): (Option<Duration>, Option<Duration>),
    concluded: Concluded,
) {
    let now = timing::now();
    let problem = consumer.problem();
    let sentence = problem.map(|problem| problem.sentence.clone());
    let settled = consumer.is_settled();
    let Some(known) = status.consumers.iter_mut().find(|known| known.name == consumer.name())
    else {
        return;
    };
    known.judged(seen.verdict, now);
    known.seen(&seen.facts.answer, now);
    known.reload_pending = consumer.owes_reload();
    known.unproven = consumer.unproven();
    known.retry = if settled { None } else { due(consumer.next()) };
    known.problem.clone_from(&sentence);
    known.findings = problem.map(|problem| problem.findings.clone()).unwrap_or_default();
    sessions(status, consumer);
    if concluded.routine {
        return;
    }
    let outcome = match problem {
        _ if settled => Outcome::Completed,
        Some(problem) if problem.pending => Outcome::Pending,
        _ => Outcome::Failed,
    };
    let asked = seen.sql.is_none();
    let step = if settled || asked || seen.verdict == Verdict::Current {
        Step::Verify
    } else {
        Step::Reload
    };
    status.history.add(Attempt {
        consumer: Some(consumer.name().to_owned()),
        verdict: Some(seen.verdict),
        publish,
        reload: seen.reload,
        verify: Some(seen.verify),
        whole,
        problem: sentence,
        codes: problem.map(|problem| problem.codes.clone()).unwrap_or_default(),
        ..attempt(&publication.material, publication.generation, outcome, step)
    });
}

/// The sessions on the server, as they were last counted; whether that is news.
pub(super) fn sessions(status: &mut Status, consumer: &Consumer) -> bool {
    let Some((at, counts)) = consumer.sessions() else { return false };
    let Some(known) = status.consumers.iter_mut().find(|known| known.name == consumer.name())
    else {
        return false;
    };
    let is_news = known.sessions.as_ref().is_none_or(|known| known.at != Some(*at));
    known.sessions = Some(Sessions {
        at: Some(*at),
        by_protocol: counts.by_protocol.clone(),
        older_than_svid: counts.older,
    });
    is_news
}
