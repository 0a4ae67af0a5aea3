//! What is said of files as the source: by the configuration, `check`, `status`, metrics, and `fetch`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use dev_agent::Entry;
use serde_json::Value;
use test_support::{Account, LIMIT, Mark, Pgsvid, Program, eventually};

use super::place::{PGSVID, Place, rejected};

/// `pgsvid` with these arguments: exit status, standard output, standard error.
fn pgsvid(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PGSVID).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

impl Place {
    /// The path of the configuration.
    fn file(&self) -> String {
        self.setup.other.join("pgsvid.toml").display().to_string()
    }

    fn listen(&self) -> String {
        format!("unix:{}", self.setup.other.join("status.sock").display())
    }

    fn with_status(&self) {
        self.configure("", &format!("health.listen = '{}'", self.listen()));
    }

    fn metrics(&self) -> String {
        let socket = self.setup.other.join("status.sock");
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The whole document.
    fn status(&self) -> Value {
        let (_, text, _) = pgsvid(&["status", "--socket", &self.listen(), "--format", "json"]);
        serde_json::from_str(&text).unwrap_or_default()
    }
}

#[test]
fn z08_two_sources_are_one_too_many() {
    let place = Place::new();
    let file = place.file();
    let directory = place.setup.files.path().display().to_string();
    let check = ["check", "--offline", "-c", &file, "--directory", &directory];
    let (status, _, error) = pgsvid(&[&check[..], &["--endpoint", "unix:///agent.sock"]].concat());
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("--endpoint") && error.contains("[certificates]"), "{error}");
    place.configure("", "workload_api.endpoint = 'unix:///agent.sock'");
    let (status, _, error) = pgsvid(&check);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("workload_api.endpoint") && error.contains("[certificates]"), "{error}");
    // The variable of other programs alone names none.
    place.configure("", "");
    let output = Command::new(PGSVID)
        .args(check)
        .env("SPIFFE_ENDPOINT_SOCKET", "unix:///agent.sock")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    for (more, key) in [
        ("svid.hint = 'db'", "svid.hint"),
        ("files.federated_bundles = true", "files.federated_bundles"),
        ("files.directory = 'x'", "files.directory"),
    ] {
        place.configure("", more);
        let (status, _, error) = pgsvid(&["check", "--offline", "-c", &file]);
        assert_eq!(status, Some(2), "{error}");
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn check_and_status_say_who_writes_the_files_and_what_keeps_them_from_being_used() {
    let place = Place::new();
    place.with_status();
    let first = place.issue();
    place.write(&first);
    let daemon = place.start();
    eventually(LIMIT, "all is well", || {
        let status = place.status();
        status["ready"] == true && status["degraded"] == serde_json::json!([])
    });
    let status = place.status();
    assert!(status["agent"].is_null(), "{status}");
    assert_eq!(status["certificates"]["owner"], place.setup.cluster.uid(), "{status}");
    let report = place.check();
    assert_eq!(failures(&report), Vec::<String>::new(), "{report}");

    let mark = daemon.mark();
    place.certs.write("tls.key", place.issue().key_pem(), 0o600);
    rejected(&daemon, mark, "certificates-pair");
    eventually(LIMIT, "it is degraded", || {
        place.status()["targets"][0]["findings"][0]["code"] == "certificates-pair"
    });
    let status = place.status();
    assert_eq!(status["ready"], true, "{status}");
    let finding = &status["targets"][0]["findings"][0];
    assert!(finding["fix"].as_str().unwrap().contains("owner uid"), "{finding}");
    assert_eq!(failures(&place.check()), ["certificates-pair"]);
    let metrics = place.metrics();
    assert!(metrics.contains("\npgsvid_certificates_rejected_total 1\n"), "{metrics}");
    assert!(metrics.contains("pgsvid_certificates_usable{path="), "{metrics}");
    assert!(!metrics.contains("pgsvid_agent_connection{"), "{metrics}");
    assert_eq!(status["certificates"]["rejected"], 1, "{status}");
}

fn failures(report: &Value) -> Vec<String> {
    let sections = report["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    let failures = findings.filter(|finding| finding["severity"] == "failure");
    failures.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_renewal_that_does_not_come_is_said_after_its_time_with_who_should_have_made_it() {
    let place = Place::new();
    place.configure(
        "",
        &format!("certificates.renewal_percent = 20\nhealth.listen = '{}'", place.listen()),
    );
    let short_lived = place.issue_with(|entry| entry.ttl(Duration::from_secs(60)));
    place.write(&short_lived);
    let daemon = place.start();
    // By a fifth of its life it is due, and it is late a twentieth later: 12 s and 3 s.
    eventually(LIMIT, "the renewal is overdue", || place.status()["overdue"] == true);
    let status = place.status();
    let finding = &status["targets"][0]["findings"][0];
    assert_eq!(finding["code"], "svid-lifetime", "{status}");
    assert!(finding["text"].as_str().unwrap().contains("tls.crt"), "{finding}");
    assert!(finding["fix"].as_str().unwrap().contains("last written"), "{finding}");
    let mark = daemon.mark();
    let next = place.issue();
    place.write(&next);
    place.serves(&daemon, mark, &next);
    eventually(LIMIT, "it is over", || place.status()["overdue"] == false);
}

#[test]
fn fetch_publishes_what_the_files_hold() {
    let place = Place::new();
    let held = place.issue();
    let file = place.file();
    let directory = place.setup.files.path().display().to_string();
    let fetch = |limit: &str| {
        let arguments = ["fetch", "-c", &file, "--directory", &directory, "--timeout", limit];
        let program = Program::spawn_as(Account::server(), PGSVID, arguments, &[]);
        let status = program.wait_exit(LIMIT + LIMIT).code();
        (status, program.standard_output(), program.standard_error())
    };
    let (status, _, error) = fetch("3s");
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("tls.crt does not exist"), "{error}");
    place.write(&held);
    let (status, said, error) = fetch("30s");
    assert_eq!(status, Some(0), "{said}{error}");
    assert!(said.starts_with("localhost "), "{said}");
    assert!(place.holds(&held));
}

#[test]
fn with_a_trust_domain_the_rules_of_spiffe_hold() {
    let place = Place::new();
    let wanted = "svid.trust_domain = 'corporate.example'";
    place.configure("", wanted);
    place.write(&place.issue());
    let daemon = place.spawn();
    rejected(&daemon, Mark::default(), "certificates-format");
    let entry = Entry::new("spiffe://corporate.example/db").dns("localhost");
    let svid = place.authority.issue(&entry).unwrap();
    place.write(&svid);
    place.setup.wait_published();
    place.setup.cluster.start();
    current(&daemon);
    assert!(place.holds(&svid));
}

fn current(daemon: &Pgsvid) {
    let event = daemon.rotated(1);
    assert_eq!(event["verdict"], "current", "{event}");
}
