//! What the daemon can still reach: files, Unix sockets, capabilities.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::libc;
use test_support::{Account, LIMIT, Pgsvid, Setup};

use crate::taken_over::injector::Injector;
use crate::taken_over::{PGSVID, of_root};

/// What Landlock answers.
const DENIED: i64 = -(libc::EACCES as i64);

fn read(injector: &Injector, path: &Path) -> i64 {
    let here = i64::from(libc::AT_FDCWD).cast_unsigned();
    let flags = i64::from(libc::O_RDONLY | libc::O_CLOEXEC).cast_unsigned();
    let path = injector.put_text(0, path.to_str().unwrap());
    injector.call(libc::SYS_openat, &[here, path, flags, 0])
}

/// The sets of capabilities of every thread: name → value.
#[track_caller]
fn assert_capabilities(pgsvid: &Pgsvid, wanted: &str) {
    for task in fs::read_dir(format!("/proc/{}/task", pgsvid.daemon_pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        for name in ["CapPrm:", "CapEff:"] {
            assert_eq!(value(name), wanted, "{name} {status}");
        }
        for name in ["CapInh:", "CapBnd:", "CapAmb:"] {
            assert_eq!(value(name), NONE, "{name} {status}");
        }
        assert_eq!(value("NoNewPrivs:"), "1");
    }
}

const NONE: &str = "0000000000000000";
/// `CAP_DAC_READ_SEARCH`
const READ_AND_SEARCH: &str = "0000000000000004";

#[test]
fn a13_nothing_beside_postgresqls_socket_is_readable() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let host = setup.cluster.socket_directory();
    let port = setup.cluster.port();
    let secret = host.join("secret");
    fs::File::create(&secret).unwrap();
    let within = host.join("data");
    fs::create_dir(&within).unwrap();
    fs::File::create(within.join("pg_authid")).unwrap();

    let injector = Injector::attach(pgsvid.daemon_pid());
    let own = format!("/proc/{}", pgsvid.daemon_pid());
    let status = read(&injector, &Path::new(&own).join("status"));
    assert!(status >= 0, "{status}");
    for path in [
        secret,
        within.join("pg_authid"),
        host.join(format!(".s.PGSQL.{port}.lock")),
        setup.cluster.data_directory().join("PG_VERSION"),
        Path::new(&own).join("environ"),
        Path::new(&own).join("mountinfo"),
        Path::new(&own).join("net/unix"),
    ] {
        assert_eq!(read(&injector, &path), DENIED, "{}", path.display());
    }
    drop(injector);
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}

#[test]
fn a13_as_root_no_capability_is_left_and_files_get_their_group() {
    let (setup, pgsvid) = of_root(|_| String::new());
    pgsvid.current(1);
    assert_capabilities(&pgsvid, NONE);
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}

#[test]
fn a13_as_root_a_capability_that_the_configured_files_need_stays_and_is_named() {
    let (setup, pgsvid) = of_root(|setup| {
        // Of PostgreSQL's user, and closed to everybody else: root reads it by a capability.
        let extra = setup.other.write("extra.pem", setup.agent.svid().bundle_pem(), 0o600);
        format!("files.extra_authorities = ['{}']\n", extra.display())
    });
    pgsvid.current(1);
    assert_capabilities(&pgsvid, READ_AND_SEARCH);
    assert_eq!(pgsvid.event("sandbox-entered")["capabilities"], "DAC_READ_SEARCH");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}

/// What it takes for the socket is kept only where the socket is found closed at the start.
#[test]
fn as_root_an_agent_that_comes_later_and_is_closed_is_reached_once_pgsvid_is_started_again_as_it_says()
 {
    let (root, setup) = (Account::current(), Setup::new(PGSVID));
    std::os::unix::fs::chown(setup.files.path(), Some(0), Some(0)).unwrap();
    setup.configure(&format!("files.group = \"{}\"\n", setup.cluster.gid()));
    let closed = setup.other.join("closed");
    let endpoint = format!("unix://{}/agent.sock", closed.display());
    let run = || setup.spawn_as(root, &["--endpoint", &endpoint]);
    let pgsvid = run();
    pgsvid.event("sandbox-entered");
    pgsvid.event("agent-disconnected");

    let made = setup.other.subdirectory("made");
    let agent = setup.agent.endpoint().strip_prefix("unix://").unwrap().to_owned();
    std::os::unix::fs::symlink(agent, made.join("agent.sock")).unwrap();
    fs::set_permissions(&made, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&made, Some(Account::server().uid()), None).unwrap();
    fs::rename(&made, &closed).unwrap();
    let told = pgsvid.wait_for_event(LIMIT, |event| {
        event["error"].as_str().is_some_and(|error| error.contains("permission denied"))
    });
    assert!(told["error"].as_str().unwrap().contains("restart pgsvid"), "{told}");
    assert!(pgsvid.terminate(LIMIT).success());

    let pgsvid = run();
    setup.wait_published();
    assert_eq!(pgsvid.event("sandbox-entered")["capabilities"], "DAC_OVERRIDE");
}

/// What Landlock cannot close here, modes do: without root's capabilities, a socket of another user's is closed.
#[test]
fn a13_as_root_a_closed_socket_of_another_user_is_out_of_reach() {
    let (setup, pgsvid) = of_root(|_| String::new());
    pgsvid.current(1);
    let socket = setup.other.join("another.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::chown(&socket, Some(Account::server().uid()), None).unwrap();
    fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    let injector = Injector::attach(pgsvid.daemon_pid());
    let unix = i64::from(libc::AF_UNIX).cast_unsigned();
    let stream = i64::from(libc::SOCK_STREAM | libc::SOCK_CLOEXEC).cast_unsigned();
    let descriptor = injector.call(libc::SYS_socket, &[unix, stream, 0]);
    let mut address = 1_u16.to_ne_bytes().to_vec();
    address.extend(socket.to_str().unwrap().as_bytes());
    address.push(0);
    let length = address.len() as u64;
    let address = injector.put(0, &address);
    let descriptor = u64::try_from(descriptor).unwrap();
    assert_eq!(injector.call(libc::SYS_connect, &[descriptor, address, length]), DENIED);
    assert_eq!(injector.call(libc::SYS_close, &[descriptor]), 0);
    drop(injector);
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}
