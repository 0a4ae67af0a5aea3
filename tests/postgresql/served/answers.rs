//! Instances that answer otherwise than the one next to them.

use std::io::copy;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use dev_agent::{Authority, Entry};
use serde_json::Value;
use test_support::{FileOver, LIMIT, Setup, free_address, with_mounts};

use super::{
    FIRST, NAME, PGSVID, SECOND, Two, configure, everywhere, hosts, instance, status, told,
    verdicts,
};

#[test]
fn y04_an_instance_that_never_answers_delays_no_set_and_hides_no_other_instance() {
    with_mounts(|| {
        let _hosts = FileOver::over("/etc/hosts", &hosts(&[FIRST, SECOND]));
        let setup = Setup::new(PGSVID);
        let silent = TcpListener::bind((SECOND, setup.cluster.port())).unwrap();
        let port = setup.cluster.port();
        configure(&setup, &format!("{NAME}:{port}"), "within = '2s'");
        let pgsvid = setup.start();
        for generation in 2..5 {
            setup.agent.rotate().unwrap();
            pgsvid.current(generation);
        }
        let mark = test_support::Mark::default();
        let (late, _) = told(&pgsvid, mark, "unproven", "unreachable", "verdict-unreachable");
        assert_eq!(late["level"], "WARN", "{late}");
        let (_, served) = status(&setup);
        let wanted = [(FIRST, "current"), (SECOND, "unreachable")];
        let wanted = wanted.map(|(host, it)| (format!("{host}:{port}"), it.to_owned()));
        assert_eq!(verdicts(&served), wanted);
        drop(silent);
    });
}

#[test]
fn y05_y06_a_foreign_certificate_and_tls_that_is_off_are_distinguished() {
    with_mounts(|| {
        let two = Two::start(&[FIRST, SECOND], "within = '1s'\nevery = '1s'");
        everywhere(&two.pgsvid, 1);
        let second = two.address(SECOND);
        let stranger = Authority::new("example.org", false).unwrap();
        let entry = Entry::new("spiffe://example.org/other").dns(NAME);
        let svid = stranger.issue(&entry).unwrap();
        for (name, text) in [("s.pem", svid.chain_pem()), ("s_key.pem", svid.key_pem())] {
            two.second.write_file(name, &text);
        }
        let mark = two.pgsvid.mark();
        two.second.set_conf("ssl_cert_file = 's.pem'\nssl_key_file = 's_key.pem'");
        two.second.reload();
        let (foreign, mark) = told(&two.pgsvid, mark, "not-in-force", "foreign", "verdict-foreign");
        assert!(foreign["message"].as_str().unwrap().contains(&second), "{foreign}");
        two.second.set_conf("ssl = off");
        two.second.reload();
        told(&two.pgsvid, mark, "not-in-force", "plaintext", "verdict-plaintext");
    });
}

/// Forwards each connection to one of these servers, in an order without a period.
fn balance(listener: TcpListener, servers: [String; 2]) {
    thread::spawn(move || {
        for (count, client) in listener.incoming().enumerate() {
            let Ok(client) = client else { return };
            let server = &servers[usize::from(count.count_ones() % 2 == 1)];
            let Ok(server) = TcpStream::connect(server) else { continue };
            let both = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
            let Some((mut from, mut to)) = both() else { continue };
            thread::spawn(move || copy(&mut from, &mut to));
            let (mut from, mut to) = (server, client);
            thread::spawn(move || copy(&mut from, &mut to));
        }
    });
}

#[test]
fn y16_a_server_that_stays_old_behind_an_address_of_several_is_a_problem_until_it_is_reloaded() {
    with_mounts(|| {
        let two = Two::start(&["127.0.0.3"], "within = '3s'\nevery = '1s'");
        let listener = TcpListener::bind(two.address("127.0.0.3")).unwrap();
        balance(listener, [FIRST, SECOND].map(|host| two.address(host)));
        everywhere(&two.pgsvid, 1);
        let mark = two.rotate(2);
        let (late, _) = two.pgsvid.wait_for_event_after(mark, LIMIT, |event| {
            let code = event["code"].as_str().unwrap_or_default();
            event["event"] == "not-in-force" && code.contains("served-mixed")
        });
        assert!(late["code"].as_str().unwrap().contains("verdict-still-old"), "{late}");
        let (whole, served) = status(&two.setup);
        assert!(whole["ready"] == true && !whole["degraded"][0].is_null(), "{whole}");
        assert_eq!(verdicts(&served), [(two.address("127.0.0.3"), "still-old".to_owned())]);
        two.second.reload();
        let mark = two.pgsvid.mark();
        two.pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == "served-everywhere");
        assert!(status(&two.setup).0["degraded"][0].is_null());
    });
}

#[test]
fn y08_an_address_of_ipv6_is_looked_at_and_examined() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.conf("listen_addresses = '127.0.0.1,::1'"))
        .create();
    let address = format!("[::1]:{}", setup.cluster.port());
    configure(&setup, &address, "");
    let pgsvid = setup.start();
    everywhere(&pgsvid, 1);
    instance(&pgsvid, test_support::Mark::default(), &address);
    assert_eq!(verdicts(&status(&setup).1), [(address.clone(), "current".to_owned())]);
    let arguments = setup.arguments();
    let is_used = |pair: &&[String]| !pair[0].starts_with("--log");
    let checked = Command::new(PGSVID)
        .args(["check", "--format", "json"])
        .args(arguments.chunks(2).filter(is_used).flatten())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let served = sections.iter().find(|it| it["group"] == "served").unwrap();
    let found = &served["findings"][0];
    assert_eq!((&found["code"], &found["severity"]), (&"verdict-current".into(), &"ok".into()));
}

/// OpenSSL's server confirms the protocol's name, as PostgreSQL 17 does.
#[test]
fn y09_tls_without_postgresqls_request_before_it() {
    let setup = Setup::new(PGSVID);
    let address = free_address();
    configure(&setup, &address.to_string(), "starttls = false\nevery = '1s'\nwithin = '1s'");
    let pgsvid = setup.start();
    let files = setup.files.path();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-alpn", "postgresql", "-accept", &address.to_string()])
        .arg("-cert")
        .arg(files.join("svid.pem"))
        .arg("-key")
        .arg(files.join("svid_key.pem"))
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    everywhere(&pgsvid, 1);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    told(&pgsvid, mark, "not-in-force", "still-old", "verdict-still-old");
    server.kill().unwrap();
    server.wait().unwrap();
}
