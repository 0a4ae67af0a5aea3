//! What systemd is told.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;

use test_support::{Account, LIMIT, Program, Setup, Signal};

use super::PGSVID;

#[test]
fn systemd_hears_when_a_set_is_published_what_is_served_and_the_end() {
    let setup = Setup::new(PGSVID);
    let path = setup.other.join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    Command::new("chmod").arg("0777").arg(&path).status().unwrap();
    is_told(&setup, &manager, &path.display().to_string());
}

/// As systemd has it where there is no file system to meet in; the name begins with an `@`.
#[test]
fn a_manager_at_an_abstract_socket_hears_the_same() {
    let setup = Setup::new(PGSVID);
    let name = format!("pgsvid-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    is_told(&setup, &manager, &format!("@{name}"));
}

fn is_told(setup: &Setup, manager: &UnixDatagram, notify: &str) {
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let hear = |wanted: &str| {
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
    };
    let arguments = setup.arguments();
    let arguments = ["run"].into_iter().chain(arguments.iter().map(String::as_str));
    let variables = [("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", "400000")];
    let pgsvid = Program::spawn_as(Account::server(), Path::new(PGSVID), arguments, &variables);
    let before = hear("READY=1");
    assert!(!setup.cluster.is_running() && !before.contains("STATUS=current"), "{before}");
    setup.cluster.start();
    hear("STATUS=current; spiffe://example.org/ns/test/sa/db, valid until ");
    hear("WATCHDOG=1");
    pgsvid.signal(Signal::TERM);
    hear("STOPPING=1");
}
