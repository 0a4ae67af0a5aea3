//! Records the loop's work in the status.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::consumers::{self, Concluded, Consumer, Publication};
use crate::finding::Finding;
use crate::material::Material;
use crate::source::files::FilesState;
use crate::source::workload_api::{self, AgentState};
use crate::source::{Identity, SourceDetails, SourceState};
use crate::status::{
    Attempt, Certificates, Connection, Login, Origin, Outcome, Outlived, Sessions, Status, Step,
};
use crate::timing;
use crate::verify::Verdict;

/// Records the state of the source.
pub(super) fn source(status: &mut Status, state: &SourceState) {
    status.withdrawn = matches!(state.identity, Identity::Withdrawn(_));
    status.agent = state.to_string();
    status.rejection = state.rejected.as_ref().map(|rejected| rejected.reason.clone());
    match &state.standing {
        SourceDetails::Agent(agent) => of_agent(status, agent),
        SourceDetails::Files(files) => {
            status.origin = Origin::Files(Box::new(of_files(files, state.rejections)));
        }
    }
}

fn of_agent(status: &mut Status, state: &AgentState) {
    let is_streaming = matches!(state.connection, workload_api::Connection::Streaming);
    if !is_streaming {
        status.connected = None;
    } else if status.connected.is_none() || status.connects != state.connects {
        status.connected = Some(timing::now());
    }
    status.connects = state.connects;
    status.rejections.clone_from(&state.rejections_by_reason);
    status.connection = match state.connection {
        workload_api::Connection::Connecting => Connection::Connecting,
        workload_api::Connection::Streaming => Connection::Streaming,
        workload_api::Connection::NotRegistered => Connection::NotRegistered,
        workload_api::Connection::Failed(_) => Connection::Failed,
    };
}

fn of_files(files: &FilesState, rejected: u64) -> Certificates {
    Certificates {
        path: files.certificate.display().to_string(),
        renewal_percent: files.renewal_percent,
        owner: files.writer.as_ref().map(|writer| writer.owner),
        written: files.writer.as_ref().map(|writer| writer.written),
        remedy: files.remedy(),
        waiting: files.waiting.clone(),
        trouble: files.trouble.clone(),
        rejected,
    }
}

/// Records what is wrong with the source's own files, for the consumers that open them at each connection; returns whether that
/// has changed, and adds the names of those whose connections fail from now on.
pub(super) fn in_place(
    status: &mut Status,
    found: Option<&Finding>,
    failing: &mut Vec<String>,
) -> bool {
    let mut is_news = false;
    for known in &mut status.consumers {
        let wanted = found.filter(|_| known.opens_in_place).cloned();
        if known.in_place == wanted {
            continue;
        }
        is_news = true;
        if wanted.is_some() {
            failing.push(known.name.clone());
        }
        known.in_place = wanted;
    }
    is_news
}

/// Who logs in as a client, and where.
pub(super) fn login(settings: &consumers::ClientLogin) -> Login {
    Login {
        role: settings.role.clone(),
        database: settings.database.clone(),
        address: None,
        readiness: settings.readiness,
    }
}

/// When the next attempt is due by the wall clock.
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

/// Records a failed publication.
pub(super) fn unpublished(
    status: &mut Status,
    material: &Material,
    generation: u64,
    (problem, remedy): (&str, Option<Finding>),
    retry: Option<SystemTime>,
) {
    status.problem = Some(problem.to_owned());
    status.remedy = remedy;
    status.retry = retry;
    let failed = attempt(material, generation, Outcome::Failed, Step::Publish);
    status.history.add(Attempt { problem: Some(problem.to_owned()), ..failed });
}

/// Records a publication of which nobody has to be notified.
pub(super) fn published(status: &mut Status, material: &Material, generation: u64, took: Duration) {
    let published = attempt(material, generation, Outcome::Completed, Step::Publish);
    status.history.add(Attempt { publish: Some(took), whole: Some(took), ..published });
}

/// Records the result of handing over. A check of a set that is known to be served is no attempt, unless it finds something
/// else.
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
    if seen.has_no_common_tls() {
        known.judged_unspoken(settled);
    } else {
        known.judged(seen.verdict, now);
    }
    known.seen(&seen.facts.answer, now);
    if let Some(login) = &mut known.login {
        login.address = Some(seen.facts.address.clone()).filter(|address| !address.is_empty());
    }
    known.instances = consumer.instances();
    known.reload_pending = consumer.owes_reload();
    known.unproven = consumer.unproven();
    known.retry = if settled { None } else { due(consumer.next()) };
    known.problem.clone_from(&sentence);
    known.findings = problem.map(|problem| problem.findings.clone()).unwrap_or_default();
    known.secrets = consumer.states().to_vec();
    asked(status, consumer);
    if concluded.routine {
        return;
    }
    let outcome = match problem {
        _ if settled => Outcome::Completed,
        Some(problem) if problem.pending => Outcome::Pending,
        _ => Outcome::Failed,
    };
    let asked = seen.reload_error.is_none();
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

/// Records what the server answered last: its settings, and the sessions on it; returns whether that is news.
pub(super) fn asked(status: &mut Status, consumer: &Consumer) -> bool {
    let Some(known) = status.consumers.iter_mut().find(|known| known.name == consumer.name())
    else {
        return false;
    };
    let mut is_news = known.concerns != consumer.concerns();
    known.concerns = consumer.concerns().to_vec();
    is_news |= known.server_side != consumer.server_side();
    known.server_side = consumer.server_side();
    is_news |= known.session_rights.as_ref() != consumer.session_rights();
    known.session_rights = consumer.session_rights().cloned();
    is_news |= known.opens_in_place != consumer.opens_in_place();
    known.opens_in_place = consumer.opens_in_place();
    is_news |= known.replication.as_ref() != consumer.replication();
    known.replication = consumer.replication().cloned();
    if let Some((at, counts)) = consumer.sessions() {
        let (life, ended) = consumer.outlived();
        is_news |= known.sessions.as_ref().is_none_or(|known| known.at != Some(*at));
        known.sessions = Some(Sessions {
            at: Some(*at),
            by_protocol: counts.by_protocol.clone(),
            older_than_svid: counts.older,
            certified: counts.certified,
            life,
            outlived: counts
                .outlived
                .iter()
                .map(|it| Outlived {
                    role: it.role.clone(),
                    by_age: it.by_age.to_vec(),
                    longest: it.longest,
                })
                .collect(),
            ended,
        });
    }
    is_news
}
