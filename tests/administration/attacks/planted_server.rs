//! A02, A03: another process listens on PostgreSQL's socket, or it sends more than PostgreSQL would.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rustix::fs::{Mode, chmod};
use test_support::{Account, Directory, LIMIT, Program, Setup};

use crate::attacks::PGSVID;
use crate::judged::{admin, check, found, one, paste, started_with};

/// A directory where everybody may create files, as `/tmp` is: its owner is root.
pub(crate) fn shared_directory(parent: &Directory) -> PathBuf {
    let directory = parent.subdirectory("shared");
    std::os::unix::fs::chown(&directory, Some(0), Some(0)).unwrap();
    chmod(&directory, Mode::from_raw_mode(0o1777)).unwrap();
    directory
}

/// Listens on a socket as another user, and lets `serve` answer each client.
pub(crate) fn listen_as(
    account: &Account,
    socket: &Path,
    serve: impl Fn(UnixStream) + Send + 'static,
) {
    let (ready, listens) = mpsc::channel();
    let (uid, socket) = (rustix::process::Uid::from_raw(account.uid()), socket.to_owned());
    thread::spawn(move || {
        // This thread alone: the kernel notes who calls listen(2).
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        chmod(&socket, Mode::from_raw_mode(0o777)).unwrap();
        ready.send(()).unwrap();
        listener.incoming().map_while(Result::ok).for_each(serve);
    });
    listens.recv().unwrap();
}

pub(crate) fn socket_in(directory: &Path) -> PathBuf {
    directory.join(".s.PGSQL.5432")
}

/// Tells how many bytes each client has sent before it went away.
fn count_bytes() -> (impl Fn(UnixStream) + Send + 'static, mpsc::Receiver<usize>) {
    let (counts, received) = mpsc::channel();
    let serve = move |mut client: UnixStream| {
        let mut bytes = [0; 4096];
        let count = client.read(&mut bytes).unwrap_or(0);
        // The test may have seen enough.
        let _ = counts.send(count);
    };
    (serve, received)
}

fn run(directory: &Path, key: &str) -> (Setup, Program) {
    let setup = Setup::new(PGSVID);
    let password = setup.other.write("password", "secret", 0o600);
    setup.configure(&format!("[postgres]\npassword_file = '{}'\n{key}", password.display()));
    let host = directory.display().to_string();
    let arguments = setup.arguments();
    let arguments = arguments.chunks(2).map(|pair| match pair[0].as_str() {
        "--postgres" => ["--postgres", &host],
        "--port" => ["--port", "5432"],
        _ => [pair[0].as_str(), pair[1].as_str()],
    });
    let pgsvid = Program::spawn(PGSVID, ["run"].into_iter().chain(arguments.flatten()), &[]);
    setup.wait_published();
    (setup, pgsvid)
}

#[test]
fn a02_nothing_is_sent_to_another_user_on_postgresqls_socket() {
    let other = Directory::new();
    let shared = shared_directory(&other);
    let stranger = Account::third().expect("the tests run as root");
    let (serve, counts) = count_bytes();
    listen_as(&stranger, &socket_in(&shared), serve);
    let (_setup, pgsvid) = run(&shared, "");
    for _ in 0..2 {
        assert_eq!(counts.recv_timeout(LIMIT).unwrap(), 0);
    }
    assert!(pgsvid.is_running());
}

