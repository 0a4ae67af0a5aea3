//! The command line: arguments, printing and exit status.

#![allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "the doc comments of the arguments are the help texts, where backticks would show"
)]

mod command;
mod exec;
mod fetch;
mod flags;
mod inspect;
mod output;
mod probe;
mod run;
mod setup;
mod status;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use self::command::{Arguments, Command};
use self::flags::{Format, Settings};
use self::output::{colours, complain, say, say_json};
use crate::config::{Config, Environment, Flags};
use crate::daemon;
use crate::doctor::{self, check::Scope};
use crate::hooks;
use crate::parent::{self, Channel};
use crate::sandbox;
use crate::threads;

/// Most threads that wait for a file system or a name server that does not answer. They are not ended.
const MOST_BLOCKED: usize = 4;
/// Exit status: the command failed.
const FAILED: u8 = 1;
/// Exit status: the command line or the configuration is wrong.
const MISUSED: u8 = 2;

/// The definition of the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the command. `main` is the only caller.
#[must_use]
pub fn main(given: Vec<OsString>, environment: &Environment) -> ExitCode {
    // Before anything is parsed: parsing is the daemon's task, and takes memory that its parent would keep.
    let runs = given.get(1).is_some_and(|command| command == "run");
    let executes = given.get(1).is_some_and(|command| command == "exec");
    let line = environment.get(parent::VARIABLE);
    if executes
        && let Some(begins) = line.and_then(|line| line.to_str()).and_then(parent::application)
    {
        let error = parent::become_application(&given, begins);
        complain(&format!("pgsvid: {error}"));
        return ExitCode::from(error.status());
    }
    match line {
        None if runs => keep(&given, environment),
        None if executes => exec::keep(&given, environment),
        // The parent has started this process for one hook: standard input is a socket, over which the result goes back to it.
        Some(line) if runs && line == hooks::LINE => {
            ExitCode::from(if hooks::carry_out() { 0 } else { FAILED })
        }
        _ => execute(given, environment),
    }
}

/// The first process, which starts the daemon.
fn keep(arguments: &[OsString], environment: &Environment) -> ExitCode {
    let notify = environment.get("NOTIFY_SOCKET");
    match parent::keep(arguments, notify, daemon::turn_off_output) {
        // The daemon has printed the reason.
        Ok(status) => ExitCode::from(status),
        Err(error) => not_kept(&error, FAILED),
    }
}

/// Prints why no daemon could be started; the exit status is `status`.
fn not_kept(error: &std::io::Error, status: u8) -> ExitCode {
    let exhausted = error.kind() == std::io::ErrorKind::WouldBlock;
    let remedy = if exhausted { format!(": {}", threads::REMEDY) } else { String::new() };
    complain(&format!("pgsvid: cannot start the daemon: {error}{remedy}"));
    ExitCode::from(status)
}

/// Parses the command line and runs the command, including the daemon of `run`. Not inlined, because it needs a large stack, all
/// pages of which are touched when it begins, and the parent of `run` would keep that memory.
#[inline(never)]
fn execute(given: Vec<OsString>, environment: &Environment) -> ExitCode {
    let arguments = match Arguments::try_parse_from(given) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is printed to standard output and is no failure; clap knows that.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(MISUSED) } else { ExitCode::SUCCESS };
        }
    };
    // Each command may read a key or a password; fetch and check read the published key.
    if let Err(error) = sandbox::keep_out_of_dumps() {
        complain(&format!("pgsvid: {error}"));
        return ExitCode::from(FAILED);
    }
    let outcome = match arguments.command {
        Command::Version => {
            say(&version::text());
            Ok(())
        }
        Command::Check { settings, offline, as_client, format } => {
            check(*settings, &Scope { offline, as_client }, format, environment)
        }
        Command::Run(settings) => match Channel::inherited(environment.get(parent::VARIABLE)) {
            Ok(channel) => run::run(*settings, channel, environment),
            Err(error) => Err(Failure { status: MISUSED, text: error.to_string() }),
        },
        Command::Exec(arguments) => match Channel::inherited(environment.get(parent::VARIABLE)) {
            Ok(channel) => exec::run(*arguments, channel, environment),
            Err(error) => Err(Failure { status: MISUSED, text: error.to_string() }),
        },
        Command::Fetch { settings, timeout, fresh } => {
            fetch::run(*settings, timeout, fresh, environment)
        }
        Command::Setup(what) => setup::run(*what, environment),
        Command::Probe(arguments) => probe::run(*arguments, environment),
        Command::Inspect(arguments) => inspect::run(*arguments, environment),
        Command::Status(arguments) => status::run(*arguments, environment),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, text }) => {
            if !text.is_empty() {
                complain(&format!("pgsvid: {text}"));
            }
            ExitCode::from(status)
        }
    }
}

/// The message, and the exit status.
struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    /// The printed result already shows the failure.
    fn seen() -> Self {
        Self { status: FAILED, text: String::new() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        if error.is::<daemon::Replaced>() {
            // Its log has the reason.
            return Self { status: daemon::REPLACED, text: String::new() };
        }
        let status = if error.is::<daemon::NotInTime>() { parent::NO_SET } else { FAILED };
        Self { status, text: format!("{error:#}") }
    }
}

fn load(flags: impl Into<Flags>, environment: &Environment) -> Result<Config, Failure> {
    Config::load(&flags.into(), environment)
        .map_err(|error| Failure { status: MISUSED, text: error.to_string() })
}

fn check(
    settings: Settings,
    scope: &Scope,
    format: Format,
    environment: &Environment,
) -> Result<(), Failure> {
    let config = load(settings, environment)?;
    let report = on_one_thread(async {
        Ok(Box::pin(doctor::check::check(&config, environment, scope)).await)
    })?;
    match format {
        Format::Text => say(&doctor::text(&report, colours(environment))),
        Format::Json => say_json(&doctor::json(&report)),
    }
    if report.has_failures() { Err(Failure::seen()) } else { Ok(()) }
}

fn on_one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MOST_BLOCKED)
        .thread_keep_alive(Duration::MAX)
        .thread_name("blocking")
        .build()?;
    let outcome = runtime.block_on(work);
    // A thread that hangs in a system call must not keep the process alive.
    runtime.shutdown_background();
    outcome
}
