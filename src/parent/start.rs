//! One daemon: start it, give it orders, and wait for it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};

use super::application::Application;
use super::channel::{APPLICATION, HOOK, HookNumbers, Order, Predecessor, REPORT, TABLE, VARIABLE};
use super::duty::Ended;
use super::hook_runs::HookRuns;
use super::itself::itself;
use super::report::Report;
use crate::hooks::Answer;

/// The most bytes to read at a time: of the table of hooks, and of requests, each of which has an answer.
const AT_A_TIME: usize = 8192;
const REQUESTS_AT_A_TIME: usize = 64;

/// The variables that the daemon of `exec` gets: those of libpq (for `[client]`), of the service manager, of Kubernetes, and of the
/// libraries with which it runs. No beginnings: other programs have secrets in names that begin alike, such as
/// `PGRST_JWT_SECRET`.
const VARIABLES: [&str; 53] = [
    "SPIFFE_ENDPOINT_SOCKET",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_LOG",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "TZ",
    "TZDIR",
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "PGAPPNAME",
    "PGCHANNELBINDING",
    "PGCLIENTENCODING",
    "PGCONNECT_TIMEOUT",
    "PGDATABASE",
    "PGDATESTYLE",
    "PGGEQO",
    "PGGSSDELEGATION",
    "PGGSSENCMODE",
    "PGGSSLIB",
    "PGHOST",
    "PGHOSTADDR",
    "PGKRBSRVNAME",
    "PGLOADBALANCEHOSTS",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGOPTIONS",
    "PGPORT",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLCOMPRESSION",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLKEY",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLROOTCERT",
    "PGSSLSNI",
    "PGTARGETSESSIONATTRS",
    "PGTZ",
    "PGUSER",
];
/// How the names of the configuration's variables begin.
const OWN: &str = "PGSVID_";

fn concerns_daemon(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(OWN.as_bytes()) || VARIABLES.iter().any(|known| known.as_bytes() == name)
}

pub(super) struct Daemon {
    pid: Pid,
    stream: UnixStream,
    /// Its number among this parent's daemons, from 0.
    number: u32,
    /// Bytes that it has sent, and that are not handled yet.
    pub(super) received: Vec<u8>,
    /// Whether it has sent its table of hooks.
    pub(super) has_table: bool,
    /// Whether it has sent the settings of the application.
    pub(super) has_settings: bool,
    /// Whether it has published a valid set.
    pub(super) is_ready: bool,
}

impl Daemon {
    /// Starts it with the arguments of this process. If it `hides`, no signal of a terminal reaches it, and it gets no variable of
    /// the application.
    pub(super) fn start(
        arguments: &[OsString],
        predecessor: Option<&Predecessor>,
        hides: bool,
    ) -> io::Result<Self> {
        let (stream, its) = UnixStream::pair()?;
        let mut command = itself(arguments);
        if hides {
            command.process_group(0);
            // The rest is the application's, such as a password.
            for (name, _) in env::vars_os().filter(|(name, _)| !concerns_daemon(name)) {
                command.env_remove(name);
            }
        }
        let child = command
            .args(arguments.iter().skip(1))
            .env(VARIABLE, Predecessor::variable(predecessor))
            // The variable names the parent, but the daemon notifies the service manager.
            .env_remove("WATCHDOG_PID")
            .stdin(OwnedFd::from(its))
            .spawn()?;
        let number = predecessor.map_or(0, |one| one.restarts);
        let pid = Pid::from_child(&child);
        Ok(Self {
            pid,
            stream,
            number,
            received: Vec::new(),
            has_table: false,
            has_settings: false,
            is_ready: false,
        })
    }

    /// Its number among this parent's daemons, from 0.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn send_order(&self, order: Order) {
        self.send(&[order.byte()]);
    }

    /// Sends the numbers of its hooks.
    pub(super) fn send_hook_numbers(&self, numbers: &HookNumbers) {
        self.send(&[&[TABLE], &numbers[..]].concat());
    }

    /// Sends whether the settings of the application are those of the first daemon.
    pub(super) fn send_agreement(&self, agrees: bool) {
        self.send(&[APPLICATION, agrees.into()]);
    }

    /// Sends what has become of the application.
    pub(super) fn send_report(&self, report: Report) {
        self.send(&[&[REPORT], &report.bytes()[..]].concat());
    }

    /// Sends the result of a hook.
    pub(super) fn send_answer(&self, answer: &Answer) {
        self.send(&[&[HOOK], &answer.bytes()[..]].concat());
    }

    /// Sends all bytes or none, since they fit into one buffer of the kernel. If that is full, the daemon has unread messages
    /// already, and these bytes are dropped.
    fn send(&self, bytes: &[u8]) {
        let _ = rustix::net::send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    /// Receives bytes from the daemon. Returns whether the daemon has closed the channel: the process has ended, or is about to.
    pub(super) fn receive(&mut self) -> bool {
        let mut part = [0; AT_A_TIME];
        let most = if self.has_table { REQUESTS_AT_A_TIME } else { AT_A_TIME };
        match recv(&self.stream, &mut part[..most], RecvFlags::DONTWAIT) {
            Ok((length @ 1.., _)) => {
                self.received.extend_from_slice(part.get(..length).unwrap_or_default());
                false
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            Ok((0, _)) | Err(_) => true,
        }
    }

    /// Kills the daemon with SIGKILL, waits until it has ended, and returns how.
    pub(super) fn end(&self) -> Ended {
        self.signal(Signal::KILL);
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => return exited(status.as_raw()),
                Ok(None) | Err(Errno::INTR) => {}
                Err(_) => return Ended::Unknown("its status was lost".to_owned()),
            }
        }
    }
}

/// Waits for every child that has ended, sends the daemon the results of its hooks, tells the application of its end, and returns
/// how the daemon ended, if it did.
/// The first process of a container also adopts orphans.
pub(super) fn reap(
    daemon: Option<&Daemon>,
    hook_runs: &mut HookRuns,
    mut application: Option<&mut Application<'_>>,
) -> Option<Ended> {
    let mut ended = None;
    let before = |hook_runs: &mut HookRuns, application: Option<&Application<'_>>| {
        hook_runs.before_reaping();
        if let Some(application) = application {
            application.before_reaping();
        }
    };
    before(hook_runs, application.as_deref());
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if daemon.is_some_and(|daemon| daemon.pid == pid) {
            ended = Some(exited(status.as_raw()));
        } else if let Some(application) = &mut application
            && application.reaped(pid, ExitStatus::from_raw(status.as_raw()))
        {
            // The application has handled this report.
        } else if let Some((asked_by, answer)) =
            hook_runs.reaped(pid, ExitStatus::from_raw(status.as_raw()))
            && let Some(daemon) = daemon.filter(|daemon| daemon.number == asked_by)
        {
            daemon.send_answer(&answer);
        }
        before(hook_runs, application.as_deref());
    }
    ended
}

fn exited(status: i32) -> Ended {
    Ended::Exited(ExitStatus::from_raw(status))
}

impl AsFd for Daemon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
