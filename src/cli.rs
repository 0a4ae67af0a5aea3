//! The command line: arguments, printing and exit status.

#![allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "the doc comments of the arguments are the help texts, where backticks would show"
)]

mod exec;
mod fetch;
mod inspect;
mod probe;
mod setup;
mod status;
mod version;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::{Config, Environment, Flags, LONGEST};
use crate::daemon::{self, Notify};
use crate::doctor::{self, check::Scope};
use crate::hooks;
use crate::http::Listener;
use crate::parent::{self, Channel};
use crate::sandbox;
use crate::telemetry;
use crate::text::{harmless, harmless_json};
use crate::threads;

/// Longest wait until standard error accepts the next part of a message, which has at most [`ROOM`] bytes.
const WRITE_LIMIT: Duration = Duration::from_secs(1);
/// A writable pipe has room for at least this many bytes, `PIPE_BUF` (`pipe(7)`).
const ROOM: usize = 4096;
/// Most threads that wait for a file system or a name server that does not answer. They are not ended.
const MOST_BLOCKED: usize = 4;
/// Exit status: the command failed.
const FAILED: u8 = 1;
/// Exit status: the command line or the configuration is wrong.
const MISUSED: u8 = 2;

/// Keeps PostgreSQL's TLS certificates fresh from the SPIFFE Workload API, and proves that they are served.
#[derive(Debug, Parser)]
#[command(name = "pgsvid", version, disable_help_subcommand = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep certificates fresh; reload and verify PostgreSQL
    ///
    /// Publishes each new SVID as svid.pem, svid_key.pem and svid_bundle.pem, all at once. With --postgres (or a
    /// [postgres] table in the configuration) PostgreSQL is reloaded over its Unix socket, and a TLS handshake
    /// proves that it serves the new certificate. Without, the files are published for clients.
    ///
    /// Ends on SIGTERM and SIGINT; a second one ends it at once. SIGHUP publishes, reloads and verifies again.
    Run(Box<Settings>),
    /// Start an application once there is a set, and keep the set fresh while it runs
    ///
    /// Waits until a valid set is published, starts the application with the variables that its driver reads, and works as
    /// `run` beside it, outside of the application's reach. Every signal is passed on to the application, and all ends with
    /// it. If pgsvid itself fails, the application goes on.
    ///
    /// Exit status: that of the application, or 128 and the number of the signal that has ended it. Without an application:
    /// 124 no set in time, 125 pgsvid cannot do its work (the configuration, the directory), 126 the application cannot be
    /// executed, 127 there is no such program, 128 and its number after a signal.
    Exec(Box<exec::Arguments>),
    /// Publish one generation, then exit (init container, cron, scripts)
    ///
    /// Asks the agent first. If it does not answer within two seconds, a published set with more than half of its lifetime
    /// left is enough. (If other users may rename files in the directory, it waits for half of the time limit.) PostgreSQL is
    /// neither reloaded nor verified: start it, or `pgsvid run`, afterwards.
    Fetch {
        #[command(flatten)]
        settings: Box<Settings>,
        /// Give up after this time: 30s, 5m, 1h
        #[arg(long, value_name = "TIME", default_value = "1m", value_parser = timeout)]
        timeout: Duration,
        /// Accept only what the agent offers now: fail if it does not answer in time, even if a set is published
        #[arg(long)]
        fresh: bool,
    },
    /// Examine everything, explain what is wrong and how to fix it
    ///
    /// Examines the configuration, the agent, the published files, PostgreSQL (over SQL and over TLS), which clients it lets
    /// in, and what clients read; changes nothing. Run it as the user and with the settings of `run`.
    ///
    /// Exit status: 0 nothing is wrong, 1 something is, 2 the command line or the configuration is wrong.
    Check {
        #[command(flatten)]
        settings: Box<Settings>,
        /// Examine only the configuration: no agent, no files, no PostgreSQL
        #[arg(long)]
        offline: bool,
        /// Log in over TLS with the published certificate as this role, and explain a refusal
        #[arg(long, value_name = "ROLE", conflicts_with = "offline")]
        as_client: Option<String>,
        /// How to print the findings
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print or apply what PostgreSQL needs: role, settings, pg_hba.conf, pg_ident.conf
    ///
    /// The output only depends on the configuration. Each piece gives its reason, and is ready to paste or mount.
    #[command(subcommand)]
    Setup(Box<setup::Setup>),
    /// Show the certificate that a PostgreSQL serves
    ///
    /// Does not log in, and leaves no trace in the server's log. Judges the certificate by the bundle, and exits with 1 if
    /// the server shows none, or one that has expired or that the bundle does not vouch for.
    Probe(Box<probe::Probe>),
    /// Show what is inside certificate files
    ///
    /// Reads PEM and DER, and shows whether key, leaf, chain and bundle belong together, and what pg_ident.conf needs. Of
    /// keys it shows only the type. Exits with 1 if something does not belong together, has expired or cannot be read.
    Inspect(Box<inspect::Inspect>),
    /// Ask the running daemon
    ///
    /// Reads the daemon's address from the configuration (health.listen), unless --socket gives it. Accepts the flags of
    /// `run`, but only uses --config.
    ///
    /// Exit status: 0 ready, 1 not ready or no answer, 2 the command line or the configuration is wrong. With --startup or
    /// --live, 0 and 1 answer that question instead. With --sessions, 0 means that it has answered.
    Status(Box<status::Arguments>),
    /// Show the version, and what this program was built from
    Version,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For scripts
    Json,
}

