//! Start, stop, restart, freezing, and renewal by itself.

use std::time::Duration;

use super::client::Workload;
use super::{LIMIT, database};
use crate::{Error, Stop};

#[tokio::test]
async fn a_terminated_agent_unlinks_its_socket_and_comes_back_with_a_new_one() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    let first = workload.svid().await;

    agent.stop(Stop::Terminate);
    assert!(!agent.socket().exists());
    assert!(workload.next().await.is_err());
    assert!(Workload::open(&agent).await.is_err());

    agent.restart().unwrap();
    assert!(matches!(agent.restart(), Err(Error::Running)));
    let mut workload = Workload::open(&agent).await.unwrap();
    let second = workload.svid().await;
    assert_ne!(second.x509_svid_key, first.x509_svid_key);
    assert_eq!(second.bundle, first.bundle);
}

#[tokio::test]
async fn a_killed_agent_leaves_its_socket_behind() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;

    agent.stop(Stop::Kill);
    assert!(agent.socket().exists());
    assert!(workload.next().await.is_err());
    let refused = std::os::unix::net::UnixStream::connect(agent.socket()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    agent.restart().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
}

#[tokio::test]
async fn a_second_agent_on_the_same_socket_is_an_error() {
    let (_directory, builder) = database();
    let _agent = builder.clone().start().unwrap();
    assert!(matches!(builder.start(), Err(Error::InUse { .. })));
}

#[tokio::test]
async fn a_frozen_agent_is_silent_until_it_thaws() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;

    agent.freeze();
    agent.freeze();
    agent.rotate().unwrap();
    assert!(workload.is_silent().await);
    let opening = tokio::time::timeout(Duration::from_millis(100), Workload::open(&agent)).await;
    assert!(opening.is_err());

    agent.thaw();
    assert_eq!(workload.svid().await, agent.svid().to_message());
    agent.freeze();
    drop(agent);
}

#[tokio::test]
async fn svids_are_renewed_at_half_of_their_life() {
    let (_directory, builder) = database();
    let agent = builder.ttl(Duration::from_secs(1)).start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    let first = workload.svid().await;
    let begun = tokio::time::Instant::now();
    assert_ne!(workload.svid().await.x509_svid, first.x509_svid);
    assert!(begun.elapsed() < Duration::from_millis(900));
}

#[test]
fn synchronous_tests_can_wait() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    agent.storm(20, Duration::from_millis(1));
    let activity = agent.wait_until(LIMIT, |now| now.issued == 21).unwrap();
    assert_eq!(activity.messages, 0);

    let late = agent.wait_until(Duration::from_millis(1), |now| now.requests > 0);
    let text = late.unwrap_err().to_string();
    assert!(text.contains("waited for 1ms in vain"), "{text}");
}

#[test]
fn debug_prints_no_key() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let svid = agent.svid();
    let key = format!("{:?}", svid.key);
    let shown = format!("{agent:?} {svid:?} {:?} {:?}", agent.response(), agent.authority());
    assert!(!shown.contains(&key[1..40]), "{shown}");
}
