//! Symptoms between pgsvid and the agent.

use std::time::Duration;

use dev_agent::{DevAgent, Entry, Flaw, Misbehaviour, Stop};
use test_support::{LIMIT, Program, Setup};

use crate::troubleshooting::{BINARY, Checked, check, files_only, setup, symptom};

/// What `pgsvid run` logs and `pgsvid fetch` ends with.
fn said(setup: &Setup, more: &[&str]) -> String {
    let arguments = files_only(setup);
    let arguments = ["fetch", "--timeout", "2s"]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .chain(more.iter().copied());
    let program = Program::spawn(BINARY, arguments, &[]);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(1));
    program.standard_error()
}

fn with_agent(change: impl FnOnce(dev_agent::Builder) -> dev_agent::Builder) -> Setup {
    Setup::builder(BINARY).agent(change).create()
}

#[test]
fn no_agent() {
    let setup = setup();
    setup.agent.stop(Stop::Terminate);
    symptom("the socket does not exist", &said(&setup, &[]));
    check(&setup, &[]).fails("agent-not-listening");
}

#[test]
fn a_killed_agents_socket() {
    let setup = setup();
    setup.agent.stop(Stop::Kill);
    symptom("nobody listens there", &said(&setup, &[]));
    check(&setup, &[]).fails("agent-not-listening");
}

#[test]
fn no_registration_entry() {
    let setup = setup();
    setup.agent.remove_entries();
    symptom("not registered yet", &said(&setup, &[]));
    check(&setup, &[]).fails("agent-not-registered");
}

#[test]
fn another_programs_socket() {
    let setup = setup();
    setup.agent.misbehave(Misbehaviour::http1());
    // Now and then the other program is gone before its words are read.
    let words = "does not speak gRPC";
    test_support::eventually(test_support::LIMIT, words, || said(&setup, &[]).contains(words));
    symptom(words, words);
    test_support::eventually(test_support::LIMIT, words, || {
        let checked = check(&setup, &[]);
        checked.findings().iter().any(|found| found["code"] == "agent-not-grpc")
    });
}

#[test]
fn a_silent_agent() {
    let setup = setup();
    setup.agent.misbehave(Misbehaviour::Silent);
    symptom("no answer yet", &said(&setup, &[]));
    check(&setup, &[]).fails("agent-silent");
}

#[test]
fn a_bare_path_as_endpoint() {
    let arguments = ["--directory", "/svids"].map(str::to_owned);
    let variables = [("SPIFFE_ENDPOINT_SOCKET", "/run/spire/agent.sock")];
    let checked = Checked::run(&arguments, &[], &variables);
    symptom("it is a path, not an endpoint; write unix://", &checked.error);
    assert_eq!(checked.status, 2);
}

#[test]
fn a_hint_that_no_svid_has() {
    let setup = setup();
    let more = ["--hint", "postgres"];
    symptom("SVIDs offered has the hint", &said(&setup, &more));
    check(&setup, &more).fails("svid-choice");
}

#[test]
fn another_workloads_identity() {
    let setup = setup();
    setup.configure("[svid]\ntrust_domain = 'example.com'");
    symptom("is not of trust domain", &said(&setup, &[]));
    check(&setup, &[]).fails("svid-identity-unexpected");
}

#[test]
fn svids_that_are_refused() {
    for (flaw, words, code) in [
        (Flaw::KeyOfAnother, "the private key does not belong to the leaf", "svid-key-mismatch"),
        (Flaw::Expired(Duration::from_secs(60)), "the SVID expired at", "svid-expired"),
        (
            Flaw::NotYetValid(Duration::from_secs(3600)),
            "the SVID is valid only from",
            "svid-not-yet-valid",
        ),
        (
            Flaw::ForeignAuthority,
            "OpenSSL finds no path from the leaf to a root of the bundle",
            "svid-not-signed-by-bundle",
        ),
    ] {
        let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost").with(flaw);
        let setup = with_agent(|agent| agent);
        setup.agent.set_entries([entry]).unwrap();
        symptom(words, &said(&setup, &[]));
        check(&setup, &[]).fails(code);
    }
}

#[test]
fn no_agent_is_configured() {
    let arguments = ["--directory", "/svids"].map(str::to_owned);
    let checked = Checked::run(&arguments, &[], &[]);
    symptom("no Workload API is given", &checked.error);
    assert_eq!(checked.status, 2);
}

