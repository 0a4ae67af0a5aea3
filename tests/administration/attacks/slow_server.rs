//! A48, A49, A50: addresses that never answer, a server that answers everything almost too late, and one that answers with
//! endless lists of nothing.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use test_support::{Account, Directory, LIMIT, Program, Setup};
use tokio::time::Instant;

use crate::attacks::PGSVID;
use crate::setup::fake::{Fake, Rows};

/// More than anybody wants to wait for one after the other.
const SILENT: usize = 58;
/// How long one attempt may hold up everything else.
const SOON: Duration = Duration::from_secs(20);

/// Listeners that take connections, and never say a word.
fn silent_addresses(port: u16) -> (Vec<TcpListener>, String) {
    let addresses: Vec<String> =
        (2..SILENT + 2).map(|number| format!("127.0.0.{number}")).collect();
    let listeners =
        addresses.iter().map(|address| TcpListener::bind((address.as_str(), port)).unwrap());
    (listeners.collect(), addresses.join(","))
}

#[test]
fn a48_addresses_that_do_not_answer_hold_up_no_rotation_no_end_and_no_command() {
    let setup = Setup::new(PGSVID);
    let (_silent, addresses) = silent_addresses(setup.cluster.port());
    setup.cluster.set_conf(&format!("listen_addresses = '{addresses},127.0.0.1'"));
    let pgsvid = setup.start();
    let begun = Instant::now();
    for generation in 2..4 {
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let longest = pgsvid.lines().iter().map(String::len).max();
    assert!(longest < Some(1500), "{longest:?}");

    let begun = Instant::now();
    let arguments = setup.arguments();
    let arguments = arguments[..arguments.len() - 2].iter().map(String::as_str);
    let check = Program::spawn(PGSVID, ["check"].into_iter().chain(arguments.clone()), &[]);
    check.wait_exit(LIMIT);
    let said = check.standard_output();
    assert!(said.contains("serves the published certificate"), "{said}");
    let client = ["check", "--as-client", "postgres"].into_iter().chain(arguments);
    Program::spawn(PGSVID, client, &[]).wait_exit(LIMIT);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());

    // None that listens is left: the probe goes on while the end is asked for.
    setup.cluster.set_conf(&format!("listen_addresses = '{addresses}'"));
    setup.cluster.stop(test_support::Mode::Fast);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    pgsvid.event_after(mark, "identity-received");
    let begun = Instant::now();
    assert!(pgsvid.terminate(LIMIT).success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// The settings of a server that lets us see everything.
fn settings(files: &Directory, addresses: &str) -> Rows {
    let path = |name: &str| files.join(name).display().to_string();
    [
        ("ssl", "on".to_owned()),
        ("ssl_cert_file", path("svid.pem")),
        ("ssl_key_file", path("svid_key.pem")),
        ("ssl_ca_file", path("svid_bundle.pem")),
        ("listen_addresses", addresses.to_owned()),
        ("port", "1".to_owned()),
        ("server_version", "15.18".to_owned()),
        ("server_version_num", "150018".to_owned()),
        ("may_read_errors", "true".to_owned()),
        ("may_read_stats", "true".to_owned()),
    ]
    .map(|(name, value)| vec![Some(name.to_owned()), Some(value), None, None])
    .to_vec()
}

/// Starts `run` beside a server that was planted, which answers questions about its settings, and others as it likes.
fn beside(
    addresses: &str,
    delay: Duration,
    other: impl Fn(&str) -> Rows + Send + Sync + 'static,
) -> (Setup, Program, Fake) {
    let setup = Setup::new(PGSVID);
    let told = settings(&setup.files, addresses);
    let place = setup.other.subdirectory("socket");
    let fake = Fake::start_slowly(Account::server(), &place, 5432, delay, move |statement| {
        if statement.contains("('ssl_cert_file')") { told.clone() } else { other(statement) }
    });
    let host = place.display().to_string();
    let arguments = setup.arguments();
    let arguments = arguments.chunks(2).map(|pair| match pair[0].as_str() {
        "--postgres" => ["--postgres", &host],
        "--port" => ["--port", "5432"],
        _ => [pair[0].as_str(), pair[1].as_str()],
    });
    let pgsvid = Program::spawn(PGSVID, ["run"].into_iter().chain(arguments.flatten()), &[]);
    setup.wait_published();
    (setup, pgsvid, fake)
}

fn published(event: &Value) -> bool {
    event["message"].as_str().is_some_and(|message| message.starts_with("published"))
}

#[test]
fn a48_of_ten_thousand_addresses_a_few_are_tried_and_few_are_reported() {
    let addresses: Vec<String> =
        (0..10_000).map(|number| format!("127.1.{}.{}", number / 250, number % 250 + 1)).collect();
    let (setup, pgsvid, _fake) = beside(&addresses.join(","), Duration::ZERO, |_| Vec::new());
    let (event, mark) = pgsvid.wait_for_event_after(pgsvid.mark(), LIMIT, published);
    let cause = event["cause"].as_str().unwrap();
    assert!(cause.contains("of 10000 addresses 9992 were not tried"), "{event}");
    setup.agent.rotate().unwrap();
    pgsvid.wait_for_event_after(mark, LIMIT, |event| event["generation"] == 2);
    let longest = pgsvid.lines().iter().map(String::len).max();
    assert!(longest < Some(1500), "{longest:?}");
}

#[test]
fn a49_answers_that_come_just_in_time_do_not_keep_back_what_is_published_next() {
    let (setup, pgsvid, _fake) =
        beside("127.0.0.1", Duration::from_millis(4800), |_| vec![vec![Some("t".to_owned())]]);
    // It is asked by now.
    sleep(Duration::from_secs(1));
    for _ in 0..2 {
        let before = std::fs::read(setup.files.join("svid.pem")).unwrap();
        let begun = Instant::now();
        setup.agent.rotate().unwrap();
        test_support::eventually(LIMIT, "the newer set is published", || {
            std::fs::read(setup.files.join("svid.pem")).unwrap() != before
        });
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        sleep(Duration::from_secs(1));
    }
    let begun = Instant::now();
    assert!(pgsvid.terminate(LIMIT).success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a50_rows_of_nothing_cost_no_memory() {
    let idle = {
        let (_setup, pgsvid, _fake) = beside("127.0.0.1", Duration::ZERO, |_| Vec::new());
        pgsvid.wait_for_event(LIMIT, published);
        pgsvid.process().peak()
    };
    for (what, columns, rows) in
        [("wide", 2_000, 1_035), ("wider", 60_000, 25), ("long", 40, 50_000)]
    {
        let answer = move |statement: &str| {
            let lists = statement.contains("pg_file_settings WHERE error");
            if lists { vec![vec![None; columns]; rows] } else { Vec::new() }
        };
        let (_setup, pgsvid, fake) = beside("127.0.0.1", Duration::ZERO, answer);
        pgsvid.wait_for_event(LIMIT, |event| event["level"] == "ERROR");
        assert!(fake.heard().iter().any(|said| said.contains("pg_file_settings WHERE error")));
        let peak = pgsvid.process().peak();
        assert!(peak < idle + 4 * 1024, "{what}: {peak} KiB at most, {idle} KiB without");
    }
}
