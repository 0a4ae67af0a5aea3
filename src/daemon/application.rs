//! The daemon's part in `exec`: it tells the parent how to start the application, and logs what has become of it.

use std::time::Duration;

use anyhow::Context as _;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::consumers::verified;
use crate::finding::Finding;
use crate::hooks::{APPLICATION, Action, Hook, When};
use crate::parent::{self, Channel, OnRotation, Report, Settings};
use crate::status::Status;
use crate::threads;
use crate::timing;
use crate::verify::Target;

/// Its name among hooks, in the log and in the status.
const NAME: &str = "application";
/// How long the parent may take beyond the grace time.
const BEYOND: Duration = Duration::from_secs(10);

/// The application of `exec`.
#[derive(Debug)]
pub struct Application {
    timeout: Duration,
    /// Whether the settings differ from those with which it was started.
    is_changed: bool,
    /// What may keep its driver from the published files.
    concerns: Vec<Finding>,
}

/// There was no set in time.
#[derive(Debug, thiserror::Error)]
#[error("the application was not started: {what} within {} from {source_place}: {cause}", humantime::format_duration(*.timeout))]
pub struct NotInTime {
    timeout: Duration,
    /// What was missing.
    what: &'static str,
    source_place: String,
    cause: String,
}

/// Sends the parent the settings of the application, and makes it a hook if it is to be told about new sets. Call it after
/// [`super::agree_on_hooks`], and before anything but the configuration is read. `concerns` are what may keep its driver from the
/// published files.
pub fn agree_on_application(
    config: &mut Config,
    settings: &Settings,
    concerns: Vec<Finding>,
    channel: &Channel,
) -> anyhow::Result<Application> {
    let agrees = channel
        .agree_on_application(settings)
        .context("cannot send the settings of the application to the parent")?;
    if settings.on_rotation != OnRotation::Nothing {
        let hook = hook(config, settings.grace);
        config.rotation.hooks.push(hook);
    }
    Ok(Application { timeout: settings.timeout, is_changed: !agrees, concerns })
}

fn hook(config: &Config, grace: Duration) -> Hook {
    let consumers: Vec<&Target> = consumers(config).map(|(_, target)| target).collect();
    // Where nothing is ever proven, it must not wait for a proof.
    let can_be_proven = !consumers.is_empty() && !consumers.contains(&&Target::Nowhere);
    Hook {
        name: NAME.to_owned(),
        action: Action::Application,
        when: if can_be_proven { When::Proven } else { When::Published },
        timeout: grace + BEYOND,
        barrier: false,
        user: None,
        environment: Vec::new(),
        directory: config.place.base().to_owned(),
        number: Some(APPLICATION),
    }
}

/// The consumers that a handshake proves, each with its name.
fn consumers(config: &Config) -> impl Iterator<Item = (&str, &Target)> {
    let rotation = &config.rotation;
    verified(&rotation.servers, &rotation.poolers, rotation.patroni.as_ref())
}

impl Application {
    /// Whether something in the configuration has the name that the application has in log and status.
    #[must_use]
    pub fn name_is_taken(config: &Config) -> bool {
        let hooks = config.rotation.hooks.iter().map(|it| it.name.as_str());
        config.rotation.consumer_names().chain(hooks).any(|name| name == NAME)
    }

    /// Logs what it waits for, or what differs from the start.
    pub(super) fn announce(&self, channel: &Channel) {
        if self.is_changed {
            warn!(
                event = "application-changed",
                fix = "restart pgsvid",
                "the configuration was changed after the application was started, which keeps its variables"
            );
        }
        if channel.predecessor().is_none() {
            for found in &self.concerns {
                warn!(
                    event = "application-driver",
                    code = found.code.name(),
                    fix = found.fix,
                    "{}",
                    found.text
                );
            }
            info!(
                event = "application-awaited",
                timeout = %humantime::format_duration(self.timeout),
                "the application starts as soon as a valid set is published"
            );
        }
    }

    /// Why it was not started.
    pub(super) fn not_in_time(&self, source_place: String, status: &Status) -> NotInTime {
        let now = timing::now();
        let missing = status.tokens.iter().find(|token| !token.is_there(now));
        if let Some(token) = missing.filter(|_| status.has_started(now)) {
            let problem =
                token.problem.as_ref().map_or("the agent has not given it", |it| &it.text);
            let cause = format!("{} is missing: {problem}", token.file);
            return NotInTime {
                timeout: self.timeout,
                what: "not every token",
                source_place,
                cause,
            };
        }
        let problem = status.problem.iter().flat_map(|problem| ["; ", problem]);
        let cause = [status.agent.as_str()].into_iter().chain(problem).collect();
        NotInTime { timeout: self.timeout, what: "no set", source_place, cause }
    }
}

/// Logs what has become of the application.
pub(super) fn tell(report: Report) {
    match report {
        Report::Started(pid) => {
            info!(
                event = "application-started",
                pid = pid.as_raw_pid(),
                "the application was started"
            );
        }
        Report::Ended(status) => {
            info!(event = "application-ended", %status, "the application has ended");
        }
        Report::NotStarted(code) => {
            error!(
                event = "application-not-started",
                cause = %std::io::Error::from_raw_os_error(code),
                fix = threads::REMEDY,
                "no process could be started for the application; pgsvid ends with status {}",
                parent::OWN_FAILURE
            );
        }
    }
}