#[test]
fn an_unprivileged_socket() {
    let setup = setup();
    let other = test_support::Directory::new();
    let agent = DevAgent::builder(other.join("agent.sock")).start().unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(agent.socket(), closed).unwrap();
    let endpoint = agent.endpoint();
    let more = ["--endpoint", endpoint.as_str()];
    let arguments: Vec<String> = files_only(&setup)
        .into_iter()
        .enumerate()
        .filter(|(index, _)| !(2..4).contains(index))
        .map(|(_, argument)| argument)
        .collect();
    let checked = Checked::run(&arguments, &more, &[]);
    symptom(
        "permission denied; give uid",
        checked.finding("failure", "agent-socket-forbidden")["text"].as_str().unwrap(),
    );
    checked.fails("agent-socket-forbidden");
}

#[test]
fn an_agent_that_breaks_off_in_something_else() {
    let setup = setup();
    let arguments = files_only(&setup);
    let pgsvid = Program::spawn(
        BINARY,
        ["run"].into_iter().chain(arguments.iter().map(String::as_str)),
        &[],
    );
    setup.wait_published();
    setup.agent.misbehave_times(1, Misbehaviour::GarbleMessages);
    setup.agent.rotate().unwrap();
    let words = "broke the rules of HTTP/2";
    symptom(words, &pgsvid.wait_for_text(LIMIT, words));
}

/// What `pgsvid check` says by a code, as a symptom.
fn says(checked: &Checked, severity: &str, code: &str, words: &str) {
    symptom(words, checked.finding(severity, code)["text"].as_str().unwrap());
}

#[test]
fn several_svids_fit() {
    let other = || Entry::new("spiffe://example.org/other").dns("other");
    let setup = with_agent(|agent| agent.entry(other()));
    let checked = check(&setup, &[]);
    says(&checked, "warning", "svid-choice", "of the SVIDs fit the configuration");
    checked.warns("svid-choice");
    let arguments = files_only(&setup);
    let run = ["run"].into_iter().chain(arguments.iter().map(String::as_str));
    let pgsvid = Program::spawn(BINARY, run, &[]);
    setup.wait_published();
    setup.agent.set_entries([other()]).unwrap();
    let words = "the SPIFFE ID is another one than before";
    symptom(words, &pgsvid.wait_for_text(LIMIT, words));
    pgsvid.wait_for_text(LIMIT, "generation=2");
    assert!(pgsvid.terminate(LIMIT).success());
    setup.agent.set_entries([Entry::new(Setup::SPIFFE_ID).dns("localhost")]).unwrap();
    check(&setup, &[]).warns("svid-identity-changed");
}

#[test]
fn a_renewal_that_loses_names() {
    let setup = setup();
    let names = |names: [&str; 2]| {
        let entry = names.iter().fold(Entry::new(Setup::SPIFFE_ID), |it, name| it.dns(*name));
        setup.agent.set_entries([entry]).unwrap();
    };
    names(["localhost", "db.example"]);
    let arguments = files_only(&setup);
    let run = ["run"].into_iter().chain(arguments.iter().map(String::as_str));
    let pgsvid = Program::spawn(BINARY, run, &[]);
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    names(["other", "localhost"]);
    let checked = check(&setup, &[]);
    says(
        &checked,
        "warning",
        "svid-dns-name-lost",
        "which the published one has: clients that connect to it",
    );
    says(&checked, "warning", "svid-subject-changed", "uses it as the role");
    let checked = check(&setup, &["--dns-names", "localhost,db.example"]);
    says(&checked, "failure", "svid-dns-name-missing", "of svid.dns_names");
    checked.fails("svid-dns-name-missing");
}

#[test]
fn extra_authorities_that_cannot_be_read_any_more() {
    let setup = setup();
    let file = setup.other.write("extra.pem", setup.agent.svid().bundle_pem(), 0o644);
    setup.configure(&format!("[files]\nextra_authorities = ['{}']", file.display()));
    let arguments = files_only(&setup);
    let run = ["run"].into_iter().chain(arguments.iter().map(String::as_str));
    let pgsvid = Program::spawn(BINARY, run, &[]);
    setup.wait_published();
    std::fs::remove_file(&file).unwrap();
    let words = "keeping the extra authorities as they were";
    symptom(words, &pgsvid.wait_for_text(LIMIT, words));
    check(&setup, &[]).fails("extra-authorities-unreadable");
}
