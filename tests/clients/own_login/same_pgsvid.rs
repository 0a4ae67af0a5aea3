//! One pgsvid that reloads the server, and logs in there as a client.

use std::time::Duration;

use test_support::{LIMIT, Mark, Pgsvid, Setup, SetupBuilder};

/// Nothing runs yet.
fn builder() -> SetupBuilder {
    Setup::builder(env!("CARGO_BIN_EXE_pgsvid"))
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
}

/// Everything runs, the role of the certificate's CN exists, and the client is let in.
fn running(setup: &Setup) -> Pgsvid {
    setup.configure(&format!(
        "[postgres]\n[client.options]\nuser = 'localhost'\ndbname = 'postgres'\nhost = 'localhost'\nhostaddr = '127.0.0.1'\nport = {}\n",
        setup.cluster.port()
    ));
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE localhost LOGIN");
    pgsvid.event("client-admitted");
    pgsvid
}

#[test]
fn g17_the_client_waits_until_the_server_has_loaded_the_set() {
    let setup = builder().create();
    let pgsvid = running(&setup);
    let mark = pgsvid.mark();
    let agent = &setup.agent;
    let admitted = |generation: u64| {
        pgsvid.wait_for_event_after(mark, LIMIT, |event| {
            event["event"] == "client-admitted" && event["generation"] == generation
        });
    };
    agent.rotate().unwrap();
    admitted(2);
    agent.prepare_authority().unwrap();
    admitted(3);
    agent.activate_authority().unwrap();
    agent.rotate().unwrap();
    admitted(4);
    // Without an overlap: server and client change at the same instant.
    agent.revoke_authority().unwrap();
    admitted(5);
    let lines = pgsvid.lines_after(mark);
    assert!(!lines.iter().any(|line| line.contains("\"not-in-force\"")), "{lines:#?}");
}

#[test]
fn g16_an_expired_certificate_is_reported_with_the_reason_why_there_is_no_newer_one() {
    let setup = builder().agent(|agent| agent.ttl(Duration::from_secs(12))).create();
    let pgsvid = running(&setup);
    let (event, _) = pgsvid.wait_for_event_after(Mark::default(), LIMIT, |event| {
        event["consumer"] == "client" && event["verdict"] == "expired"
    });
    assert_eq!(event["level"], "ERROR", "{event}");
    assert_eq!(event["code"], "verdict-expired", "{event}");
    assert!(!event["fix"].is_null(), "{event}");
}
