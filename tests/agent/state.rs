//! What the source reports about itself: the counters and states for status and metrics.

use std::time::Duration;

use dev_agent::{DevAgent, Misbehaviour, Status};
use pgsvid::material::Expectations;
use pgsvid::source::workload_api::{Connection, Error, Selection, Settings, Source};
use pgsvid::source::{Identity, SourceState};
use pgsvid::watching::Watching;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::place::{LIMIT, workload};

#[tokio::test]
async fn w13_rejected_messages_are_counted_and_the_last_reason_is_kept_until_one_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    let (mut state, _stop) = source(&agent);
    let first = until(&mut state, |state| state.identity.material().is_some()).await;
    assert_eq!((first.rejections, first.agent().unwrap().connects), (0, 1));

    let mut message = agent.response();
    message.svids[0].x509_svid_key.clear();
    agent.push(&message);
    until(&mut state, |state| state.rejections == 1).await;
    message.svids.clear();
    agent.push(&message);
    let state_now = until(&mut state, |state| state.rejections == 2).await;
    assert_eq!(state_now.rejected.as_ref().unwrap().reason, "the message holds no SVID");
    assert_eq!(state_now.to_string(), "the message holds no SVID");
    let kept = state_now.identity.material().unwrap();
    assert!(kept.publishes_as(first.identity.material().unwrap()));

    agent.rotate().unwrap();
    let state_now = until(&mut state, |state| state.rejected.is_none()).await;
    assert_eq!(state_now.rejections, 2, "it counts all there ever were");
    assert!(matches!(state_now.identity, Identity::Current(_)));
    assert_eq!(state_now.to_string(), "connected");
}

#[tokio::test]
async fn w10_a_withdrawn_identity_is_known_as_such_until_it_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    let (mut state, _stop) = source(&agent);
    until(&mut state, |state| matches!(state.identity, Identity::Current(_))).await;
    agent.remove_entries();
    let withdrawn =
        until(&mut state, |state| matches!(state.identity, Identity::Withdrawn(_))).await;
    assert!(matches!(withdrawn.connection(), Some(Connection::NotRegistered)));
    agent.add_entry(workload()).unwrap();
    until(&mut state, |state| matches!(state.identity, Identity::Current(_))).await;
}

#[tokio::test]
async fn w11_an_agent_that_is_unavailable_withdraws_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    let (mut state, _stop) = source(&agent);
    until(&mut state, |state| matches!(state.identity, Identity::Current(_))).await;
    agent.misbehave(Misbehaviour::Refuse(Status::unavailable("failed to attest")));
    agent.end_streams(None);
    let failed =
        until(&mut state, |state| matches!(state.connection(), Some(Connection::Failed(_)))).await;
    assert!(matches!(failed.identity, Identity::Current(_)));
    assert_eq!(failed.to_string(), "the agent answered Unavailable: failed to attest");
}

#[tokio::test]
async fn a19_an_agent_that_breaks_the_protocol_after_good_service_is_an_agent_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    let (mut state, _stop) = source(&agent);
    let first = until(&mut state, |state| state.identity.material().is_some()).await;
    agent.misbehave_times(1, Misbehaviour::GarbleMessages);
    agent.rotate().unwrap();
    let failed =
        until(&mut state, |state| matches!(state.connection(), Some(Connection::Failed(_)))).await;
    let Some(Connection::Failed(error)) = failed.connection() else { unreachable!() };
    assert!(!matches!(**error, Error::NotGrpc(_)), "{error}");
    assert!(error.remedy().is_some(), "{error}");
    // As after any other connection that was lost.
    assert!(matches!(failed.identity, Identity::Current(_)));
    let renewed = |state: &SourceState| {
        !state.identity.material().unwrap().publishes_as(first.identity.material().unwrap())
    };
    until(&mut state, renewed).await;
}

#[tokio::test]
async fn w07_connections_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    let (mut state, _stop) = source(&agent);
    for connects in 1..=3 {
        until(&mut state, |state| state.agent().unwrap().connects == connects).await;
        agent.drop_connections();
    }
}

#[tokio::test]
async fn w12_the_source_ends_only_if_the_very_first_request_is_called_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    agent.misbehave(Misbehaviour::Refuse(Status::invalid_argument("on purpose")));
    let (source, _state) = Source::new(settings(&agent), Watching::blind());
    let ended = tokio::time::timeout(LIMIT, source.run(CancellationToken::new())).await.unwrap();
    assert!(matches!(ended, Err(Error::Answered { .. })), "{ended:?}");
}

fn agent(directory: &tempfile::TempDir) -> DevAgent {
    let socket = directory.path().join("agent.sock");
    DevAgent::builder(socket).automatic(false).entry(workload()).start().unwrap()
}

fn settings(agent: &DevAgent) -> Settings {
    Settings {
        endpoint: agent.endpoint().parse().unwrap(),
        selection: Selection::default(),
        expectations: Expectations::default(),
        federated_bundles: false,
    }
}

/// A source that runs until the guard is dropped.
fn source(agent: &DevAgent) -> (watch::Receiver<SourceState>, tokio_util::sync::DropGuard) {
    let (source, state) = Source::new(settings(agent), Watching::blind());
    let stop = CancellationToken::new();
    tokio::spawn(source.run(stop.clone()));
    (state, stop.drop_guard())
}

async fn until(
    state: &mut watch::Receiver<SourceState>,
    condition: impl FnMut(&SourceState) -> bool,
) -> SourceState {
    let limit: Duration = LIMIT;
    let waited = tokio::time::timeout(limit, state.wait_for(condition)).await;
    waited.expect("it comes to that").expect("the source runs").clone()
}
