//! What the intruder can still do.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};
use test_support::{Directory, LIMIT, Program};

use crate::intruder::VARIABLE;

/// `EPERM` of seccomp, `EACCES` of Landlock.
const DENIED: [i64; 2] = [1, 13];

/// Lets the intruder try, and returns what it prints.
fn intrude(how: &str, configuration: &str) -> Value {
    let place = Directory::new();
    let directory = place.subdirectory("svids");
    let elsewhere = place.subdirectory("elsewhere");
    let read = place.subdirectory("authorities");
    let host = place.subdirectory("sockets");
    for when in ["before", "after"] {
        // It is the intruder's own, and still none of its business.
        place.subdirectory(&format!("elsewhere/{when}"));
        place.subdirectory(&format!("elsewhere/{when}/directory"));
        for name in ["secret", "file", "another"] {
            place.write(&format!("elsewhere/{when}/{name}"), "of somebody's", 0o644);
        }
    }
    let (allowed, other) = (listener(), listener());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let socket = host.join(".s.PGSQL.0");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    place.write("sockets/.s.PGSQL.0.lock", "1\n/var/lib/postgresql\n", 0o644);
    let authorities = read.join("ca.pem");
    place.write("authorities/ca.pem", "of the operator's", 0o644);
    let plan = json!({
        "configuration": place.join("pgsvid.toml"),
        "directory": directory,
        "elsewhere": elsewhere,
        "authorities": authorities,
        "socket": socket,
        "port": port(&allowed),
        "other_port": port(&other),
    });
    let text = format!(
        "workload_api.endpoint = 'unix:///nobody.sock'\n\
         [files]\ndirectory = '{}'\nextra_authorities = ['{}']\n\
         [postgres]\nhost = '{}'\nport = {}\n{configuration}",
        directory.display(),
        authorities.display(),
        host.display(),
        port(&allowed)
    );
    place.write("pgsvid.toml", &text, 0o644);
    let intruder =
        Program::spawn(std::env::current_exe().unwrap(), [plan.to_string()], &[(VARIABLE, how)]);
    assert!(intruder.wait_exit(LIMIT).success(), "{}", intruder.standard_error());
    serde_json::from_str(&intruder.standard_output()).unwrap()
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Name and outcome of everything that was tried.
fn tried<'a>(outcome: &'a Value, what: &str, when: &str) -> Vec<(&'a str, i64)> {
    let tried = outcome[what][when].as_object().unwrap();
    assert!(tried.len() > 10, "{outcome}");
    tried.iter().map(|(name, error)| (name.as_str(), error.as_i64().unwrap())).collect()
}

#[track_caller]
fn all_work(outcome: &Value, what: &str, when: &str) {
    for (name, error) in tried(outcome, what, when) {
        assert_eq!(error, 0, "{when} the sandbox was entered, to {name} fails");
    }
}

pub(crate) fn planted_attempts_are_refused() {
    let outcome = intrude("alone", "");
    assert_eq!(outcome["entered"], json!({ "Ok": null }));
    // Or the test would prove nothing.
    all_work(&outcome, "attempts", "before");
    for (name, error) in tried(&outcome, "attempts", "after") {
        assert!(DENIED.contains(&error), "to {name} is not refused, but gives {error}");
    }
    // By Landlock where the call itself is allowed, and by seccomp where it is not.
    let after = &outcome["attempts"]["after"];
    for name in ["read a file", "list a directory", "make a link", "rename a file", "remove a file"]
    {
        assert_eq!(after[name], DENIED[1], "{name}");
    }
    assert_eq!(after["connect to another port"], DENIED[1]);
    assert_eq!(after["become a program"], DENIED[0]);
}

pub(crate) fn what_is_needed_is_allowed() {
    let outcome = intrude("alone", "");
    all_work(&outcome, "needs", "before");
    all_work(&outcome, "needs", "after");
}

pub(crate) fn turned_off_nothing_is_refused() {
    let outcome = intrude("alone", "[sandbox]\nenabled = false\n");
    assert_eq!(outcome["entered"], json!({ "Ok": null }));
    for (name, error) in tried(&outcome, "attempts", "after") {
        assert_eq!(error, 0, "{name}");
    }
}

pub(crate) fn threads_are_no_sandbox() {
    let outcome = intrude("threads", "");
    let error = outcome["entered"]["Err"].as_str().unwrap();
    assert!(error.contains("2 threads run already"), "{error}");
    assert!(error.contains("sandbox.enabled = false runs without it"), "{error}");
}
