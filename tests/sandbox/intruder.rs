//! What an attacker would try, and what the daemon must do, before and after the sandbox is entered.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use memmap2::MmapMut;
use pgsvid::config::{Config, Flags};
use pgsvid::daemon;
use pgsvid::timing::Clocks;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use serde_json::{Value, json};

/// Set in this program's environment where it is to be the intruder; `threads` lets it start one too early.
pub(crate) const VARIABLE: &str = "INTRUDER";

/// Name, and error number or 0.
type Outcomes = BTreeMap<&'static str, i32>;

/// Reads where to try what, tries it, enters the sandbox, tries again, and prints what came of it.
pub(crate) fn main() {
    let plan: Value = serde_json::from_str(&std::env::args().nth(1).unwrap()).unwrap();
    let plan = Plan::of(&plan);
    let mut victim = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let before = (attempts(&plan, "before", &mut victim), needs(&plan));
    let mut victim = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    if std::env::var(VARIABLE).unwrap() == "threads" {
        std::thread::spawn(std::thread::park);
    }
    let flags = Flags { config: Some(plan.configuration.clone()), ..Flags::default() };
    let config = Config::load(&flags, &BTreeMap::<String, OsString>::new()).unwrap();
    let enabled = config.sandbox.enabled;
    let entered = daemon::confine(config, None).map(drop).map_err(|error| format!("{error:#}"));
    let mut after = (attempts(&plan, "after", &mut victim), needs(&plan));
    if enabled && entered.is_ok() {
        // If it succeeded, there would be nobody left to tell.
        let error = Command::new("/bin/true").exec();
        after.0.insert("become a program", outcome::<()>(Err(error)));
    }
    let outcome = json!({
        "entered": entered,
        "attempts": { "before": before.0, "after": after.0 },
        "needs": { "before": before.1, "after": after.1 },
    });
    show(&outcome.to_string());
}

#[expect(clippy::print_stdout, reason = "it is read by the test that has started this process")]
fn show(text: &str) {
    println!("{text}");
}

struct Plan {
    configuration: PathBuf,
    directory: PathBuf,
    /// Not of the configuration: nothing here may be touched.
    elsewhere: PathBuf,
    authorities: PathBuf,
    socket: PathBuf,
    port: u16,
    other_port: u16,
}

impl Plan {
    fn of(plan: &Value) -> Self {
        let path = |name: &str| PathBuf::from(plan[name].as_str().unwrap());
        let port = |name: &str| u16::try_from(plan[name].as_u64().unwrap()).unwrap();
        Self {
            configuration: path("configuration"),
            directory: path("directory"),
            elsewhere: path("elsewhere"),
            authorities: path("authorities"),
            socket: path("socket"),
            port: port("port"),
            other_port: port("other_port"),
        }
    }
}

fn outcome<T>(done: io::Result<T>) -> i32 {
    done.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

/// What must be refused.
fn attempts(plan: &Plan, when: &str, victim: &mut Child) -> Outcomes {
    let place = plan.elsewhere.join(when);
    let elsewhere = |name: &str| place.join(name);
    Outcomes::from([
        ("read a file", outcome(File::open(elsewhere("secret")))),
        ("read beside the socket", outcome(File::open(plan.socket.with_extension("0.lock")))),
        ("read about its mounts", outcome(fs::read("/proc/self/mountinfo"))),
        ("read the configuration", outcome(File::open(&plan.configuration))),
        ("read the users", outcome(File::open("/etc/passwd"))),
        ("list a directory", outcome(fs::read_dir(&place))),
        ("list that of the authorities", outcome(fs::read_dir(plan.authorities.parent().unwrap()))),
        ("make a file", outcome(File::create(elsewhere("made")))),
        ("change a file", outcome(OpenOptions::new().append(true).open(elsewhere("secret")))),
        (
            "change the authorities",
            outcome(OpenOptions::new().append(true).open(&plan.authorities)),
        ),
        ("make a directory", outcome(calls::make_directory(&elsewhere("made_directory")))),
        ("remove a directory", outcome(calls::remove_directory(&elsewhere("directory")))),
        ("make a link", outcome(calls::link("/etc", &elsewhere("link")))),
        ("rename a file", outcome(calls::rename(&elsewhere("file"), &elsewhere("renamed")))),
        ("remove a file", outcome(calls::remove(&elsewhere("another")))),
        ("link a file into the directory", outcome(hard_link(&elsewhere("secret"), plan))),
        ("change a mode", outcome(fs::set_permissions(elsewhere("secret"), mode(0o644)))),
        // Of a file that may be read, and to a mode that is given to files.
        ("change the mode of the authorities", outcome(change_mode(&plan.authorities, 0o644))),
        ("change their group", outcome(change_group(&plan.authorities))),
        ("connect to another port", outcome(connect(plan.other_port))),
        ("listen", outcome(TcpListener::bind("127.0.0.1:0"))),
        ("send a datagram", outcome(UdpSocket::bind("127.0.0.1:0"))),
        ("run a program", outcome(Command::new("/bin/true").status())),
        ("look into another process", outcome(fs::read(format!("/proc/{}/environ", victim.id())))),
        ("kill another process", outcome(victim.kill())),
        ("make memory executable", outcome(executable())),
        ("allow core dumps", outcome(core_limit())),
        ("let others look in", outcome(be_dumpable())),
    ])
}

fn hard_link(secret: &Path, plan: &Plan) -> io::Result<()> {
    let link = plan.directory.join("hard_link");
    fs::hard_link(secret, &link)?;
    fs::remove_file(link)
}

fn mode(bits: u32) -> Permissions {
    Permissions::from_mode(bits)
}

fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", port))
}

