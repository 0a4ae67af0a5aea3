//! The notifications to systemd.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dev_agent::{Misbehaviour, framed};
use prost::Message as _;
use test_support::{Account, LIMIT, Program, Setup, Signal};

use super::PGSVID;

#[test]
fn systemd_hears_when_a_set_is_published_what_is_served_and_the_end() {
    let setup = Setup::new(PGSVID);
    let (manager, path) = listening(&setup);
    is_reported(&setup, &manager, &path);
}

/// Anyone on the machine may fill the manager's queue.
#[test]
fn a57_the_service_manager_gets_ready_after_its_full_socket_has_room() {
    let setup = Setup::new(PGSVID);
    let (manager, path) = listening(&setup);
    let other = UnixDatagram::unbound().unwrap();
    other.connect(&path).unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send(b"STATUS=of another").is_ok() {}
    let pgsvid = notifying(&setup, &path, "600000000");
    setup.wait_published();
    let is_failure = |line: &str| line.contains("cannot tell the service manager");
    pgsvid.wait_for(LIMIT, is_failure);
    hear(&manager, "READY=1");
    pgsvid.wait_for_text(LIMIT, "the service manager gets notifications again");
    assert_eq!(pgsvid.lines().iter().filter(|line| is_failure(line)).count(), 1);
}

#[test]
fn a58_an_agent_that_never_says_the_same_floods_neither_the_manager_nor_the_log() {
    let setup = Setup::new(PGSVID);
    let mut message = setup.agent.response();
    let mut flood = Vec::new();
    for number in 0..300 {
        message.svids[0].spiffe_id = format!("spiffe://example.org/{number}");
        flood.extend(framed(&message.encode_to_vec()));
    }
    setup.agent.misbehave(Misbehaviour::Flood(flood));
    let (manager, path) = listening(&setup);
    let pgsvid = notifying(&setup, &path, "600000000");
    hear(&manager, "STATUS=waiting");
    let (begun, mut heard) = (Instant::now(), 0);
    manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while begun.elapsed() < Duration::from_secs(3) {
        heard += u32::from(manager.recv(&mut [0; 4096]).is_ok());
    }
    assert!((1..=4).contains(&heard), "{heard} datagrams");
    // Now nobody reads.
    pgsvid.wait_for_text(LIMIT, "cannot tell the service manager");
    let lines = pgsvid.lines().len();
    assert!(lines < 100, "{lines} lines");
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn x08_systemd_hears_of_a_daemon_that_has_died_and_of_the_next_one() {
    let setup = Setup::new(PGSVID);
    let (manager, path) = listening(&setup);
    let pgsvid = notifying(&setup, &path, "600000000");
    hear(&manager, "READY=1");
    pgsvid.daemon().signal(Signal::KILL);
    let heard =
        hear(&manager, "STATUS=pgsvid has ended (signal: 9 (SIGKILL)) and starts again in ");
    // Nobody else is there to say that somebody is.
    assert!(heard.contains("WATCHDOG=1"), "{heard}");
    hear(&manager, "READY=1");
}

/// As systemd has it where there is no file system to meet in; the name begins with an `@`.
#[test]
fn a_manager_at_an_abstract_socket_hears_the_same() {
    let setup = Setup::new(PGSVID);
    let name = format!("pgsvid-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    is_reported(&setup, &manager, &format!("@{name}"));
}

/// A manager that anyone may write to, and where it is.
fn listening(setup: &Setup) -> (UnixDatagram, String) {
    let path = setup.other.join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    Command::new("chmod").arg("0777").arg(&path).status().unwrap();
    (manager, path.display().to_string())
}

fn notifying(setup: &Setup, notify: &str, watchdog: &str) -> Program {
    let arguments = setup.arguments();
    let arguments = ["run"].into_iter().chain(arguments.iter().map(String::as_str));
    let variables = [("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", watchdog)];
    Program::spawn_as(Account::server(), Path::new(PGSVID), arguments, &variables)
}

/// Everything up to what is waited for.
#[track_caller]
fn hear(manager: &UnixDatagram, wanted: &str) -> String {
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buffer = [0; 4096];
    let mut heard = String::new();
    loop {
        let length = manager.recv(&mut buffer).unwrap_or_else(|_| panic!("{wanted}: {heard}"));
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        heard += &text;
        heard.push('\n');
        if text.contains(wanted) {
            return heard;
        }
    }
}

fn is_reported(setup: &Setup, manager: &UnixDatagram, notify: &str) {
    let hear = |wanted: &str| hear(manager, wanted);
    let pgsvid = notifying(setup, notify, "400000");
    let before = hear("READY=1");
    assert!(!setup.cluster.is_running() && !before.contains("STATUS=current"), "{before}");
    setup.cluster.start();
    hear("STATUS=current; spiffe://example.org/ns/test/sa/db, valid until ");
    hear("WATCHDOG=1");
    pgsvid.signal(Signal::TERM);
    hear("STOPPING=1");
}
