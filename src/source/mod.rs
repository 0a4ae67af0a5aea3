//! Where identities come from: the Workload API, or files that another program writes. Exactly one of them is configured.
//!
//! [`Source::run`] publishes a [`SourceState`] whenever something changes. This room also reads the extra authorities.

mod authorities;
pub mod files;
mod lines;
mod state;
pub mod workload_api;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use authorities::{ExtraAuthorities, OBSTACLE_FIX, UnreadableAuthorities, obstacle_cause};
pub use lines::{Line, Lines};
pub use state::{Identity, Rejected, SourceDetails, SourceState};
pub use workload_api::{Endpoint, Error, InvalidEndpoint};

use crate::material::{Expectations, Names};
use crate::watching::Watching;

/// Where identities come from, and the rules that they must meet.
#[derive(Debug, Clone)]
pub enum Settings {
    /// An agent.
    WorkloadApi(workload_api::Settings),
    /// Files that another program writes.
    Files(files::Settings),
}

impl Settings {
    /// The rules that an identity must meet.
    #[must_use]
    pub fn expectations(&self) -> &Expectations {
        match self {
            Self::WorkloadApi(settings) => &settings.expectations,
            Self::Files(settings) => &settings.expectations,
        }
    }

    /// The same, for changes.
    pub fn expectations_mut(&mut self) -> &mut Expectations {
        match self {
            Self::WorkloadApi(settings) => &mut settings.expectations,
            Self::Files(settings) => &mut settings.expectations,
        }
    }

    /// The names of the published set. If a new set lacks one of them, that is reported; of several SVIDs pgsvid uses the one with
    /// these names.
    #[must_use]
    pub fn published(&self) -> Option<&Names> {
        match self {
            Self::WorkloadApi(settings) => settings.selection.published.as_ref(),
            Self::Files(settings) => settings.published.as_ref(),
        }
    }

    /// Sets the names of the published set.
    pub fn set_published(&mut self, names: Option<Names>) {
        match self {
            Self::WorkloadApi(settings) => settings.selection.published = names,
            Self::Files(settings) => settings.published = names,
        }
    }

    /// The settings of the Workload API, if it is the source.
    #[must_use]
    pub fn workload_api(&self) -> Option<&workload_api::Settings> {
        match self {
            Self::WorkloadApi(settings) => Some(settings),
            Self::Files(_) => None,
        }
    }

    /// Those of the files, if they are the source.
    #[must_use]
    pub fn files(&self) -> Option<&files::Settings> {
        match self {
            Self::WorkloadApi(_) => None,
            Self::Files(settings) => Some(settings),
        }
    }

    /// The source, as it is called within a sentence.
    #[must_use]
    pub fn giver(&self) -> &'static str {
        match self {
            Self::WorkloadApi(_) => "the agent",
            Self::Files(_) => "the source",
        }
    }

    /// The agent's address, or the certificate's path.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::WorkloadApi(settings) => settings.endpoint.to_string(),
            Self::Files(settings) => settings.paths.certificate.display().to_string(),
        }
    }
}

/// A source of identities.
pub enum Source {
    /// The supervised client of one Workload API.
    WorkloadApi(Box<workload_api::Source>),
    /// What reads files.
    Files(Box<files::Source>),
}

impl Source {
    /// A source that has not started, and the state that it will update.
    #[must_use]
    pub fn new(settings: Settings, watching: Watching) -> (Self, watch::Receiver<SourceState>) {
        match settings {
            Settings::WorkloadApi(settings) => {
                let (source, state) = workload_api::Source::new(settings, watching);
                (Self::WorkloadApi(Box::new(source)), state)
            }
            Settings::Files(settings) => {
                let (source, state) = files::Source::new(settings, &watching);
                (Self::Files(Box::new(source)), state)
            }
        }
    }

    /// See [`workload_api::Source::persist`].
    pub fn persist(&mut self) {
        match self {
            Self::WorkloadApi(source) => source.persist(),
            Self::Files(_) => {}
        }
    }

    /// Runs until `stop`. Fails only as [`workload_api::Source::run`] does.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        match self {
            Self::WorkloadApi(source) => source.run(stop).await,
            Self::Files(source) => {
                source.run(stop).await;
                Ok(())
            }
        }
    }
}