fn executable() -> io::Result<()> {
    MmapMut::map_anon(4096)?.make_exec().map(drop)
}

fn core_limit() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Core);
    Ok(rustix::process::setrlimit(Resource::Core, Rlimit { current: limit.maximum, ..limit })?)
}

fn be_dumpable() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// What must go on.
fn needs(plan: &Plan) -> Outcomes {
    let within = |name: &str| plan.directory.join(name);
    Outcomes::from([
        ("make a directory", outcome(calls::make_directory(&within("generation")))),
        ("make a file", outcome(calls::make_file(&within("generation/file")))),
        (
            "make a file that others read",
            outcome(calls::make_readable(&within("generation/other"))),
        ),
        ("read it back", outcome(fs::read(within("generation/file")))),
        ("make a link", outcome(calls::link("generation", &within("link")))),
        ("rename a link", outcome(calls::rename(&within("link"), &within("data")))),
        ("read a link", outcome(calls::read_link(&within("data")))),
        ("list", outcome(fs::read_dir(&plan.directory))),
        ("remove a link", outcome(calls::remove(&within("data")))),
        ("remove a file", outcome(calls::remove(&within("generation/file")))),
        ("remove the other file", outcome(calls::remove(&within("generation/other")))),
        ("remove a directory", outcome(calls::remove_directory(&within("generation")))),
        ("read the authorities", outcome(fs::read(&plan.authorities))),
        ("read about itself", outcome(fs::read("/proc/self/status"))),
        ("read about its time", outcome(fs::read("/proc/self/stat"))),
        ("connect to the socket", outcome(UnixStream::connect(&plan.socket))),
        ("connect to the port", outcome(connect(plan.port))),
        ("hear of a set clock", outcome(hear_of_the_clock())),
        (
            "start a thread",
            outcome(std::thread::Builder::new().spawn(|| ()).map(std::thread::JoinHandle::join)),
        ),
    ])
}

fn hear_of_the_clock() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let are_reported = runtime.block_on(async { Clocks::compared().are_reported() });
    if are_reported { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// The calls that the daemon makes: the standard library uses others, which are no proof against Landlock.
mod calls {
    use std::io;
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags};

    pub(super) fn make_directory(path: &Path) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(CWD, path, Mode::RWXU)?)
    }

    fn make(path: &Path, mode: Mode) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, mode).map(drop)?)
    }

    pub(super) fn make_file(path: &Path) -> io::Result<()> {
        make(path, Mode::from_raw_mode(0o600))
    }

    pub(super) fn make_readable(path: &Path) -> io::Result<()> {
        make(path, Mode::from_raw_mode(0o644))
    }

    pub(super) fn remove_directory(path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
    }

    pub(super) fn remove(path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(CWD, path, AtFlags::empty())?)
    }

    pub(super) fn link(to: &str, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(to, CWD, path)?)
    }

    pub(super) fn read_link(path: &Path) -> io::Result<()> {
        Ok(rustix::fs::readlinkat(CWD, path, Vec::new()).map(drop)?)
    }

    pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(CWD, from, CWD, to)?)
    }
}

fn change_mode(path: &Path, bits: u32) -> io::Result<()> {
    File::open(path)?.set_permissions(mode(bits))
}

fn change_group(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let group = file.metadata()?.gid();
    std::os::unix::fs::fchown(file, None, Some(group))
}
