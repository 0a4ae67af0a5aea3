//! Starting, stopping and signalling.

use std::fs::{self, OpenOptions};
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Cluster;
use crate::eventually::within;
use crate::{Account, Installation, LIMIT, spawn};

/// Longer than recovery after a crash takes on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How to stop a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Waits until all sessions have ended.
    Smart,
    /// Ends the sessions.
    Fast,
    /// Ends at once; the next start recovers.
    Immediate,
}

impl Mode {
    fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

impl Cluster {
    /// Starts the server and waits until it is ready.
    #[track_caller]
    pub fn start(&self) {
        if let Err(log) = self.try_start() {
            panic!("PostgreSQL does not start:\n{log}");
        }
    }

    /// Starts the server; the error is the log of a server that did not start.
    pub fn try_start(&self) -> Result<(), String> {
        for _ in 0..5 {
            let mark = self.log_mark();
            self.start_without_waiting();
            let ready =
                within(START_LIMIT, || (self.is_ready() || !self.is_running()).then_some(()));
            if ready.is_some() && self.is_running() {
                return Ok(());
            }
            if self.is_running() {
                self.stop(Mode::Immediate);
            }
            let log = self.log_since(mark);
            let port_taken = log.contains("Address already in use");
            if !port_taken || self.port_is_known.load(Ordering::SeqCst) {
                return Err(log);
            }
            self.port.store(crate::ports::free(), Ordering::SeqCst);
        }
        Err(self.log())
    }

    /// Starts the server and returns while it may still be starting.
    pub fn start_without_waiting(&self) {
        self.spawn(|command| {
            command.arg("-D").arg(self.data_directory());
        });
    }

    /// Starts the server in another way, and waits until it is ready: `change` gets the command without the data directory.
    #[track_caller]
    pub fn start_as(&self, change: impl FnOnce(&mut Command)) {
        self.spawn(change);
        self.wait_ready();
    }

    fn spawn(&self, change: impl FnOnce(&mut Command)) {
        assert!(!self.is_running(), "PostgreSQL runs already");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("opens the server log");
        let postgres = Installation::found().program("postgres");
        let mut command = spawn::lasting_command(&postgres, Account::server(), "QUIT");
        command
            .args(["-p", &self.port.load(Ordering::SeqCst).to_string()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("duplicates a descriptor"))
            .stderr(log);
        change(&mut command);
        *self.process() = Some(spawn::spawn(command).expect("runs postgres"));
    }

    /// Waits until the running server accepts connections.
    #[track_caller]
    pub fn wait_ready(&self) {
        within(START_LIMIT, || self.is_ready())
            .unwrap_or_else(|| panic!("PostgreSQL is not ready:\n{}", self.log()));
    }

    /// Stops the server and waits for its end.
    #[track_caller]
    pub fn stop(&self, mode: Mode) {
        self.signal(mode.signal());
        self.wait_stopped(STOP_LIMIT);
    }

    /// Stops the server fast and starts it again.
    #[track_caller]
    pub fn restart(&self) {
        self.stop(Mode::Fast);
        self.start();
    }

    /// Makes the server read its files again, as anybody's `pg_ctl reload` does.
    #[track_caller]
    pub fn sighup(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGHUP, and waits until the log shows the reload. Then two calls are two reloads, and the next connection uses the
    /// present files.
    #[track_caller]
    pub fn reload(&self) {
        let mark = self.log_mark();
        self.sighup();
        self.wait_for_log(mark, LIMIT, "received SIGHUP");
    }

    /// Signals the postmaster.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let process = self.process();
        let child = process.as_ref().expect("PostgreSQL runs");
        kill_process(Pid::from_child(child), signal).expect("signals postgres");
    }

    /// Waits for the end of a server that was asked to stop.
    #[track_caller]
    pub fn wait_stopped(&self, limit: Duration) {
        within(limit, || !self.is_running()).unwrap_or_else(|| {
            panic!("PostgreSQL has not ended within {limit:?}:\n{}", self.log())
        });
    }

    /// Whether the postmaster lives, ready or not.
    pub fn is_running(&self) -> bool {
        let mut process = self.process();
        let Some(child) = process.as_mut() else {
            return false;
        };
        let running = child.try_wait().expect("waits for postgres").is_none();
        if !running {
            *process = None;
        }
        running
    }

    /// The postmaster's process ID.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().expect("PostgreSQL runs").id()
    }

    /// Reads what `pg_ctl` reads (PostgreSQL's `utils/pidfile.h`): the process ID in the first line, its state in the eighth.
    /// It makes no connection, so nothing is logged.
    fn is_ready(&self) -> bool {
        let file = self.data_directory().join("postmaster.pid");
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines();
        let pid = lines.next().and_then(|line| line.parse::<u32>().ok());
        let state = lines.nth(6).unwrap_or_default().trim_end();
        let own = self.process().as_ref().map(Child::id);
        pid.is_some() && pid == own && matches!(state, "ready" | "standby")
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().expect("nobody panicked with the lock")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- PostgreSQL's log\n{}---", self.log());
        }
        let Some(mut child) = self.process.get_mut().ok().and_then(Option::take) else {
            return;
        };
        let pid = Pid::from_child(&child);
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        let _ = kill_process(pid, Signal::QUIT);
        // A test may have stopped it by SIGSTOP.
        let _ = kill_process(pid, Signal::CONT);
        let ended = within(Duration::from_secs(10), || {
            child.try_wait().is_ok_and(|status| status.is_some())
        });
        if ended.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
