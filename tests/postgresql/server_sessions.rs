//! P11, P17, P22: a session that gets no answer, that must not delay anybody, or that is lost.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io, thread};

use dev_agent::Svid;
use pgsvid::material::pem::decode_certificates;
use serde_json::Value;
use test_support::{Account, Directory, LIMIT, Mode, Pgsvid, Setup, Signal, eventually};

#[test]
fn p11_a_stopped_postmaster_holds_nothing_up() {
    let (setup, pgsvid) = started();
    setup.cluster.signal(Signal::STOP);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    let (pending, mark) =
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "unreachable");
    assert_eq!(pending["level"], "INFO");
    assert_text(
        &pending,
        "message",
        &["the reload is pending: PostgreSQL did not answer within 5s"],
    );
    // It still takes what the agent sends.
    setup.agent.rotate().unwrap();
    let (_, mark) = pgsvid.event_after(mark, "identity-received");
    setup.cluster.signal(Signal::CONT);
    let newest = serial(&setup.agent.svid());
    let (event, _) = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
        event["event"] == "rotated" && event["serial"] == newest
    });
    assert_eq!(event["verdict"], "current");
}

#[test]
fn p11_a_stopped_postmaster_does_not_hold_up_the_end() {
    let (setup, pgsvid) = started();
    setup.cluster.signal(Signal::STOP);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    pgsvid.event_after(mark, "identity-received");
    assert_eq!(pgsvid.terminate(LIMIT).code(), Some(0));
    setup.cluster.signal(Signal::CONT);
    setup.cluster.stop(Mode::Fast);
}

#[test]
fn p17_a_smart_shutdown_is_not_held_up_between_rotations_or_during_one() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    setup.configure("[postgres]\nverify_every = '1s'");
    let pgsvid = setup.start();
    let mut generation = 1;
    for rotations in [0, 1, 3] {
        for _ in 0..rotations {
            setup.agent.rotate().unwrap();
        }
        // It waits for the last session: ours, if there were one.
        setup.cluster.stop(Mode::Smart);
        let mark = pgsvid.mark();
        setup.agent.rotate().unwrap();
        // A start in the midst of a swap is another matter: PostgreSQL opens certificate and key one after the other.
        let newest = setup.agent.svid();
        eventually(LIMIT, "the newest set is on disk", || {
            let text = fs::read(setup.files.join("svid.pem")).unwrap();
            decode_certificates(&text).unwrap()[0].der() == newest.leaf()
        });
        setup.cluster.start();
        let newest = serial(&newest);
        let (event, _) = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
            event["event"] == "rotated" && event["serial"] == newest
        });
        assert_eq!(event["verdict"], "current", "{event}");
        let now = event["generation"].as_u64().unwrap();
        assert!(now > generation, "{event}");
        generation = now;
        // Nobody holds a session while nothing is to be done.
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgsvid'";
        eventually(LIMIT, "no session is open", || {
            setup.cluster.sql("postgres", "postgres", sessions) == "0"
        });
    }
}

#[test]
fn p22_a_session_that_is_lost_after_the_query_is_decided_by_the_probe() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    // PostgreSQL sees the peer that is in between, and has its socket elsewhere.
    setup.cluster.set_ident(&format!("pgsvid {} pgsvid", Account::current().name()));
    let elsewhere = Directory::new();
    setup.cluster.set_conf(&format!("unix_socket_directories = '{elsewhere}'"));
    let lost = lose_answers(&setup, elsewhere.path());
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);
    lost.store(true, Ordering::SeqCst);

    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    let (event, _) = pgsvid.event_after(mark, "rotated");
    assert_eq!(event["verdict"], "current");
    assert_text(&event, "without_reload", &["the connection to PostgreSQL was lost"]);
}

fn started() -> (Setup, Pgsvid) {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let pgsvid = setup.start();
    (setup, pgsvid)
}

#[track_caller]
fn assert_text(event: &Value, field: &str, texts: &[&str]) {
    let found = event[field].as_str().unwrap_or_default();
    for text in texts {
        assert!(found.contains(text), "{field} lacks {text:?}: {event}");
    }
}

fn serial(svid: &Svid) -> String {
    let [one, two, three, ..] = svid.serial;
    format!("{one:02x}:{two:02x}:{three:02x}")
}

/// Passes sessions on to the server's socket, which is elsewhere, and once told so, breaks each as soon as it has seen
/// the query that reloads.
fn lose_answers(setup: &Setup, elsewhere: &Path) -> Arc<AtomicBool> {
    let name = format!(".s.PGSQL.{}", setup.cluster.port());
    let (target, socket) = (elsewhere.join(&name), setup.cluster.socket_directory().join(&name));
    let listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let lose = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&lose);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (target, told) = (target.clone(), Arc::clone(&told));
            thread::spawn(move || pass(client, &target, &told));
        }
    });
    lose
}

fn pass(mut client: UnixStream, target: &Path, lose: &AtomicBool) -> io::Result<()> {
    let mut server = UnixStream::connect(target)?;
    let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut back);
        back.shutdown(Shutdown::Both)
    });
    let mut buffer = [0; 4096];
    loop {
        let length = client.read(&mut buffer)?;
        if length == 0 {
            return server.shutdown(Shutdown::Both);
        }
        let query = &buffer[..length];
        let reloads = query.windows(14).any(|window| window == b"pg_reload_conf");
        if reloads && lose.load(Ordering::SeqCst) {
            client.shutdown(Shutdown::Both)?;
        }
        server.write_all(query)?;
    }
}
