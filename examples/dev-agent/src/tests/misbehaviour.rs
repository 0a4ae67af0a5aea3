//! Each misbehaviour, as a real client meets it.

use std::time::Duration;

use pgsvid_proto::X509svidResponse;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::client::{Workload, connect};
use super::{DB, database};
use crate::{DevAgent, Entry, Flaw, Misbehaviour, framed};

#[tokio::test]
async fn silent_connections_are_never_answered() {
    let (_directory, builder) = database();
    let agent = builder.misbehaviour(Misbehaviour::Silent).start().unwrap();
    let moment = Duration::from_millis(100);
    assert!(timeout(moment, Workload::open(&agent)).await.is_err());
    assert_eq!(agent.activity().requests, 0);
    assert_eq!(agent.activity().connections, 1);

    agent.behave();
    serves(&agent).await;
}

#[tokio::test]
async fn other_protocols_are_errors() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    for misbehaviour in [Misbehaviour::http1(), Misbehaviour::tls(), Misbehaviour::HangUp] {
        agent.misbehave(misbehaviour);
        assert!(Workload::open(&agent).await.is_err());
    }
    agent.behave();
    serves(&agent).await;
}

#[tokio::test]
async fn headers_may_come_alone() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    agent.misbehave(Misbehaviour::HeadersOnly);
    let mut workload = Workload::open(&agent).await.unwrap();
    agent.rotate().unwrap();
    assert!(workload.is_silent().await);
    agent.end_streams(None);
    assert!(workload.next().await.unwrap().is_none());
}

#[tokio::test]
async fn streams_may_begin_with_any_bytes() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut reply = agent.response();
    reply.svids[0].hint = "raw".to_owned();
    let bytes = framed(&prost::Message::encode_to_vec(&reply));
    agent.misbehave(Misbehaviour::Bytes(bytes.clone()));
    let mut workload = Workload::open(&agent).await.unwrap();
    assert_eq!(workload.next().await.unwrap().unwrap(), reply);
    assert!(workload.is_silent().await);

    agent.misbehave(Misbehaviour::Flood(bytes));
    let mut workload = Workload::open(&agent).await.unwrap();
    for _ in 0..1000 {
        assert_eq!(workload.next().await.unwrap().unwrap(), reply);
    }
}

#[tokio::test]
async fn a_message_may_be_garbled() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.next().await.unwrap().unwrap();
    agent.misbehave_times(1, Misbehaviour::GarbleMessages);
    agent.rotate().unwrap();
    assert!(workload.next().await.is_err());
    serves(&agent).await;
}

#[tokio::test]
async fn streams_are_refused_with_any_status() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    for code in
        [Code::PermissionDenied, Code::Unavailable, Code::InvalidArgument, Code::Unimplemented]
    {
        agent.misbehave_times(1, Misbehaviour::Refuse(Status::new(code, "on request")));
        let status = Workload::open(&agent).await.err().unwrap();
        assert_eq!((status.code(), status.message()), (code, "on request"));
        serves(&agent).await;
    }
}

#[tokio::test]
async fn streams_end_after_the_first_message() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    agent.misbehave(Misbehaviour::EndAfterFirst(None));
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
    assert!(workload.next().await.unwrap().is_none());

    agent.misbehave(Misbehaviour::EndAfterFirst(Some(Status::unavailable("x"))));
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
    assert_eq!(workload.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn open_streams_end_on_request() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
    agent.end_streams(Some(&Status::permission_denied("withdrawn")));
    let status = workload.next().await.unwrap_err();
    assert_eq!(status.message(), "withdrawn");
}

#[tokio::test]
async fn messages_are_cut() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    agent.misbehave_times(1, Misbehaviour::CutMessages);
    // Not even the headers are sure to be seen before the connection breaks.
    if let Ok(mut workload) = Workload::open(&agent).await {
        assert!(workload.next().await.is_err());
    }

    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
    agent.misbehave_times(1, Misbehaviour::CutMessages);
    agent.rotate().unwrap();
    assert!(workload.next().await.is_err());
    serves(&agent).await;
}

#[tokio::test]
async fn connections_are_dropped() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
    agent.drop_connections();
    assert!(workload.next().await.is_err());

    agent.misbehave_times(1, Misbehaviour::Silent);
    let _silent = connect(agent.socket()).await.unwrap();
    agent.drop_connections();
    let closed = |now: &crate::Activity| now.open_connections == 0;
    let mut watch = agent.watch();
    let closed = watch.wait_for(closed);
    timeout(super::LIMIT, closed).await.unwrap().unwrap();
    serves(&agent).await;
}

#[tokio::test]
async fn messages_may_be_anything() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let empty = X509svidResponse::default();
    let mut large = agent.response();
    large.crl = vec![vec![0; 10 << 20]];

    agent.misbehave(Misbehaviour::Reply(vec![empty.clone(), agent.response()]));
    let mut workload = Workload::open(&agent).await.unwrap();
    assert_eq!(workload.next().await.unwrap().unwrap(), empty);
    assert_eq!(workload.svid().await.spiffe_id, DB);

    agent.push_all([&large, &empty]);
    assert_eq!(workload.next().await.unwrap().unwrap(), large);
    assert_eq!(workload.next().await.unwrap().unwrap(), empty);
    agent.push(&agent.response());
    assert_eq!(workload.svid().await, agent.svid().to_message());
}

#[tokio::test]
async fn flaws_reach_the_workload() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;

    let flawed = Entry::new(DB)
        .with(Flaw::EmptyKey)
        .with(Flaw::EmptyBundle)
        .with(Flaw::TrailingBytes(vec![1, 2, 3]));
    agent.set_entries([flawed]).unwrap();
    let svid = workload.svid().await;
    assert!(svid.x509_svid_key.is_empty());
    assert!(svid.bundle.is_empty());
    assert!(svid.x509_svid.ends_with(&[1, 2, 3]));
}

async fn serves(agent: &DevAgent) {
    let mut workload = Workload::open(agent).await.unwrap();
    assert_eq!(workload.svid().await, agent.svid().to_message());
}
