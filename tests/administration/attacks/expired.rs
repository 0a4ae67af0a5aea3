//! A65: an agent sends a certificate after the leaf that has expired, or leads nowhere, and that no path needs.

use std::time::Duration;

use dev_agent::{Authority, Stop};
use pgsvid::timing;
use test_support::{LIMIT, Setup, Signal};

use crate::attacks::PGSVID;

#[test]
fn a65_a_certificate_that_has_expired_and_that_no_path_needs_is_no_end_of_the_identity() {
    let setup = Setup::builder(PGSVID)
        .agent(|agent| agent.intermediate(true))
        .cluster(|cluster| cluster.hba("hostssl postgres localhost 127.0.0.1/32 cert"))
        .create();
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE localhost LOGIN");
    let ours = setup.agent.authority();
    let yesterday = timing::now() - Duration::from_secs(24 * 3600);
    let stray = Authority::new("other.org", false).unwrap();
    let svid = setup.agent.svid();
    // Before the one that is needed, of its name and its key; and one that has nothing to do with anything.
    let mut message = setup.agent.response();
    message.svids[0].x509_svid = [
        svid.leaf(),
        &ours.vouch_for(&ours, yesterday).unwrap(),
        &stray.vouch_for(&stray, yesterday).unwrap(),
        &svid.chain[1],
    ]
    .concat();
    setup.agent.push(&message);
    let event = pgsvid.current(2);
    let end = timing::utc(svid.not_after);
    assert_eq!(
        (&event["not_after"], &event["authorities_by"]),
        (&end.clone().into(), &"key".into())
    );
    // Server and client pass over what has expired, each of them.
    let client = setup.cluster.client(setup.files.path(), "localhost", "").script("SELECT 1").run();
    assert!(client.status.success(), "{}", client.stderr);
    assert!(pgsvid.events("certificate-expires").is_empty());

    // One that is valid and leads to no root would be taken by OpenSSL, if it came first.
    message.svids[0].x509_svid =
        [svid.leaf(), &stray.vouch_for(&ours, svid.not_after).unwrap(), &svid.chain[1]].concat();
    setup.agent.push(&message);
    assert_eq!(pgsvid.current(3)["authorities_by"], "key");
    let client = setup.cluster.client(setup.files.path(), "localhost", "").script("SELECT 1").run();
    assert!(client.status.success(), "{}", client.stderr);

    // The set of an earlier run is judged alike.
    setup.agent.stop(Stop::Kill);
    pgsvid.signal(Signal::KILL);
    pgsvid.wait_exit(LIMIT);
    let pgsvid = setup.spawn();
    assert_eq!(pgsvid.event("set-adopted")["not_after"], end);
}
