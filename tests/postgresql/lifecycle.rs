//! Starts and stops: of the agent, of PostgreSQL, and of pgsvid itself.

use std::fs;
use std::time::Duration;

use dev_agent::Stop;
use test_support::{LIMIT, Mark, Mode, Pgsvid, Program, Setup, Signal, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

#[test]
fn w01_an_agent_that_comes_late_is_waited_for() {
    let setup = Setup::new(PGSVID);
    setup.agent.stop(Stop::Terminate);
    let pgsvid = setup.spawn();
    let said = pgsvid.event("agent-disconnected");
    let socket = setup.agent.socket().display().to_string();
    assert!(said["error"].as_str().unwrap().contains(&socket), "{said}");
    assert!(pgsvid.is_running());
    assert!(!setup.files.join("svid.pem").exists());
    setup.agent.restart().unwrap();
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);
    assert_eq!(pgsvid.events("agent-connected").len(), 1);
}

#[test]
fn w01_fetch_gives_up_at_its_time_limit() {
    let setup = Setup::new(PGSVID);
    setup.agent.stop(Stop::Terminate);
    let mut arguments = vec!["fetch".to_owned()];
    arguments.extend(setup.arguments());
    arguments.extend(["--timeout".to_owned(), "1s".to_owned()]);
    let fetch = Program::spawn(PGSVID, arguments, &[]);
    assert_eq!(fetch.wait_exit(LIMIT).code(), Some(1));
    let socket = setup.agent.socket().display().to_string();
    let said = fetch.standard_error();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("pgsvid: ") && last.contains(&socket), "{said}");
}

#[test]
fn p01_a_server_that_is_not_there_yet_is_no_fault() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.spawn();
    pgsvid.event("reload-pending");
    // Everything that its start needs is there, and later generations replace what nobody has taken.
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    pgsvid.event_after(mark, "identity-received");
    let newest = setup.agent.svid().chain_pem();
    eventually(LIMIT, "the newest SVID is published", || published(&setup) == newest);
    setup.cluster.start();
    pgsvid.current(2);
    assert!(pgsvid.events("rotated").iter().all(|event| event["generation"] == 2));
    assert_no_alarm(&pgsvid);
}

#[test]
fn p16_a_start_between_swap_and_reload_completes_the_rotation() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    setup.cluster.stop(Mode::Fast);
    // From now on nobody may ask for a reload: only the probe can tell.
    setup.cluster.set_hba("local all pgsvid reject");
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    // Not what is said of the first one, now that its server is gone.
    pgsvid.wait_for_event_after(mark, LIMIT, |event| event["generation"] == 2);
    let log = setup.cluster.log_mark();
    setup.cluster.start();
    let event = pgsvid.current(2);
    assert!(event.get("reload_ms").is_none(), "{event}");
    // Refused, or asked while PostgreSQL was still starting.
    let why = event["without_reload"].as_str().unwrap();
    assert!(why.contains("28000") || why.contains("57P03"), "{event}");
    assert!(!setup.cluster.log_since(log).contains("received SIGHUP"));
}

#[test]
fn an_existing_set_counts_at_once_without_an_agent() {
    let setup = Setup::new(PGSVID);
    let first = setup.start();
    assert!(first.terminate(LIMIT).success());
    let before = fs::read_link(setup.files.join("..data")).unwrap();
    setup.agent.stop(Stop::Terminate);

    let second = setup.spawn();
    second.event("set-adopted");
    let event = second.current(0);
    assert_eq!(event["serial"], first.rotated(1)["serial"]);
    second.event("agent-disconnected");
    assert_eq!(fs::read_link(setup.files.join("..data")).unwrap(), before);

    setup.agent.restart().unwrap();
    second.current(1);
    assert_eq!(published(&setup), setup.agent.svid().chain_pem());
}

