//! A set-up in which something breaks at night, and everything that reports it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::Value;
use test_support::{
    Account, Directory, LIMIT, Mark, Pgsvid, Program, Setup, Signal, WallClock, eventually,
};

use crate::table::{Fault, Word};

pub(crate) const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// libfaketime reads its file at each look at the clock, which the sandbox does not allow.
const UNSANDBOXED: &str = "[sandbox]\nenabled = false\n";

/// Agent, PostgreSQL and pgsvid, at work.
pub(crate) struct Night {
    pub(crate) setup: Setup,
    /// The daemon; `None` while it is stopped.
    pub(crate) pgsvid: Option<Pgsvid>,
    /// What is in the log before the fault.
    pub(crate) mark: Mark,
    /// Options of pgsvid that go before the usual ones.
    pub(crate) options: Vec<String>,
    /// Usual options that it is started without.
    pub(crate) without: &'static [&'static str],
    /// Another program, which is at work until it is dropped.
    pub(crate) another: Option<Program>,
    clock: Option<WallClock>,
    configuration: &'static str,
    tools: Directory,
}

impl Night {
    /// Everything runs, and is well but for a clock that is wrong.
    #[track_caller]
    pub(crate) fn begin(fault: &Fault) -> Self {
        let setup = (fault.plan)(Setup::builder(PGSVID)).create();
        let clock = fault.ahead.map(|ahead| {
            let clock = WallClock::new();
            clock.set(ahead);
            clock
        });
        let mut night = Self {
            setup,
            pgsvid: None,
            mark: Mark::default(),
            options: Vec::new(),
            without: &[],
            another: None,
            clock,
            configuration: fault.configuration,
            tools: Directory::new(),
        };
        night.configure("");
        night.start();
        night.setup.wait_published();
        night.setup.cluster.start();
        night.pgsvid().current(1);
        if night.clock.is_none() {
            eventually(LIMIT, "all is well", || night.word() == Some(Word::Current));
        }
        night.mark = night.pgsvid().mark();
        night
    }

    /// Adds lines to the configuration, for the next start.
    pub(crate) fn configure(&self, more: &str) {
        let sandbox = if self.clock.is_some() { UNSANDBOXED } else { "" };
        self.setup.configure(&format!(
            "{more}\n[health]\nlisten = 'unix:{}'\n{sandbox}{}",
            self.socket().display(),
            self.configuration
        ));
    }

    #[track_caller]
    pub(crate) fn pgsvid(&self) -> &Pgsvid {
        self.pgsvid.as_ref().expect("pgsvid runs")
    }

    /// Starts the daemon with `options`, and without those of the usual ones that they replace.
    pub(crate) fn start(&mut self) {
        self.pgsvid = Some(match &self.clock {
            Some(clock) => self.setup.spawn_with_clock(clock),
            None => self.setup.spawn_given(&self.arguments()),
        });
        self.mark = Mark::default();
    }

