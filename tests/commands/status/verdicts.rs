//! Each verdict, produced with a real PostgreSQL and seen in every place.

use std::time::Duration;

use dev_agent::{Authority, Entry, Flaw};
use test_support::{Mode, Setup, Signal};

use super::PGSVID;
use super::asked::{Asked, serve_published, serving};
use super::browser::Browser;

#[test]
fn each_verdict_is_seen_in_every_place() {
    let setup = Setup::new(PGSVID);
    let mut browser = Browser::start();
    let status = Asked::for_a_browser(&setup, "");
    let pgsvid = setup.spawn();
    setup.wait_published();
    // Nobody has answered yet, and so nothing is proven.
    status.says("unreachable", false, &mut browser);
    setup.cluster.start();
    pgsvid.current(1);
    status.says("current", true, &mut browser);

    let stranger = Entry::new("spiffe://example.org/pooler").dns("localhost");
    let own = Entry::new(Setup::SPIFFE_ID).dns("localhost");
    let expired = own.clone().with(Flaw::Expired(Duration::from_secs(3600)));
    for (verdict, conf) in [
        ("plaintext", "ssl = off".to_owned()),
        ("foreign", serving(&setup, &setup.agent.issue(&stranger).unwrap())),
        ("expired", serving(&setup, &setup.agent.issue(&expired).unwrap())),
        ("still-old", serving(&setup, &setup.agent.issue(&own).unwrap())),
    ] {
        setup.cluster.set_conf(&conf);
        pgsvid.signal(Signal::HUP);
        status.says(verdict, false, &mut browser);
        serve_published(&setup, &pgsvid);
        status.says("current", true, &mut browser);
    }

    let other = Authority::new("example.org", false).unwrap().root_pem();
    let bundle = setup.agent.authority().root_pem() + &other;
    let file = setup.other.write("ca.pem", bundle, 0o644);
    setup.cluster.set_conf(&format!("ssl_ca_file = '{}'", file.display()));
    pgsvid.signal(Signal::HUP);
    let view = status.says("old-authorities", true, &mut browser);
    assert!(!view["degraded"].as_array().unwrap().is_empty(), "{view}");
    assert!(view["consumers"][0]["retry"].is_string(), "{view}");
    serve_published(&setup, &pgsvid);
    status.says("current", true, &mut browser);

    // A server that is away stays in service, as far as we are concerned.
    setup.cluster.stop(Mode::Fast);
    pgsvid.signal(Signal::HUP);
    let view = status.says("unreachable", true, &mut browser);
    assert_eq!(view["consumers"][0]["reload_pending"], true, "{view}");
    assert!(status.metrics().contains("\npgsvid_reload_pending{consumer=\"postgres\"} 1\n"));
}

#[test]
fn what_cannot_be_verified_is_ready() {
    let setup = Setup::new(PGSVID);
    let mut browser = Browser::start();
    let status = Asked::for_a_browser(&setup, "[postgres]\nverify = 'none'\n");
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    pgsvid.rotated(1);
    status.says("unverifiable", true, &mut browser);
}