/// The settings of every command that uses the published files and a PostgreSQL.
#[derive(Debug, Args)]
struct CommonFlags {
    /// Configuration file [env: PGSVID_CONFIG] [default: /etc/pgsvid/pgsvid.toml, if it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Configuration of spiffe-helper, as it stands, in place of a configuration file
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    helper_config: Option<PathBuf>,
    /// Directory to publish to; it must exist [env: PGSVID_DIRECTORY]
    #[arg(long, short, value_name = "DIR")]
    directory: Option<String>,
    /// Group that may read the key, by name or number; only as root [env: PGSVID_GROUP]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Of several [[postgres]] tables, use only the one with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Reload and verify the PostgreSQL whose Unix socket is in this directory [env: PGSVID_POSTGRES]
    #[arg(long, value_name = "DIR")]
    postgres: Option<String>,
    /// PostgreSQL's port, which names its socket [env: PGPORT] [default: 5432]
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Role that may call pg_reload_conf() [env: PGSVID_USER, then PGUSER] [default: pgsvid]
    #[arg(long, value_name = "ROLE")]
    user: Option<String>,
    /// Database in which the role may call it [env: PGSVID_DATABASE, then PGDATABASE] [default: postgres]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Where to verify what is served: auto, none or HOST:PORT [env: PGSVID_VERIFY] [default: auto]
    #[arg(long, value_name = "WHERE")]
    verify: Option<String>,
}

#[derive(Debug, Args)]
struct Settings {
    /// The Workload API, unix:///path or tcp://IP:PORT [env: PGSVID_ENDPOINT, then SPIFFE_ENDPOINT_SOCKET]
    #[arg(long, value_name = "URI")]
    endpoint: Option<String>,
    /// Use the SVID with this SPIFFE ID, and no other [env: PGSVID_SPIFFE_ID] [default: the first]
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<String>,
    /// Use the SVID with this hint [env: PGSVID_HINT]
    #[arg(long, value_name = "HINT")]
    hint: Option<String>,
    /// Host names that clients connect to, separated by commas; warn if the SVID lacks one [env: PGSVID_DNS_NAMES]
    #[arg(long, value_name = "NAMES")]
    dns_names: Option<String>,
    #[command(flatten)]
    place: CommonFlags,
    /// text or json [env: PGSVID_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace [env: PGSVID_LOG_LEVEL] [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl From<CommonFlags> for Flags {
    fn from(place: CommonFlags) -> Self {
        Self {
            config: place.config,
            helper_config: place.helper_config,
            directory: place.directory,
            group: place.group,
            name: place.name,
            postgres: place.postgres,
            port: place.port,
            user: place.user,
            database: place.database,
            verify: place.verify,
            ..Self::default()
        }
    }
}