    /// The first thing that anybody does at night.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub(crate) fn stop(&mut self) {
        if let Some(pgsvid) = self.pgsvid.take() {
            pgsvid.terminate(LIMIT);
        }
    }

    /// The agent renews.
    pub(crate) fn renew(&self) {
        self.setup.agent.rotate().unwrap();
    }

    /// Sets the clock that it was begun with.
    pub(crate) fn set_clock(&self, ahead: i64) {
        self.clock.as_ref().expect("a clock of its own").leap(ahead);
    }

    /// A superuser's statements.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.setup.cluster.sql("postgres", "postgres", statements)
    }

    /// PostgreSQL reads its files again, and has done so.
    #[track_caller]
    pub(crate) fn reload(&self) {
        let loaded = || self.sql("SELECT pg_conf_load_time()");
        let before = loaded();
        self.setup.cluster.sighup();
        eventually(LIMIT, "the server has read its files", || loaded() != before);
    }

    /// pgsvid does everything again.
    pub(crate) fn ask_again(&self) {
        self.pgsvid().signal(Signal::HUP);
    }

    fn socket(&self) -> PathBuf {
        self.setup.other.join("status.sock")
    }

    /// What an address of the listener answers; `None` while nobody listens.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The whole document.
    pub(crate) fn view(&self) -> Option<Value> {
        serde_json::from_str(&self.get("/status")?.1).ok()
    }

    /// The word by the document.
    pub(crate) fn word(&self) -> Option<Word> {
        let view = self.view()?;
        Some(if view["ready"] != true {
            Word::NotReady
        } else if view["degraded"].as_array()?.is_empty() {
            Word::Current
        } else {
            Word::Degraded
        })
    }

    /// `pgsvid status` as it is typed: its first word, and its exit status.
    pub(crate) fn typed(&self) -> (String, i32) {
        let socket = format!("unix:{}", self.socket().display());
        let program = self.command("status", &["--socket".to_owned(), socket]);
        let status = program.wait_exit(LIMIT).code().unwrap();
        (program.standard_output(), status)
    }

    /// `pgsvid check` with the arguments of the daemon: the report, and the exit status.
    pub(crate) fn check(&self) -> (Value, i32) {
        self.check_with(&[])
    }

    pub(crate) fn check_with(&self, more: &[&str]) -> (Value, i32) {
        let arguments: Vec<String> = ["--format", "json"]
            .into_iter()
            .chain(more.iter().copied())
            .map(str::to_owned)
            .chain(self.arguments())
            .collect();
        let program = self.command("check", &arguments);
        let status = program.wait_exit(LIMIT).code().unwrap();
        let report = serde_json::from_str(&program.standard_output());
        (report.unwrap_or_else(|_| panic!("{}", program.standard_error())), status)
    }

    /// What the daemon is started with, and `check`.
    fn arguments(&self) -> Vec<String> {
        let usual = self.setup.arguments();
        let kept = usual.chunks(2).filter(|pair| {
            !self.options.contains(&pair[0]) && !self.without.contains(&pair[0].as_str())
        });
        kept.flatten().chain(&self.options).cloned().collect()
    }

    /// A command of pgsvid's, by the same clock as the daemon.
    fn command(&self, name: &str, arguments: &[String]) -> Program {
        let variables = self.clock.as_ref().map(WallClock::variables);
        let variables: Vec<(&str, &str)> =
            variables.iter().flatten().map(|(name, value)| (*name, value.as_str())).collect();
        let arguments = [name.to_owned()].into_iter().chain(arguments.iter().cloned());
        Program::spawn(PGSVID, arguments, &variables)
    }

    /// Runs a command as it is printed, in the shell of PostgreSQL's user, who may use sudo. What `spire-server` is told is
    /// written down: [`Night::told_to_spire`].
    #[track_caller]
    pub(crate) fn paste(&self, command: &str) {
        self.tools.write(
            "sudo",
            "#!/bin/sh\nif [ \"$1\" = -u ]; then shift 2; fi\nexec \"$@\"\n",
            0o755,
        );
        let told = self.tools.join("told");
        let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\n", told.display());
        self.tools.write("spire-server", script, 0o755);
        let script = format!("PATH={}:$PATH\n{command}", self.tools);
        let program = Program::spawn_as(Account::server(), "/bin/bash", ["-c", &script], &[]);
        let status = program.wait_exit(LIMIT);
        assert!(status.success(), "{command}\n{}", program.standard_error());
    }

    /// The arguments that the pasted command has given to `spire-server`.
    #[track_caller]
    pub(crate) fn told_to_spire(&self) -> Vec<String> {
        let told = std::fs::read_to_string(self.tools.join("told")).unwrap();
        told.lines().map(str::to_owned).collect()
    }
}

/// All findings of a report of `check`.
pub(crate) fn findings(report: &Value) -> Vec<&Value> {
    let sections = report["sections"].as_array().expect("a report");
    sections.iter().flat_map(|section| section["findings"].as_array().unwrap()).collect()
}
