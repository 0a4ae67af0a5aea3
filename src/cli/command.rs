//! The commands, with their help texts.

use std::time::Duration;

use clap::{Parser, Subcommand};

use super::flags::{Format, Settings, timeout};
use super::{exec, inspect, probe, setup, status};

/// Keeps PostgreSQL's TLS certificates fresh from the SPIFFE Workload API, and proves that they are served.
#[derive(Debug, Parser)]
#[command(name = "pgsvid", version, disable_help_subcommand = true, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
    /// the server shows none, or one that has expired or that no authority of the bundle has signed.
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
