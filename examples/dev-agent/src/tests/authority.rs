//! An operator changes the authority.

use super::client::Workload;
use super::{DB, database};
use crate::{Entry, Error};

#[tokio::test]
async fn a_change_of_root_goes_through_the_bundle() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let old = agent.authority().root().to_vec();
    let mut workload = Workload::open(&agent).await.unwrap();
    let first = workload.svid().await;
    assert_eq!(first.bundle, old);
    assert!(matches!(agent.activate_authority(), Err(Error::NothingPrepared)));

    agent.prepare_authority().unwrap();
    let prepared = workload.svid().await;
    assert_eq!(prepared.x509_svid, first.x509_svid);
    assert!(prepared.bundle.starts_with(&old));
    assert!(prepared.bundle.len() > old.len());

    agent.activate_authority().unwrap();
    assert!(workload.is_silent().await);
    let new = agent.authority().root().to_vec();
    assert_eq!(prepared.bundle, [old.clone(), new.clone()].concat());

    agent.taint_authority().unwrap();
    assert_eq!(workload.svid().await, prepared);
    let tainted = workload.svid().await;
    assert_ne!(tainted.x509_svid, first.x509_svid);
    assert_eq!(tainted.bundle, prepared.bundle);

    agent.revoke_authority().unwrap();
    let revoked = workload.svid().await;
    assert_eq!(revoked.x509_svid, tainted.x509_svid);
    assert_eq!(revoked.bundle, new);
    let last = workload.svid().await;
    assert_ne!(last.x509_svid, tainted.x509_svid);
    assert_eq!(last.bundle, new);
}

#[tokio::test]
async fn a_change_of_intermediate_leaves_the_bundle_alone() {
    let (_directory, builder) = database();
    let agent = builder.intermediate(true).start().unwrap();
    let root = agent.authority().root().to_vec();
    let intermediate = agent.authority().intermediate().unwrap().to_vec();
    let mut workload = Workload::open(&agent).await.unwrap();
    let first = workload.svid().await;
    assert!(first.x509_svid.ends_with(&intermediate));
    assert_eq!(first.bundle, root);

    agent.prepare_authority().unwrap();
    agent.activate_authority().unwrap();
    assert!(workload.is_silent().await);
    agent.rotate().unwrap();
    let second = workload.svid().await;
    assert!(!second.x509_svid.ends_with(&intermediate));
    assert_eq!(second.bundle, root);
    agent.revoke_authority().unwrap();
    assert!(workload.is_silent().await);

    agent.prepare_root().unwrap();
    assert!(workload.svid().await.bundle.len() > root.len());
}

#[tokio::test]
async fn an_svid_issued_by_the_way_is_not_sent() {
    let (_directory, builder) = database();
    let agent = builder.start().unwrap();
    let mut workload = Workload::open(&agent).await.unwrap();
    workload.svid().await;
    agent.prepare_authority().unwrap();
    let prepared = workload.svid().await;
    let client = agent.issue(&Entry::new(DB)).unwrap();
    assert_eq!(client.to_message().bundle, prepared.bundle);
    assert!(workload.is_silent().await);
}
