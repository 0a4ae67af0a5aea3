//! Rules of the Workload API, and what changes of entries do.

use pgsvid_proto::{JwtsvidRequest, X509BundlesRequest, X509svidRequest};
use tonic::{Code, Request};

use super::client::{Workload, connect, request};
use super::{DB, LIMIT, agent, database};
use crate::Entry;

#[tokio::test]
async fn requests_without_the_security_header_are_refused() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut client = connect(agent.socket()).await.unwrap();

    let status = client.fetch_x509svid(X509svidRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "security header missing from request");

    let mut wrong = Request::new(X509svidRequest {});
    wrong.metadata_mut().insert("workload.spiffe.io", "yes".parse().unwrap());
    let status = client.fetch_x509svid(wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_begins_with_the_state_and_gets_each_renewal() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    let first = workload.svid().await;
    assert_eq!(first, agent.svid().to_message());
    assert_eq!(first.spiffe_id, DB);

    agent.rotate().unwrap();
    let second = workload.svid().await;
    assert_eq!(second, agent.svid().to_message());
    assert_ne!(second.x509_svid, first.x509_svid);
    assert_ne!(second.x509_svid_key, first.x509_svid_key);
    assert_eq!(second.bundle, first.bundle);

    agent.repeat();
    assert_eq!(workload.svid().await, second);
}

#[tokio::test]
async fn without_an_entry_no_identity_is_issued() {
    let (_directory, builder) = agent();
    let agent = builder.start().unwrap();
    let status = Workload::open(&agent).await.err().unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "no identity issued");

    agent.add_entry(Entry::new(DB)).unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
    agent.remove_entries();
    let status = workload.next().await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn several_svids_come_in_the_order_of_their_entries() {
    let (_directory, builder) = database();
    let agent = builder
        .entry(Entry::new("spiffe://example.org/a").hint("x"))
        .entry(Entry::new("spiffe://example.org/b").hint("x"))
        .start()
        .unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    let message = workload.next().await.unwrap().unwrap();
    let hints = message.svids.iter().map(|svid| svid.hint.as_str());
    assert_eq!(hints.collect::<Vec<_>>(), ["", "x", "x"]);

    agent.remove_entry(DB);
    let message = workload.next().await.unwrap().unwrap();
    assert_eq!(message.svids[0].spiffe_id, "spiffe://example.org/a");
}

#[tokio::test]
async fn bundles_have_a_stream_of_their_own() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let foreign = agent.federate("other.org").unwrap();
    let mut client = connect(agent.socket()).await.unwrap();
    let response = client.fetch_x509_bundles(request(X509BundlesRequest {}));
    let mut stream = response.await.unwrap().into_inner();

    let bundles = stream.message().await.unwrap().unwrap().bundles;
    assert_eq!(bundles["spiffe://example.org"], agent.authority().root());
    assert_eq!(bundles["spiffe://other.org"], foreign.root());

    // A renewal leaves the bundles alone, so the next message is about the removal.
    agent.rotate().unwrap();
    agent.unfederate("spiffe://other.org");
    let bundles = stream.message().await.unwrap().unwrap().bundles;
    assert_eq!(bundles.len(), 1);
}

#[tokio::test]
async fn federated_bundles_may_be_anything() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    agent.federate_raw("spiffe://example.org", b"no DER".to_vec());
    let mut workload = Workload::open(&agent).await.unwrap();
    let message = workload.next().await.unwrap().unwrap();
    assert_eq!(message.federated_bundles["spiffe://example.org"], b"no DER".to_vec());
    assert_eq!(message.svids[0].bundle, agent.authority().root());
}

#[tokio::test]
async fn tokens_name_their_audience_and_need_one_and_may_be_unimplemented() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut client = connect(agent.socket()).await.unwrap();
    let response = client.fetch_jwtsvid(request(JwtsvidRequest::default()));
    assert_eq!(response.await.unwrap_err().code(), Code::InvalidArgument);
    let audience = vec!["a".to_owned(), "b".to_owned()];
    let wanted = JwtsvidRequest { audience, spiffe_id: agent.svid().spiffe_id };
    let response = client.fetch_jwtsvid(request(wanted.clone())).await.unwrap().into_inner();
    assert_eq!((response.svids.len(), &response.svids[0].spiffe_id), (1, &wanted.spiffe_id));
    let other = JwtsvidRequest { spiffe_id: "spiffe://example.org/other".to_owned(), ..wanted };
    let response = client.fetch_jwtsvid(request(other));
    assert_eq!(response.await.unwrap_err().code(), Code::PermissionDenied);

    let (_directory, builder) = database();
    let agent = builder.jwt(false).start().unwrap();
    let mut client = connect(agent.socket()).await.unwrap();
    let response = client.fetch_jwtsvid(request(JwtsvidRequest::default()));
    assert_eq!(response.await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn activity_counts_what_is_open() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut watch = agent.watch();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
    let activity = agent.activity();
    assert_eq!(activity.connections, 1);
    assert_eq!(activity.requests, 1);
    assert_eq!(activity.open_streams, 1);
    assert_eq!(activity.messages, 1);
    assert_eq!(activity.issued, 1);

    drop(workload);
    let closed = watch.wait_for(|now| now.open_streams == 0 && now.open_connections == 0);
    tokio::time::timeout(LIMIT, closed).await.unwrap().unwrap();
}
