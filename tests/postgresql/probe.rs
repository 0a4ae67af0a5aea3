//! `pgsvid probe`: real servers, and other programs that listen on a port.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use dev_agent::{Authority, Entry, Flaw, Svid};
use serde_json::Value;
use test_support::{Cluster, Directory, LIMIT, Program, Setup, Signal, free_address, openssl};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const ID: &str = Setup::SPIFFE_ID;

#[test]
fn a_server_is_shown_and_judged_without_a_trace_in_its_log() {
    let setup = Setup::builder(PGSVID).agent(|agent| agent.intermediate(true)).create();
    let pgsvid = setup.start();
    let address = setup.cluster.address();
    let mark = setup.cluster.log_mark();
    let bundle = setup.files.join("svid_bundle.pem").display().to_string();
    let (status, text) = run(&[&address, "--bundle", &bundle, "--host-name", "localhost"], &[]);
    assert_eq!(status, 0, "{text}");
    let svid = setup.agent.svid();
    let serial: Vec<String> = svid.serial.iter().map(|byte| format!("{byte:02x}")).collect();
    for wanted in [
        format!("{address}  TLS 1.3  TLS_"),
        format!("  leaf       {ID}\n             DNS localhost    CN localhost\n"),
        format!("serial     {}", serial.join(":")),
        "EC P-256    signed with ECDSA with SHA-256".to_owned(),
        "chain      1 intermediate\n".to_owned(),
        "clients    certificate requested, from\n             C=US, O=SPIFFE, serialNumber="
            .to_owned(),
        format!("ok       the leaf chains to {bundle}"),
        "ok       sslmode=verify-full accepts it for localhost".to_owned(),
        "0 failures, 0 warnings, 3 ok, 0 skipped".to_owned(),
    ] {
        assert!(text.contains(&wanted), "{wanted:?} is missing: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100 || line.contains(&bundle)),
        "{text}"
    );

    let (status, json) = run(&[&address, "--bundle", &bundle, "--format", "json"], &[]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status, 0, "{json}");
    assert_eq!((&json["answer"], &json["protocol"]), (&"served".into(), &"TLS 1.3".into()));
    let roles: Vec<&Value> =
        json["chain"].as_array().unwrap().iter().map(|certificate| &certificate["role"]).collect();
    assert_eq!(roles, ["leaf", "intermediate"]);
    let root = pgsvid::material::Certificate::parse(&svid.bundle[0]).unwrap();
    let names = json["client_certificates"]["authorities"].as_array().unwrap();
    assert_eq!(names, &[Value::from(root.subject_text())]);

    // What the server logs next comes right after: it had nothing to say of the probes.
    setup.cluster.sql("postgres", "postgres", "DO $$ BEGIN RAISE LOG 'the next line'; END $$");
    setup.cluster.wait_for_log(mark, LIMIT, "the next line");
    let log = setup.cluster.log_since(mark);
    let first = log.lines().find(|line| !line.trim().is_empty()).unwrap();
    assert!(first.contains("the next line"), "{log}");
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn the_configuration_says_where_to_look_and_what_to_judge_by() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let (socket, files) = (setup.cluster.socket_directory(), setup.files.path());
    let port = setup.cluster.port().to_string();
    let variables = [
        ("PGSVID_POSTGRES", socket.to_str().unwrap()),
        ("PGPORT", &port),
        ("PGSVID_DIRECTORY", files.to_str().unwrap()),
    ];
    let (status, text) = run(&[], &variables);
    assert!(
        status == 0 && text.contains(ID) && text.contains("ok       the leaf chains to"),
        "{text}"
    );

    // Without SQL the loopback is looked at, and that is said.
    let stranger = [&variables[..], &[("PGSVID_USER", "nobody-there")]].concat();
    let (status, text) = run(&[], &stranger);
    assert!(status == 0 && text.contains("skipped  where PostgreSQL listens"), "{text}");
    let nowhere = [&variables[..], &[("PGSVID_VERIFY", "none")]].concat();
    assert_eq!(run(&[], &nowhere).0, 2);
    let elsewhere = [&variables[..], &[("PGSVID_VERIFY", "127.0.0.1:1")]].concat();
    assert_eq!(run(&[], &elsewhere).0, 1);
    // Nothing published is nothing to judge by.
    let empty = Directory::new();
    let unpublished = [("PGSVID_DIRECTORY", empty.path().to_str().unwrap())];
    let (status, text) = run(&[&setup.cluster.address()], &unpublished);
    assert!(status == 0 && text.contains("skipped  whether an authority has signed"), "{text}");
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn each_fault_of_what_is_served_has_its_sentence() {
    let authority = Authority::new("example.org", false).unwrap();
    let stranger = Authority::new("example.org", false).unwrap();
    let entry = Entry::new(ID).dns("db.example");
    let files = Directory::new();
    publish(&files, &authority.issue(&entry).unwrap());
    let cluster = Cluster::builder().tls_files(files.path()).start();
    let address = cluster.address();
    let own = files.write("own", authority.root_pem(), 0o644).display().to_string();
    let foreign = files.write("foreign", stranger.root_pem(), 0o644).display().to_string();
    for (arguments, status, wanted) in [
        (&["--bundle", &own][..], 0, "the leaf chains to"),
        (&["--bundle", &foreign], 1, "the leaf does not chain to"),
        (
            &["--bundle", &foreign, "--host-name", "x"],
            1,
            "verify-full does not accept it for x: it has db.example",
        ),
        (&[], 0, "whether an authority has signed the leaf: no bundle is given"),
    ] {
        let (found, text) = run(&[&[address.as_str()], arguments].concat(), &[]);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(wanted), "{wanted:?} is missing: {text}");
        assert_eq!(found, status, "{text}");
    }
    for arguments in [
        &["--bundle", "/nowhere"][..],
        &["--bundle", &shown(&files, "svid_key.pem")],
        &["--bundle", "/dev/null"],
    ] {
        assert_eq!(run(&[&[address.as_str()], arguments].concat(), &[]).0, 2, "{arguments:?}");
    }

    let served = |svid: &Svid| {
        publish(&files, svid);
        cluster.sighup();
        test_support::eventually(LIMIT, "the new certificate is served", || {
            run(&[&address], &[]).1.contains(
                &svid.serial[..3].iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"),
            )
        });
        run(&[&address, "--bundle", &own], &[])
    };
    let (status, text) = served(
        &authority.issue(&entry.clone().with(Flaw::Expired(Duration::from_secs(60)))).unwrap(),
    );
    assert!(
        status == 1
            && text.contains("failure  the leaf expired at")
            && text.contains("skipped  whether the leaf chains"),
        "{text}"
    );
    let (status, text) =
        served(&authority.issue(&entry.with(Flaw::NotYetValid(Duration::from_secs(600)))).unwrap());
    assert!(status == 1 && text.contains("failure  the leaf is valid only from"), "{text}");
}

/// An attacker without the authority's key chooses an algorithm that pgsvid does not know.
#[test]
fn b54_a_server_with_a_forged_certificate_is_never_ok() {
    let files = Directory::new();
    let [ca_key, ca, key] = ["ca.key", "ca.pem", "svid_key.pem"].map(|name| shown(&files, name));
    let new = ["-newkey", "rsa:2048", "-nodes"];
    let root = ["req", "-x509", "-subj", "/CN=Corporate CA", "-keyout", &ca_key, "-out", &ca];
    openssl(&[&root[..], &new].concat(), "");
    let extension = "subjectAltName = DNS:localhost";
    let request = ["req", "-new", "-subj", "/CN=localhost", "-addext", extension, "-keyout", &key];
    let request = openssl(&[&request[..], &new].concat(), "");
    let by = ["x509", "-req", "-copy_extensions", "copy", "-CA", &ca, "-CAkey", &ca_key];
    let mut leaf = openssl(&[&by[..], &["-sha224", "-outform", "DER"]].concat(), request);
    let last = leaf.len() - 1;
    leaf[last] ^= 1;
    files.write("svid.pem", openssl(&["x509", "-inform", "DER"], leaf), 0o644);
    files.write("svid_bundle.pem", openssl(&["x509", "-in", &ca], ""), 0o644);
    files.write("svid_key.pem", openssl(&["pkey", "-in", &key], ""), 0o600);
    let cluster = Cluster::builder().tls_files(files.path()).start();
    let address = cluster.address();
    let arguments = [&address, "--bundle", &ca, "--host-name", "localhost", "--format", "json"];
    let (status, json) = run(&arguments, &[]);
    assert_eq!(status, 1, "{json}");
    let json: Value = serde_json::from_str(&json).unwrap();
    let findings = json["sections"][0]["findings"].as_array().unwrap();
    assert!(!findings.iter().any(|found| found["code"] == "served-certificate-chain"), "{json}");
    let found = findings.iter().find(|found| found["code"] == "signature-unchecked").unwrap();
    let command = found["fix"].as_str().unwrap();
    let asked = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(!asked.status.success() && said.contains("verify"), "{asked:?}");
}

#[test]
fn a_server_that_asks_for_no_certificate_or_has_no_tls() {
    let svid =
        Authority::new("example.org", false).unwrap().issue(&Entry::new(ID).dns("db")).unwrap();
    let files = Directory::new();
    publish(&files, &svid);
    let without = Cluster::builder().tls_files(files.path()).conf("ssl_ca_file = ''").start();
    let (status, text) = run(&[&without.address()], &[]);
    assert!(status == 0 && text.contains("clients    no certificate requested"), "{text}");
    assert!(text.contains("warning  the server does not ask for a client certificate"), "{text}");
    let plain = Cluster::builder().start();
    let (status, text) = run(&[&plain.address()], &[]);
    assert!(status == 1 && text.contains("PostgreSQL has TLS turned off"), "{text}");
    let (_, json) = run(&[&plain.address(), "--format=json"], &[]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["answer"], "plaintext");
}

#[test]
fn names_are_judged_as_libpq_judges_them() {
    let authority = Authority::new("example.org", false).unwrap();
    let files = Directory::new();
    publish(
        &files,
        &authority.issue(&Entry::new(ID).dns("db.example").dns("*.wild.example")).unwrap(),
    );
    let cluster = Cluster::builder().tls_files(files.path()).start();
    for host in [
        "db.example",
        "DB.EXAMPLE",
        "a.wild.example",
        "a.b.wild.example",
        "wild.example",
        "other",
        "127.0.0.1",
    ] {
        let (status, text) = run(&[&cluster.address(), "--host-name", host], &[]);
        let output = cluster
            .psql()
            .arg(format!(
                "host={host} hostaddr=127.0.0.1 sslmode=verify-full user=x dbname=postgres"
            ))
            .env("PGSSLROOTCERT", files.join("svid_bundle.pem"))
            .run();
        // No line of pg_hba.conf admits it, but that is said only after the certificate was taken.
        let taken = output.stderr.contains("no pg_hba.conf entry");
        assert!(taken || output.stderr.contains("does not match host name"), "{}", output.stderr);
        assert_eq!(status == 0, taken, "{host}: {text}{}", output.stderr);
    }
}

#[test]
fn every_other_listener_has_its_sentence() {
    let closed = free_address();
    let (status, text) = run(&[&closed.to_string()], &[]);
    assert!(status == 1 && text.contains("nobody listens there"), "{text}");
    for (answer, wanted) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "the server there is not PostgreSQL"),
        (b"E\x00\x00\x00\x20SFATAL\x00", "the server answered with an error instead of S or N"),
        (b"", "the server ended the connection"),
        (b"S", "the server ended the connection"),
        (b"Sgarbage that is no TLS", ""),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 8]).unwrap();
            stream.write_all(answer).unwrap();
            // Whatever comes is not answered.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let (status, text) = run(&[&address], &[]);
        assert!(
            status == 1 && text.contains("failure  ") && text.contains(wanted),
            "{wanted}: {text}"
        );
        assert!(!text.contains("FATAL"), "foreign text: {text}");
        server.join().unwrap();
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (status, text) = run(&[&silent.local_addr().unwrap().to_string()], &[]);
    assert!(status == 1 && text.contains("no answer within 5s"), "{text}");
    for arguments in [
        &["/run/postgresql"][..],
        &["host:0"],
        &["a b"],
        &["--watch=0s", "db"],
        &["a", "b"],
        &["--host-name=", "db"],
    ] {
        assert_eq!(run(arguments, &[]).0, 2, "{arguments:?}");
    }
}

