//! `pgsvid exec`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::flags::{Settings, timeout};
use super::output::complain;
use super::run::{Beside, run_with};
use super::{Failure, MISUSED, load, not_kept};
use crate::config::{Driver, Environment, Flags};
use crate::daemon::Application;
use crate::doctor;
use crate::hooks;
use crate::parent::{self, Channel, Kept, OnRotation};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Give up if there is no set after this time: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = timeout)]
    timeout: Duration,
    /// The variables that the application gets
    #[arg(long, value_enum, value_name = "DRIVER", default_value_t = Variables::Libpq)]
    env: Variables,
    /// Of several [[files.service]] tables, name the section with this name
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// What happens to the application when a new set is published: none, signal:NAME or restart
    ///
    /// With consumers such as [postgres], only once each is proven to serve the set. A signal goes to the application alone:
    /// HUP, USR1, USR2, INT, QUIT, TERM, WINCH or CONT.
    #[arg(long, value_name = "WHAT", default_value = "none", value_parser = on_rotation)]
    on_rotation: OnRotation,
    /// How long the application may take to end for a restart: after SIGTERM, before SIGKILL
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    grace: Duration,
    /// The program, and its arguments
    #[arg(last = true, required = true, value_name = "APPLICATION")]
    application: Vec<OsString>,
}

/// The drivers whose variables are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Variables {
    /// PGSERVICEFILE and PGSERVICE: libpq (psql, psycopg), lib/pq
    Libpq,
    /// PGSERVICEFILE: pgjdbc, with service= in its URL
    Jdbc,
    /// PGSSLCERT, PGSSLKEY and PGSSLROOTCERT, the stable names, without PGSERVICE: Npgsql; also pgx, sqlx and asyncpg
    Npgsql,
    /// No variables
    None,
}

fn on_rotation(text: &str) -> Result<OnRotation, String> {
    match (text, text.strip_prefix("signal:")) {
        ("none", _) => Ok(OnRotation::Nothing),
        ("restart", _) => Ok(OnRotation::Restart),
        (_, Some(name)) => {
            let found = hooks::signal(name).map(|(_, signal)| signal.as_raw());
            let known = || hooks::SIGNALS.map(|(name, _)| name).join(", ");
            found.map(OnRotation::Signal).ok_or_else(|| format!("{name} is none of {}", known()))
        }
        _ => Err("write none, signal:HUP or restart".to_owned()),
    }
}

/// The first process, which starts the daemon and the application.
pub(super) fn keep(arguments: &[OsString], environment: &Environment) -> ExitCode {
    let notify = environment.get("NOTIFY_SOCKET");
    match parent::keep_with_application(arguments, notify) {
        Ok(Kept { status, is_untold }) => {
            if is_untold {
                complain(
                    "pgsvid: the application was not started: no set in time, and the daemon has not told why; read the lines before this one",
                );
            }
            ExitCode::from(status)
        }
        Err(error) => not_kept(&error, parent::OWN_FAILURE),
    }
}

/// The daemon beside the application.
pub(super) fn run(
    arguments: Arguments,
    channel: Channel,
    environment: &Environment,
) -> Result<(), Failure> {
    let misused = |text: String| Failure { status: MISUSED, text };
    let given = std::env::args_os().count();
    let begins = given.saturating_sub(arguments.application.len());
    let begins = u16::try_from(begins)
        .map_err(|_| misused("there are too many arguments before the application".to_owned()))?;
    let driver = match arguments.env {
        Variables::Libpq => Driver::Libpq,
        Variables::Jdbc => Driver::Jdbc,
        Variables::Npgsql => Driver::Npgsql,
        Variables::None => Driver::Other,
    };
    let flags = Flags { is_libpqs: driver == Driver::Libpq, ..arguments.settings.into() };
    let config = load(flags, environment)?;
    if Application::name_is_taken(&config) {
        let text = "something in the configuration has the name application, which exec uses for its application in log and status; give it another name";
        return Err(misused(text.to_owned()));
    }
    let environment_of_driver = config
        .variables(driver, arguments.service.as_deref())
        .map_err(|error| misused(error.to_string()))?;
    let settings = parent::Settings {
        begins,
        timeout: arguments.timeout,
        on_rotation: arguments.on_rotation,
        grace: arguments.grace,
        environment: environment_of_driver,
    };
    let service = config.service_for(driver, arguments.service.as_deref());
    let concerns = match service {
        Ok(service) if driver == Driver::Jdbc => doctor::exec::of_jdbc(&config, service),
        _ => Vec::new(),
    };
    run_with(config, channel, environment, Some(Beside { settings, concerns }))
}
