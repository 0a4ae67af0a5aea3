//! F21 to F26: a PostgreSQL with other curves, cipher suites or protocol versions than rustls: it runs, but pgsvid cannot see
//! what it serves.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;
use test_support::{
    Account, ClusterBuilder, LIMIT, Mode, Pgsvid, Program, Psql, Setup, Signal, eventually,
};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const HBA: &str = "hostssl all localhost 127.0.0.1/32 cert";
/// What psql speaks, and the probe does not.
const CBC: &str = "ssl_max_protocol_version = 'TLSv1.2'\nssl_ciphers = 'ECDHE-ECDSA-AES256-SHA384'";

/// A server with these lines of configuration, not started yet, and a status to be asked.
fn with(lines: &str) -> Setup {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| lines.lines().fold(cluster.hba(HBA), ClusterBuilder::conf))
        .create();
    let socket = setup.other.join("status.sock");
    setup.configure(&format!("[health]\nlisten = 'unix:{}'", socket.display()));
    setup
}

/// pgsvid and PostgreSQL.
fn start(setup: &Setup) -> Pgsvid {
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    pgsvid
}

/// Status and body of `/readyz`.
fn readyz(setup: &Setup) -> String {
    let mut answer = String::new();
    let mut stream = UnixStream::connect(setup.other.join("status.sock")).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Whether psql gets in over TLS with the published certificate.
fn psql(setup: &Setup) -> bool {
    let has_role = "SELECT count(*) FROM pg_roles WHERE rolname = 'localhost'";
    if admin(setup, has_role) == "0" {
        admin(setup, "CREATE ROLE localhost LOGIN");
    }
    let psql: Psql = setup.cluster.client(setup.files.path(), "localhost", "");
    psql.script("SELECT 1").run().status.success()
}

fn admin(setup: &Setup, statement: &str) -> String {
    setup.cluster.sql("postgres", "postgres", statement)
}

/// How many handshakes PostgreSQL has told of as failed.
fn failed_handshakes(setup: &Setup) -> usize {
    setup.cluster.log().matches("could not accept SSL connection").count()
}

fn run(setup: &Setup, arguments: &[&str]) -> (Option<i32>, Value) {
    let usual = setup.arguments();
    let usual = usual.chunks(2).filter(|pair| pair[0] != "--log-format").flatten();
    let all = arguments[..1].iter().copied().chain(usual.map(String::as_str));
    let all = all.chain(["--format", "json"]).chain(arguments[1..].iter().copied());
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    let status = program.wait_exit(LIMIT);
    let text = program.standard_output();
    let report = serde_json::from_str(&text);
    (status.code(), report.unwrap_or_else(|_| panic!("{text} {}", program.standard_error())))
}

/// The findings of that code.
fn found<'a>(report: &'a Value, code: &str) -> Vec<&'a Value> {
    let sections = report["sections"].as_array().unwrap();
    let all = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    all.filter(|found| found["code"] == code).collect()
}

/// Runs a command as it is printed.
fn paste(command: &str) {
    let program = Program::spawn_as(Account::server(), "/bin/bash", ["-c", command], &[]);
    assert!(program.wait_exit(LIMIT).success(), "{command}: {}", program.standard_error());
}

#[test]
fn f21_a_key_exchange_over_p521_is_spoken() {
    let setup = with("ssl_ecdh_curve = 'secp521r1'");
    let pgsvid = start(&setup);
    pgsvid.current(1);
    assert!(psql(&setup));
    assert_eq!(failed_handshakes(&setup), 0, "{}", setup.cluster.log());
    let (status, report) = run(&setup, &["check", "--as-client", "localhost"]);
    assert_eq!(found(&report, "client-login")[0]["severity"], "ok", "{report:#}");
    assert_eq!(found(&report, "verdict-current").len(), 1, "{report:#}");
    assert_eq!(status, Some(0), "{report:#}");
}

