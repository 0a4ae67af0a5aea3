//! Child processes that end with the test process.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

use crate::Account;
use crate::directory::session_directory;

const SETPRIV: &str = "/usr/bin/setpriv";

/// Variables that would affect pgsvid or libpq, or make a program contact the system's service manager.
const PREFIXES: [&str; 4] = ["PG", "PGSVID_", "SPIFFE_", "NOTIFY_SOCKET"];

/// A command as this account, in `/`, without the variables that affect pgsvid or libpq.
pub(crate) fn command(program: &Path, account: &Account) -> Command {
    let mut command = Command::new(program);
    prepare(&mut command, account);
    command
}

/// A command for a long-lived process: the kernel sends it `signal` (a name such as `QUIT`) when the test process ends, however
/// that happens.
pub(crate) fn lasting_command(program: &Path, account: &Account, signal: &str) -> Command {
    if !Path::new(SETPRIV).exists() {
        return command(program, account);
    }
    let mut command = Command::new(SETPRIV);
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    prepare(&mut command, account);
    command
}

fn prepare(command: &mut Command, account: &Account) {
    for (name, _) in std::env::vars_os() {
        if PREFIXES.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            command.env_remove(name);
        }
    }
    // libpq gives up if it may not look for its files in the home directory, as `postgres` may not in root's.
    command.env("HOME", session_directory()).env("LC_ALL", "C").current_dir("/");
    account.apply(command);
}

/// Spawns from a thread that lives as long as the process: the kernel signals the death of the parent *thread*, and threads
/// of tests and runtimes end early.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = channel::<Request>();
        thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                for (mut command, reply) in inbox {
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("starts a thread");
        requests
    });
    let (reply, answer) = channel();
    spawner.send((command, reply)).expect("the spawner lives as long as the process");
    answer.recv().expect("the spawner answers each request")
}

/// The path at which `account` can run the program: its own, or that of a copy if a directory above is closed to others, as
/// for a checkout in root's home.
pub(crate) fn executable(program: &Path, account: &Account) -> PathBuf {
    static COPIES: Mutex<Option<HashMap<PathBuf, PathBuf>>> = Mutex::new(None);
    let program = fs::canonicalize(program)
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    let open = |path: &Path| fs::metadata(path).is_ok_and(|status| status.mode() & 0o001 != 0);
    if account == Account::current() || program.ancestors().all(open) {
        return program;
    }
    let mut copies = COPIES.lock().expect("no panic while copying");
    let copies = copies.get_or_insert_default();
    let number = copies.len();
    copies
        .entry(program)
        .or_insert_with_key(|program| {
            let directory = session_directory().join(format!("bin{number}"));
            fs::create_dir(&directory).expect("makes a directory");
            fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("sets a mode");
            let copy = directory.join(program.file_name().unwrap_or(OsStr::new("program")));
            fs::copy(program, &copy).expect("copies a program");
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("sets a mode");
            copy
        })
        .clone()
}