#[test]
fn w16_an_existing_set_that_the_agent_still_hands_out_is_kept() {
    let setup = Setup::new(PGSVID);
    assert!(setup.start().terminate(LIMIT).success());
    let before = fs::read_link(setup.files.join("..data")).unwrap();

    let second = setup.spawn();
    second.current(0);
    second.event("identity-received");
    setup.agent.wait_until(LIMIT, |activity| activity.messages >= 2).unwrap();
    assert_eq!(fs::read_link(setup.files.join("..data")).unwrap(), before);
    // The next one is the first publication of this run.
    setup.agent.rotate().unwrap();
    let event = second.current(1);
    assert!(setup.agent.svid().serial_hex().starts_with(&serial(&event)), "{event}");
}

#[test]
fn x01_sigterm_ends_it_at_every_step() {
    type Reach = fn(&Setup) -> Pgsvid;
    let steps: [(&str, Reach); 4] = [
        ("waiting for the agent", |setup| {
            setup.agent.stop(Stop::Terminate);
            let pgsvid = setup.spawn();
            pgsvid.event("agent-disconnected");
            pgsvid
        }),
        ("waiting for PostgreSQL", |setup| {
            let pgsvid = setup.spawn();
            pgsvid.event("reload-pending");
            pgsvid
        }),
        ("with nothing to do", Setup::start),
        ("in the midst of a reload that nobody answers", |setup| {
            let pgsvid = setup.start();
            hang_in_reload(setup);
            pgsvid
        }),
    ];
    for (step, reach) in steps {
        let setup = Setup::new(PGSVID);
        let pgsvid = reach(&setup);
        let status = pgsvid.terminate(LIMIT);
        assert!(status.success(), "{step}: {status}");
        assert_eq!(pgsvid.events("ending").len(), 1, "{step}");
        assert_no_alarm(&pgsvid);
    }
}

#[test]
fn x01_sigterm_in_a_storm_of_rotations_leaves_a_set_that_postgresql_starts_from() {
    let setup = Setup::new(PGSVID);
    setup.start().terminate(LIMIT);
    for round in 0..5 {
        let pgsvid = setup.spawn();
        setup.agent.storm(400, Duration::from_millis(10));
        // At another point of its work each time, which the noise of the machine spreads further.
        let mut mark = Mark::default();
        for _ in 0..=round {
            mark = pgsvid.event_after(mark, "identity-received").1;
        }
        let status = pgsvid.terminate(LIMIT);
        assert!(status.success(), "{status}");
        assert_no_alarm(&pgsvid);
        setup.cluster.restart();
    }
}

#[test]
fn x02_a_second_signal_ends_it_at_once() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    hang_in_reload(&setup);
    pgsvid.signal(Signal::TERM);
    pgsvid.event("ending");
    pgsvid.signal(Signal::INT);
    assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1));
    let said = pgsvid.standard_error();
    assert!(said.contains("ended at once: a second signal came"), "{said}");
    // The swap was done by then.
    assert_eq!(published(&setup), setup.agent.svid().chain_pem());
}

/// A rotation whose files are in place, and whose reload waits for a postmaster that was stopped.
fn hang_in_reload(setup: &Setup) {
    setup.cluster.signal(Signal::STOP);
    setup.agent.rotate().unwrap();
    let newest = setup.agent.svid().chain_pem();
    eventually(LIMIT, "the newest SVID is published", || published(setup) == newest);
}

fn published(setup: &Setup) -> String {
    fs::read_to_string(setup.files.join("svid.pem")).unwrap_or_default()
}

/// The beginning of the serial number that an event names.
fn serial(event: &serde_json::Value) -> String {
    event["serial"].as_str().unwrap().replace(':', "")
}

#[track_caller]
fn assert_no_alarm(pgsvid: &Pgsvid) {
    let lines = pgsvid.lines();
    assert!(!lines.iter().any(|line| line.contains("\"level\":\"ERROR\"")), "{lines:#?}");
}