/// OpenSSL: "wrong curve". It has looked at the authorities by then.
#[test]
fn f26_a_clients_key_on_another_curve_than_the_servers_is_no_fault_of_the_authorities() {
    for curve in ["secp384r1", "secp521r1"] {
        let setup =
            with(&format!("ssl_ecdh_curve = '{curve}'\nssl_max_protocol_version = 'TLSv1.2'"));
        let pgsvid = start(&setup);
        assert_eq!(pgsvid.current(1)["authorities_by"], "names");
        pgsvid.event("leaf-refused-as-client");
        assert!(!psql(&setup));
        let (status, report) = run(&setup, &["check", "--as-client", "localhost"]);
        assert_eq!(status, Some(1), "{report:#}");
        assert!(found(&report, "login-certificate-refused").is_empty(), "{report:#}");
        let finding = found(&report, "client-certificates-refused")[0];
        assert!(finding["text"].as_str().unwrap().contains("another curve"), "{finding:#}");

        let (_, report) = run(&setup, &["check", "--user", "postgres", "--as-client", "localhost"]);
        let fix = found(&report, "client-certificates-refused")[0]["fix"].as_str().unwrap();
        let line = fix.strip_prefix("put ").unwrap().split(" into ").next().unwrap();
        setup.cluster.set_conf(line);
        setup.cluster.sighup();
        eventually(LIMIT, "clients get in", || psql(&setup));
        let (status, report) = run(&setup, &["check", "--as-client", "localhost"]);
        assert_eq!(status, Some(0), "{report:#}");
    }
}

#[test]
fn f22_a_server_with_ciphers_that_pgsvid_lacks_is_ready_and_its_set_is_reported_as_not_proven() {
    let setup = with(CBC);
    let pgsvid = start(&setup);
    let rotated = pgsvid.rotated(1);
    assert_eq!((&rotated["verdict"], &rotated["level"]), (&"unverifiable".into(), &"INFO".into()));
    let told = pgsvid.event("handshake-refused");
    assert_eq!(told["code"], "verdict-unverifiable", "{told:#}");
    eventually(LIMIT, "ready", || readyz(&setup).starts_with("HTTP/1.1 200 "));
    assert!(readyz(&setup).contains("is not proven"), "{}", readyz(&setup));
    assert!(psql(&setup), "clients get in");

    // Each set is handed over by a reload, and looked at once.
    let (before, first) = (failed_handshakes(&setup), pgsvid.mark());
    for generation in 2..=4 {
        let mark = setup.cluster.log_mark();
        setup.agent.rotate().unwrap();
        assert_eq!(pgsvid.rotated(generation)["verdict"], "unverifiable");
        setup.cluster.wait_for_log(mark, LIMIT, "received SIGHUP");
        assert!(psql(&setup), "clients get in");
    }
    assert!(failed_handshakes(&setup) - before <= 4, "{}", setup.cluster.log());
    assert_eq!(pgsvid.events("handshake-refused").len(), 1, "it is told once");
    let retries = pgsvid.lines_after(first).into_iter().filter(|line| line.contains("retrying in"));
    assert_eq!(retries.count(), 0, "nothing is retried");

    // The daemon's role may not see which setting it is; after the command that is printed, it may.
    let (status, report) = run(&setup, &["check"]);
    let finding = found(&report, "verdict-unverifiable")[0];
    assert_eq!((status, &finding["severity"]), (Some(0), &"warning".into()), "{report:#}");
    assert!(found(&report, "verdict-unreachable").is_empty());
    // `check` may read the server's files.
    assert!(finding["cause"].as_str().unwrap().contains("ssl_ciphers"), "{finding:#}");
    paste(told["command"].as_str().unwrap());
    pgsvid.signal(Signal::HUP);
    let told = pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "handshake-refused"
            && event["cause"].as_str().unwrap().starts_with("ssl_ciphers = ")
    });

    // What it says to write makes the proof possible, and takes nothing from the clients.
    let line = told["fix"].as_str().unwrap();
    let line = line.strip_prefix("put ").unwrap().split(" into ").next().unwrap();
    setup.cluster.set_conf(line);
    setup.cluster.sighup();
    setup.agent.rotate().unwrap();
    eventually(LIMIT, "current", || {
        let _ = setup.agent.rotate();
        pgsvid.events("rotated").iter().any(|event| event["verdict"] == "current")
    });
    eventually(LIMIT, "no more said", || !readyz(&setup).contains("is not proven"));
    assert!(psql(&setup), "clients get in");
}

