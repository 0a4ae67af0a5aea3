//! What the daemon gets at its start: standard input and output, the service manager's socket.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use test_support::{Account, LIMIT, Program, Setup};

use crate::taken_over::PGSVID;
use crate::taken_over::injector::Injector;

/// What seccomp answers.
const REFUSED: i64 = -(libc::EPERM as i64);

fn descriptor(pid: u32, number: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()
}

#[test]
fn a32_standard_input_and_output_lead_nowhere() {
    let setup = Setup::new(PGSVID);
    let given = setup.other.write("given", "a secret", 0o666);
    let script = format!("exec \"$@\" <>'{0}' >>'{0}'", given.display());
    let pgsvid = Program::reachable(PGSVID).display().to_string();
    let mut arguments = vec!["-c".to_owned(), script, "sh".to_owned(), pgsvid, "run".to_owned()];
    arguments.extend(setup.arguments());
    let pgsvid = Program::spawn("/bin/sh", arguments, &[]);
    setup.wait_published();
    setup.cluster.start();

    let injector = Injector::attach(pgsvid.daemon_pid());
    let buffer = injector.put(0, &[0; 64]);
    assert_eq!(injector.call(libc::SYS_read, &[0, buffer, 64]), 0, "there is nothing to read");
    for number in [0, 1] {
        let bytes = injector.call(libc::SYS_write, &[number, buffer, 64]);
        assert_eq!(bytes, 64, "it goes to /dev/null");
        let leads_to = descriptor(pgsvid.daemon_pid(), number);
        assert_eq!(leads_to.as_deref(), Some(Path::new("/dev/null")), "{number}");
    }
    drop(injector);
    assert_eq!(fs::read_to_string(&given).unwrap(), "a secret");
    pgsvid.wait_for_event(LIMIT, |event| event["verdict"] == "current");
}

/// The number of the daemon's datagram socket.
fn notification(pid: u32) -> u64 {
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    let datagrams: Vec<String> = table
        .lines()
        .filter(|line| line.split_whitespace().nth(4) == Some("0002"))
        .map(|line| format!("socket:[{}]", line.split_whitespace().nth(6).unwrap()))
        .collect();
    let found: Vec<u64> = (0..64)
        .filter(|number| {
            descriptor(pid, *number)
                .is_some_and(|path| datagrams.iter().any(|socket| path == Path::new(socket)))
        })
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

fn listen(setup: &Setup, name: &str) -> (UnixDatagram, PathBuf) {
    let path = setup.other.join(name);
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    (socket, path)
}

#[test]
fn a32_the_notification_socket_stays_the_service_managers() {
    let setup = Setup::new(PGSVID);
    let (manager, notify) = listen(&setup, "notify.sock");
    let (other, address) = listen(&setup, "other.sock");
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    other.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let hear = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = manager.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    };
    let arguments = setup.arguments();
    let arguments = ["run"].into_iter().chain(arguments.iter().map(String::as_str));
    let variables = [("NOTIFY_SOCKET", notify.to_str().unwrap())];
    let pgsvid = Program::spawn_as(Account::server(), Path::new(PGSVID), arguments, &variables);
    hear("READY=1");

    let socket = notification(pgsvid.daemon_pid());
    let injector = Injector::attach(pgsvid.daemon_pid());
    let mut name = 1_u16.to_ne_bytes().to_vec();
    name.extend(address.to_str().unwrap().as_bytes());
    name.push(0);
    let length = name.len() as u64;
    let name = injector.put(0, &name);
    let connect = |socket| injector.call(libc::SYS_connect, &[socket, name, length]);
    assert_eq!(connect(socket), REFUSED);
    // Nor under another number, nor with other bits where the kernel takes no notice of them.
    assert_eq!(connect(socket | 1 << 32), REFUSED);
    let duplicate = i64::from(libc::F_DUPFD_CLOEXEC).cast_unsigned();
    for call in [
        (libc::SYS_fcntl, vec![socket, duplicate, 40]),
        (libc::SYS_fcntl, vec![socket, 0, 40]),
        (libc::SYS_dup, vec![socket]),
        (libc::SYS_dup2, vec![socket, 40]),
        (libc::SYS_dup3, vec![socket, 40, 0]),
    ] {
        assert_eq!(injector.call(call.0, &call.1), REFUSED, "{call:?}");
    }
    let bytes = injector.put(1, b"key");
    assert_eq!(injector.call(libc::SYS_sendto, &[socket, bytes, 3, 0, name, length]), REFUSED);
    drop(injector);
    assert!(other.recv(&mut [0; 16]).is_err(), "another service got a message");
    // It is still what it was.
    setup.cluster.start();
    hear("STATUS=current");
}