#[test]
fn a02_pgsvid_sends_bytes_only_to_a_listener_that_runs_as_require_peer() {
    let other = Directory::new();
    let stranger = Account::third().expect("the tests run as root");
    for (number, (key, wanted)) in [
        (format!("require_peer = '{}'", stranger.uid()), true),
        (format!("require_peer = '{}'", stranger.name()), true),
        (format!("require_peer = '{}'", Account::server().uid()), false),
        ("require_peer = 'root'".to_owned(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let directory = other.subdirectory(&number.to_string());
        chmod(&directory, Mode::from_raw_mode(0o1777)).unwrap();
        let (serve, counts) = count_bytes();
        listen_as(&stranger, &socket_in(&directory), serve);
        let (_setup, _pgsvid) = run(&directory, &key);
        assert_eq!(counts.recv_timeout(LIMIT).unwrap() > 0, wanted, "{key}");
    }
}

/// In a user namespace all users without a number in it have the same one: the owner of the socket's directory, and another
/// user who listens there.
#[test]
fn a39_a_listener_without_a_number_in_the_user_namespace_is_not_taken_for_the_directorys_owner() {
    let other = Directory::new();
    let (owner, own) = (Account::third().expect("the tests run as root"), Account::server());
    let shared = other.subdirectory("shared");
    std::os::unix::fs::chown(&shared, Some(owner.uid()), Some(owner.gid())).unwrap();
    chmod(&shared, Mode::from_raw_mode(0o1777)).unwrap();
    let (serve, counts) = count_bytes();
    listen_as(&Account::nameless(), &socket_in(&shared), serve);
    let place = tempfile::tempdir_in("/").unwrap();
    for path in [place.path().to_owned(), place.path().join("svids")] {
        std::fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(own.uid()), Some(own.gid())).unwrap();
    }
    let agent = dev_agent::DevAgent::builder(other.join("agent.sock"))
        .entry(dev_agent::Entry::new("spiffe://example.org/db").dns("localhost"))
        .start()
        .unwrap();
    let pgsvid = Program::spawn(
        "/usr/bin/unshare",
        [
            "--user",
            "--map-root-user",
            &Program::reachable(PGSVID).display().to_string(),
            "run",
            "--endpoint",
            &agent.endpoint(),
            "--directory",
            &place.path().join("svids").display().to_string(),
            "--postgres",
            &shared.display().to_string(),
        ],
        &[],
    );
    for _ in 0..2 {
        assert_eq!(counts.recv_timeout(LIMIT).unwrap(), 0);
    }
    assert!(pgsvid.is_running(), "{}", pgsvid.standard_error());
}

/// Another user puts a link in the socket's place, to that of another server of the same user.
#[test]
fn a02_a_link_to_another_servers_socket_is_not_taken_for_the_server() {
    let setup = Setup::new(PGSVID);
    let other = Setup::new(PGSVID);
    let pgsvid = other.start();
    let place = Directory::new();
    let link = place.join(&format!(".s.PGSQL.{}", setup.cluster.port()));
    let socket = format!(".s.PGSQL.{}", other.cluster.port());
    std::os::unix::fs::symlink(other.cluster.socket_directory().join(socket), link).unwrap();
    let loads = || other.cluster.sql("postgres", "postgres", "SELECT pg_conf_load_time()");
    let before = loads();
    let host = place.path().display().to_string();
    let led_astray = setup.spawn_with(&["--postgres", &host]);
    setup.wait_published();
    led_astray.wait_for_event(LIMIT, |event| event["level"] == "ERROR");
    assert_eq!(loads(), before, "the other server was reloaded");
    assert!(pgsvid.is_running());
}

/// PostgreSQL's messages, as far as a login needs them.
fn message(letter: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![letter];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body);
    message
}

/// Lets everybody in, says that it is a PostgreSQL 15, and answers each statement with `answer` without end.
fn answer_without_end(mut client: UnixStream, answer: &[u8]) {
    let mut bytes = [0; 4096];
    let mut welcome = message(b'R', &[0; 4]);
    welcome.extend(message(b'S', b"server_version\x0015.18\0"));
    welcome.extend(message(b'K', &[0; 8]));
    welcome.extend(message(b'Z', b"I"));
    if client.read(&mut bytes).is_err() || client.write_all(&welcome).is_err() {
        return;
    }
    // One column, whose name is empty.
    let columns = message(b'T', &[&[0, 1][..], b"\0", &[0; 18]].concat());
    if client.read(&mut bytes).is_err() || client.write_all(&columns).is_err() {
        return;
    }
    // Ends when the client does.
    while client.write_all(answer).is_ok() {}
}