#[test]
fn f22_the_other_commands_do_not_say_to_start_what_runs() {
    let setup = with(CBC);
    let pgsvid = start(&setup);
    pgsvid.rotated(1);
    assert!(psql(&setup));
    let (_, report) = run(&setup, &["check", "--as-client", "localhost"]);
    let login = found(&report, "server-tls-unspoken")[0];
    assert_eq!(login["severity"], "skipped", "{login:#}");
    assert!(!report.to_string().contains(" start PostgreSQL,"), "{report:#}");
    assert!(found(&report, "login-certificate-refused").is_empty(), "{report:#}");

    let address = setup.cluster.address();
    let arguments = ["probe", &address, "--format", "json", "--bundle"];
    let bundle = setup.files.join("svid_bundle.pem").display().to_string();
    let program = Program::spawn(PGSVID, arguments.iter().copied().chain([bundle.as_str()]), &[]);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(1));
    let report: Value = serde_json::from_str(&program.standard_output()).unwrap();
    assert_eq!(
        (&report["answer"], &report["why"]),
        (&"refused".into(), &"handshake_failure".into())
    );
    let finding = found(&report, "server-tls-unspoken")[0];
    assert!(finding["cause"].as_str().unwrap().contains("secp521r1"), "{finding:#}");
}

/// Neither the certificate nor the lists are to blame, and waiting does not help.
#[test]
fn f23_a_curve_that_clients_do_not_offer_either_is_an_alarm() {
    for curve in ["secp256k1", "brainpoolP256r1", "secp224r1"] {
        let setup = with(&format!("ssl_ecdh_curve = '{curve}'"));
        let pgsvid = setup.spawn();
        setup.wait_published();
        if setup.cluster.try_start().is_err() {
            continue;
        }
        admin(&setup, "GRANT pg_read_all_settings TO pgsvid");
        assert!(!psql(&setup), "clients do not offer {curve}");
        pgsvid.signal(Signal::HUP);
        let told = pgsvid.wait_for_event(LIMIT, |event| {
            event["event"] == "not-in-force" && event["code"] == "ssl-groups-uncommon"
        });
        assert_eq!((&told["verdict"], &told["level"]), (&"unverifiable".into(), &"ERROR".into()));
        let (status, report) = run(&setup, &["check"]);
        assert_eq!(status, Some(1), "{report:#}");
        assert_eq!(found(&report, "ssl-groups-uncommon").len(), 1, "{report:#}");
        let line = told["fix"].as_str().unwrap();
        let line = line.strip_prefix("put ").unwrap().split(" into ").next().unwrap();
        setup.cluster.set_conf(line);
        setup.cluster.sighup();
        eventually(LIMIT, "clients get in", || psql(&setup));
        let (status, report) = run(&setup, &["check"]);
        assert_eq!(status, Some(0), "{report:#}");
    }
}

/// What cannot be seen by a handshake may be seen in the files: no all-clear then.
#[test]
fn f24_files_that_cannot_have_been_loaded_are_reported_without_a_handshake() {
    let setup = with(CBC);
    let pgsvid = start(&setup);
    assert_eq!(pgsvid.rotated(1)["verdict"], "unverifiable");
    setup.cluster.set_conf("ssl_key_file = '/nowhere/key.pem'");
    setup.cluster.sighup();
    setup.agent.rotate().unwrap();
    let told = pgsvid.event("not-in-force");
    let codes = told["code"].as_str().unwrap();
    assert!(codes.contains("ssl-setting-elsewhere"), "{told:#}");
    assert!(codes.contains("tls-file-missing"), "{told:#}");
    assert!(setup.cluster.log().contains("SSL configuration was not reloaded"));
    eventually(LIMIT, "it is told", || readyz(&setup).contains("is not proven"));
    assert!(!pgsvid.events("rotated").iter().any(|event| event["generation"] == 2));
}

/// Only a server that was asked to reload can have read the set.
#[test]
fn f25_a_server_that_is_down_or_was_never_asked_is_no_all_clear() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| CBC.lines().fold(cluster.hba(HBA), ClusterBuilder::conf))
        .create_bare();
    let socket = setup.other.join("status.sock");
    setup.configure(&format!("[health]\nlisten = 'unix:{}'", socket.display()));
    let pgsvid = start(&setup);
    // It answers with an alert, and takes no reload: the role is missing.
    pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "not-in-force" && event["verdict"] == "unverifiable"
    });
    assert!(readyz(&setup).starts_with("HTTP/1.1 503 "), "{}", readyz(&setup));
    assert!(pgsvid.events("rotated").is_empty());

    setup.cluster.prepare_role();
    setup.agent.rotate().unwrap();
    assert_eq!(pgsvid.event("rotated")["verdict"], "unverifiable");
    eventually(LIMIT, "ready", || readyz(&setup).starts_with("HTTP/1.1 200 "));

    setup.cluster.stop(Mode::Fast);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    let (told, _) =
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == "reload-pending");
    assert_eq!(told["verdict"], "unreachable", "{told:#}");
}
