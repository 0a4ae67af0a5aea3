//! The daemon of `run` and `exec`, which its parent has started.

use super::flags::Settings;
use super::{Failure, MISUSED, load, on_one_thread};
use crate::config::{Config, Environment};
use crate::daemon::{self, Notify};
use crate::doctor;
use crate::http::Listener;
use crate::parent::{self, Channel};
use crate::telemetry;

/// The application, and what may keep its driver from the published files.
pub(super) struct Beside {
    pub(super) settings: parent::Settings,
    pub(super) concerns: Vec<doctor::Finding>,
}

/// Runs the daemon.
pub(super) fn run(
    settings: Settings,
    channel: Channel,
    environment: &Environment,
) -> Result<(), Failure> {
    let config = load(settings, environment)?;
    run_with(config, channel, environment, None)
}

/// Runs the daemon with this configuration, and beside this application of `exec`.
pub(super) fn run_with(
    mut config: Config,
    channel: Channel,
    environment: &Environment,
    application: Option<Beside>,
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
        .map(|Beside { settings, concerns }| {
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
