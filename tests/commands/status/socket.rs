//! A18, A33: the socket of `health.listen` in a directory that others may write to, and others who listen on it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use test_support::{Account, Directory, LIMIT, Program, Strace, eventually};

use super::PGSVID;

#[test]
fn a18_what_is_put_in_the_sockets_place_keeps_its_mode() {
    let directory = Directory::new();
    let open = directory.subdirectory("open");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let svids = directory.subdirectory("svids");
    // The same account's, as root's would be root's.
    let victim = directory.write("victim", "secret", 0o600);
    let socket = open.join("status.sock");
    let configuration = format!(
        "[workload_api]\nendpoint = 'unix:{0}/agent.sock'\n[files]\ndirectory = '{1}'\n[health]\nlisten = 'unix:{2}'\n",
        open.display(),
        svids.display(),
        socket.display()
    );
    let configuration = directory.write("pgsvid.toml", &configuration, 0o644);
    // Whatever changes a mode by name has to wait, which makes the attack sure to come in between.
    let arguments = ["run", "--config", &configuration.display().to_string()].map(str::to_owned);
    let delayed = "?chmod,?fchmodat,?fchmodat2:delay_enter=2000000";
    let pgsvid = Strace::around(PGSVID, &arguments, delayed);
    eventually(LIMIT, "the socket is there", || socket.exists());
    let away = open.join("away");
    fs::rename(&socket, &away).unwrap();
    symlink(&victim, &socket).unwrap();
    pgsvid.wait_for_text(LIMIT, "no connection to the agent");
    let mode = |path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&victim), 0o600);
    assert_eq!(mode(&away), 0o660, "whatever the umask");
}

/// Asks a socket that is not pgsvid's, by each command that asks; returns what was said of it.
fn asked(socket: &Path) -> Vec<String> {
    fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).unwrap();
    let name = format!("unix:{}", socket.display());
    let ask = |more: Option<&str>| {
        let arguments = ["status", "--socket", &name].into_iter().chain(more);
        Program::spawn(PGSVID, arguments, &[])
    };
    let all = [None, Some("--live"), Some("--startup")].map(ask);
    let said = all.iter().map(|status| {
        assert_eq!(status.wait_exit(LIMIT).code(), Some(1));
        status.standard_error()
    });
    said.collect()
}

#[test]
fn a33_a_process_that_never_accepts_does_not_keep_the_client_waiting() {
    let directory = Directory::new();
    let socket = directory.join("status.sock");
    let full = UnixListener::bind(&socket).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _waiting = UnixStream::connect(&socket).unwrap();
    for said in asked(&socket) {
        assert!(said.contains("no answer from unix:") && said.contains("5s"), "{said}");
    }
}

#[test]
fn a33_a_process_that_answers_without_an_end_does_not_keep_the_client_waiting() {
    let directory = Directory::new();
    for (name, pause, words) in
        [("slow", 500, "no answer from unix:"), ("fast", 0, "does not answer like pgsvid")]
    {
        let socket = directory.join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || without_end(stream.unwrap(), Duration::from_millis(pause)));
            }
        });
        for said in asked(&socket) {
            assert!(said.contains(words), "{name}: {said}");
        }
    }
}

fn without_end(mut stream: UnixStream, pause: Duration) {
    let part: &[u8] = if pause.is_zero() { &[b'a'; 4096] } else { b"a" };
    let _ = stream.read(&mut [0; 4096]);
    while stream.write_all(part).is_ok() {
        thread::sleep(pause);
    }
}

/// A process of the daemon's own user has the socket; another user's is refused unasked.
#[test]
fn a33_a_process_that_never_accepts_does_not_keep_the_daemon_from_saying_that_the_socket_is_taken()
{
    let directory = Directory::new();
    let svids = directory.subdirectory("svids");
    let socket = directory.join("status.sock");
    let full = UnixListener::bind(&socket).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _waiting = UnixStream::connect(&socket).unwrap();
    let owner = Account::server().uid();
    std::os::unix::fs::chown(&socket, Some(owner), None).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let configuration = format!(
        "workload_api.endpoint = 'unix:/nobody.sock'\nfiles.directory = '{}'\nhealth.listen = 'unix:{}'\n",
        svids.display(),
        socket.display()
    );
    let configuration = directory.write("pgsvid.toml", &configuration, 0o644);
    let arguments = ["run", "--config", &configuration.display().to_string()].map(str::to_owned);
    let pgsvid = Program::spawn(PGSVID, arguments, &[]);
    assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1));
    let said = pgsvid.standard_error();
    assert!(said.contains("another process already does"), "{said}");
    assert!(socket.exists(), "it is not removed");
}
