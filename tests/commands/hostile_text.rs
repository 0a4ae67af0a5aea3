//! Agents and servers that address the reader of the log: they get no line of their own, and no control of a terminal.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use dev_agent::{DevAgent, Entry, Misbehaviour};
use test_support::{Directory, LIMIT, Program, eventually};
use tonic::Status;

const ID: &str = "spiffe://example.org/ns/test/sa/db";
/// A line of its own, colours, a cleared screen (also by the one character that begins such sequences), a changed
/// direction of writing, and no end.
const HOSTILE: &str = "no\n2026-01-01T00:00:00Z INFO  rotated\r\u{1b}[2J\u{1b}]0;mine\u{7}\u{9b}31m\u{202e}dlo\u{2028}";

/// Begins with a word that every test waits for, so that it knows that the text was there to be shown. Longer ones do
/// not get through HTTP/2 as a status.
fn hostile() -> String {
    format!("mallory {HOSTILE}{}", "x".repeat(3000))
}

fn agent(place: &Directory) -> DevAgent {
    DevAgent::builder(place.join("agent.sock"))
        .entry(Entry::new(ID))
        .automatic(false)
        .start()
        .unwrap()
}

/// Runs pgsvid until it has spoken of mallory, and looks at what it has written.
#[track_caller]
fn log_is_harmless(place: &Directory, format: &str, more: &[&str]) {
    let directory = place.subdirectory(&format!("svids-{format}")).display().to_string();
    let endpoint = format!("unix://{}", place.join("agent.sock").display());
    let usual = [
        ["--endpoint", &endpoint],
        ["--directory", &directory],
        ["--log-format", format],
        ["--log-level", "trace"],
    ];
    let arguments = ["run"].iter().chain(usual.as_flattened()).chain(more);
    let pgsvid = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &[]);
    pgsvid.wait_for_text(LIMIT, "mallory");
    assert!(pgsvid.terminate(LIMIT).success());
    let lines = pgsvid.lines();
    assert!(lines.len() > 2, "{lines:?}");
    for line in lines {
        let acting = |c: char| c.is_control() || ['\u{202e}', '\u{2028}'].contains(&c);
        assert!(!line.contains(acting), "{line:?}");
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
        assert!(line.len() < 2000, "{} bytes in a line", line.len());
    }
}

/// In both formats.
#[track_caller]
fn logs_are_harmless(place: &Directory, more: &[&str]) {
    for format in ["text", "json"] {
        log_is_harmless(place, format, more);
    }
}

#[test]
fn an_agents_status_is_shown_and_cannot_act() {
    let place = Directory::new();
    let agent = agent(&place);
    agent.misbehave(Misbehaviour::Refuse(Status::unavailable(hostile())));
    logs_are_harmless(&place, &[]);
}

#[test]
fn what_an_agent_offers_is_listed_and_cannot_act() {
    let place = Directory::new();
    let agent = agent(&place);
    let mut message = agent.response();
    message.svids[0].spiffe_id = hostile();
    // As long as a hint may be.
    message.svids[0].hint = hostile().chars().take(900).collect();
    agent.misbehave(Misbehaviour::Reply(vec![message]));
    logs_are_harmless(&place, &["--hint", "another"]);
}

#[test]
fn an_id_that_is_none_cannot_act() {
    let place = Directory::new();
    let agent = agent(&place);
    let mut message = agent.response();
    // A longer one is refused for its length alone.
    message.svids[0].spiffe_id = hostile().chars().take(1000).collect();
    agent.misbehave(Misbehaviour::Reply(vec![message]));
    logs_are_harmless(&place, &[]);
}

#[test]
fn the_hint_of_what_is_taken_cannot_act() {
    let place = Directory::new();
    let agent = agent(&place);
    let mut message = agent.response();
    // As long as a hint may be.
    message.svids[0].hint = hostile().chars().take(900).collect();
    agent.misbehave(Misbehaviour::Reply(vec![message]));
    logs_are_harmless(&place, &[]);
}

#[test]
fn a_servers_error_is_shown_and_cannot_act() {
    let place = Directory::new();
    let _agent = agent(&place);
    // Anyone who may write to a socket's directory can pose as PostgreSQL; a real one does not answer so.
    let sockets = place.subdirectory("sockets");
    let socket = sockets.join(".s.PGSQL.5432");
    let listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // A client that goes away early is none of the test's business.
            let _ = refuse(client);
        }
    });
    logs_are_harmless(&place, &["--postgres", &sockets.display().to_string(), "--verify", "none"]);
}

/// What listens there may be another's. JSON escapes no more than the first 32 characters by itself.
#[test]
fn a69_a_status_in_json_cannot_act_on_a_terminal() {
    let place = Directory::new();
    let agent = agent(&place);
    let real = place.join("health.sock");
    let svids = place.subdirectory("svids").display().to_string();
    let endpoint = format!("unix://{}", agent.socket().display());
    let listen = format!("unix:{}", real.display());
    let arguments = ["run", "--endpoint", &endpoint, "--directory", &svids];
    let variables = [("PGSVID_HEALTH_LISTEN", listen.as_str())];
    let pgsvid = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &variables);
    let status = |socket: &Path| {
        Command::new(env!("CARGO_BIN_EXE_pgsvid"))
            .args(["status", "--format", "json", "--socket", &format!("unix:{}", socket.display())])
            .output()
            .unwrap()
    };
    eventually(LIMIT, "it is ready", || status(&real).status.success());
    let mut view: serde_json::Value = serde_json::from_slice(&status(&real).stdout).unwrap();
    drop(pgsvid);
    view["degraded"] = serde_json::json!([HOSTILE]);
    let body = view.to_string();
    assert!(body.contains('\u{9b}') && body.contains('\u{202e}'));

    let forged = place.join("forged.sock");
    let listener = UnixListener::bind(&forged).unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let _ = client.read(&mut [0; 4096]);
            let _ = write!(
                client,
                "HTTP/1.1 200 OK\r\nX-Pgsvid: 1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let printed = String::from_utf8(status(&forged).stdout).unwrap();
    let acting = |c: char| c != '\n' && (c.is_control() || ['\u{202e}', '\u{2028}'].contains(&c));
    assert!(!printed.contains(acting), "{printed:?}");
    let parsed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(parsed["degraded"][0], HOSTILE, "it says the same");
}

/// Answers a login with an `ErrorResponse`: severity, SQLSTATE, message.
fn refuse(mut client: UnixStream) -> std::io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
    client.read_exact(&mut request)?;
    let fields = format!("SFATAL\0VFATAL\0C28000\0M{}\0\0", hostile());
    let length = u32::try_from(fields.len() + 4).unwrap();
    client.write_all(&[b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat())
}