impl From<Settings> for Flags {
    fn from(settings: Settings) -> Self {
        Self {
            endpoint: settings.endpoint,
            spiffe_id: settings.spiffe_id,
            hint: settings.hint,
            dns_names: settings.dns_names,
            log_format: settings.log_format,
            log_level: settings.log_level,
            ..settings.place.into()
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() && duration <= LONGEST => Ok(duration),
        _ => Err("write 30s, 5m or 1h".to_owned()),
    }
}

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
            Ok(channel) => run(*settings, channel, environment),
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
        let status = if error.is::<daemon::NotInTime>() { parent::NO_SET } else { FAILED };
        Self { status, text: format!("{error:#}") }
    }
}

fn load(flags: impl Into<Flags>, environment: &Environment) -> Result<Config, Failure> {
    Config::load(&flags.into(), environment)
        .map_err(|error| Failure { status: MISUSED, text: error.to_string() })
}

/// Runs the daemon.
fn run(settings: Settings, channel: Channel, environment: &Environment) -> Result<(), Failure> {
    let config = load(settings, environment)?;
    run_with(config, channel, environment, None)
}

/// Runs the daemon with this configuration, and beside this application of `exec`.
fn run_with(
    mut config: Config,
    channel: Channel,
    environment: &Environment,
    application: Option<exec::Wanted>,
) -> Result<(), Failure> {
    if config.once {
        let text =
            "the helper.conf says daemon_mode = false: run pgsvid fetch instead, or leave it out"
                .to_owned();
        return Err(Failure { status: MISUSED, text });
    }
    let log = config.log;
    // Before anything but the configuration is read: from here on the parent runs these hooks, and no others.
    daemon::agree_on_hooks(&mut config, &channel)?;
    let application = application
        .map(|exec::Wanted { settings, concerns }| {
            daemon::agree_on_application(&mut config, &settings, concerns, &channel)
        })
        .transpose()?;
    // Sockets are opened before the sandbox is entered. `confine` and `listen` must be called before any other thread starts,
    // and `telemetry::start` starts the first one.
    let listener = config.health.as_ref().map(Listener::bind).transpose();
    // Somebody else may have taken the address between two daemons: renewals matter more than the answers there.
    let listener = match listener {
        Err(error) if channel.predecessor().is_none() => {
            return Err(anyhow::Error::from(error).into());
        }
        listener => listener,
    };
    let manager = Notify::open(environment).map_err(|error| {
        anyhow::anyhow!("cannot reach the service manager at $NOTIFY_SOCKET: {error}")
    })?;
    daemon::turn_off_output();
    let confined = daemon::confine(config, manager.as_ref())?;
    channel.ignore_signals();
    let _telemetry = telemetry::start(log).map_err(anyhow::Error::from)?;
    telemetry::tell_panics(daemon::running_task);
    Ok(on_one_thread(daemon::run(confined, channel, listener, manager, application))?)
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

/// Colours are used only on terminals whose user wants them (<https://no-color.org>).
fn colours(environment: &Environment) -> bool {
    let unwanted = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = environment.get("TERM").is_none_or(|value| value == "dumb");
    std::io::stdout().is_terminal() && !unwanted && !dumb
}

/// Prints a result. A closed pipe is no failure.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints JSON, which may go to a terminal.
fn say_json(text: &str) {
    say(&harmless_json(text));
}

/// The text with every line escaped, because it may repeat foreign text, such as the name of a server or of a file.
fn lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Prints a message to standard error, escaped. Gives up if standard error accepts nothing for [`WRITE_LIMIT`], because a full
/// pipe that nobody reads must not keep the process alive.
fn complain(text: &str) {
    let line = format!("{}\n", lines(text));
    let mut error = std::io::stderr();
    let limit = Timespec::try_from(WRITE_LIMIT).ok();
    for part in line.as_bytes().chunks(ROOM) {
        let ready = poll(&mut [PollFd::new(&error, PollFlags::OUT)], limit.as_ref());
        if ready != Ok(1) || error.write_all(part).is_err() {
            return;
        }
    }
}