#[test]
fn a03_answers_without_end_cost_no_memory() {
    let other = Directory::new();
    let idle = {
        let (setup, pgsvid) = run(&other.subdirectory("nobody"), "");
        let resident = pgsvid.process().resident();
        drop(setup);
        resident
    };
    let many = |message: &[u8]| message.repeat(10_000);
    let answers: [(&str, Vec<u8>); 5] = [
        ("rows", many(&message(b'D', &[0, 1, 0xff, 0xff, 0xff, 0xff]))),
        ("wide rows", message(b'D', &[&[0xff, 0xff][..], &vec![0xff; 4 * 65_535]].concat())),
        ("statements done", many(&message(b'C', b"\0"))),
        ("notices", many(&message(b'N', b"SNOTICE\0\0"))),
        (
            "a message of two gigabytes",
            [&[b'D', 0x7f, 0xff, 0xff, 0xff][..], &vec![0; 100_000]].concat(),
        ),
    ];
    for (number, (what, answer)) in answers.into_iter().enumerate() {
        let directory = other.subdirectory(&number.to_string());
        let (seen, begun) = mpsc::channel();
        listen_as(Account::server(), &socket_in(&directory), move |client| {
            answer_without_end(client, &answer);
            let _ = seen.send(());
        });
        let (_setup, pgsvid) = run(&directory, "");
        // The second connection begins when the first has been given up.
        for _ in 0..2 {
            begun.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        let peak = pgsvid.process().peak();
        assert!(peak < idle + 16 * 1024, "{what}: {peak} KiB at most, {idle} KiB idle");
    }
}

/// Nothing was lost, and the words of a library's parser help nobody.
#[test]
fn a60_an_error_with_an_unknown_severity_is_reported_as_not_postgresqls_own() {
    let directory = Directory::new();
    let odd = message(b'E', b"SODD\0VODD\0C42501\0Mno\0\0");
    listen_as(Account::server(), &socket_in(directory.path()), move |client| {
        answer_without_end(client, &odd);
    });
    let (_setup, pgsvid) = run(directory.path(), "");
    pgsvid.wait_for_event(LIMIT, |event| {
        event.to_string().contains("the server's answer is not PostgreSQL's own")
    });
}

/// PostgreSQL stops between the print of a command and its use, and another user listens in its place.
#[test]
fn b100_a_printed_command_talks_to_no_other_users_process_in_postgresqls_place() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let shared = setup.cluster.socket_directory();
    std::os::unix::fs::chown(shared, Some(0), Some(0)).unwrap();
    chmod(shared, Mode::from_raw_mode(0o1777)).unwrap();
    let socket = shared.join(format!(".s.PGSQL.{}", setup.cluster.port()));
    let stranger = Account::third().expect("the tests run as root");
    for right in ["pg_write_server_files", "EXECUTE ON FUNCTION lo_export(oid, text)"] {
        admin(&setup, &format!("GRANT {right} TO pgsvid"));
        let report = check(&setup, &[]);
        let finding = one(&report, "warning", "own-role-superuser");
        setup.cluster.stop(test_support::Mode::Fast);
        let (serve, counts) = count_bytes();
        listen_as(&stranger, &socket, serve);
        let script = ["-c", finding["command"].as_str().unwrap()];
        let program = Program::spawn_as(Account::server(), "/bin/bash", script, &[]);
        assert!(!program.wait_exit(LIMIT).success(), "{finding:#}");
        assert_eq!(counts.recv_timeout(LIMIT), Ok(0), "{finding:#}");
        std::fs::remove_file(&socket).unwrap();
        setup.cluster.start();
        paste(finding);
        assert!(found(&check(&setup, &[]), "warning", "own-role-superuser").is_empty());
    }
}