#[test]
fn each_change_is_one_line_until_interrupted() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let address = setup.cluster.address();
    let watching = Program::spawn(PGSVID, ["probe", &address, "--watch=100ms"], &[]);
    let serial = || {
        let svid = setup.agent.svid();
        svid.serial[..3].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
    };
    let first = serial();
    let line = watching.wait_for_text(LIMIT, &first);
    assert!(line.contains(&address) && line.contains(ID) && line.contains("until "), "{line}");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    watching.wait_for_text(LIMIT, &serial());
    setup.cluster.stop(test_support::Mode::Fast);
    watching.wait_for_text(LIMIT, "no answer: nobody listens there");
    watching.signal(Signal::INT);
    assert_eq!(watching.wait_exit(LIMIT).code(), Some(0));
    let text = watching.standard_output();
    // While it goes down, the server may be seen in more than one state; while it stood, in two.
    let served: Vec<&str> = text.lines().filter(|line| line.contains(ID)).collect();
    assert_eq!(served.len(), 2, "{text}");

    let json = Program::spawn(PGSVID, ["probe", &address, "--watch=100ms", "--format=json"], &[]);
    json.wait_for_text(LIMIT, "\"answer\":\"nothing\"");
    assert_eq!(json.terminate(LIMIT).code(), Some(0));
}

/// Runs `pgsvid probe`: its exit status, and what it prints.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let arguments = ["probe"].iter().chain(arguments);
    let program = Program::spawn(PGSVID, arguments, variables);
    let status = program.wait_exit(LIMIT).code().expect("no signal ended it");
    let error = program.standard_error();
    assert!(!error.contains("panicked"), "{error}");
    (status, program.standard_output())
}

fn publish(files: &Directory, svid: &Svid) {
    files.write("svid.pem", svid.chain_pem(), 0o644);
    files.write("svid_bundle.pem", svid.bundle_pem(), 0o644);
    files.write("svid_key.pem", svid.key_pem(), 0o600);
}

fn shown(files: &Directory, name: &str) -> String {
    files.join(name).display().to_string()
}
