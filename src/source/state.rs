//! The state of a source, and its identity.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::files::FilesState;
use super::workload_api::{AgentState, Connection};
use crate::material::Material;

/// The latest rejection.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// When.
    pub at: SystemTime,
    /// The reason, in words.
    pub reason: String,
}

/// The identity, if there is one.
#[derive(Debug, Clone)]
pub enum Identity {
    /// None was received yet.
    Waiting,
    /// The source's latest.
    Current(Arc<Material>),
    /// The agent has answered that this workload is no longer entitled to it.
    Withdrawn(Arc<Material>),
}

impl Identity {
    /// The material, withdrawn or not.
    #[must_use]
    pub fn material(&self) -> Option<&Arc<Material>> {
        match self {
            Self::Waiting => None,
            Self::Current(material) | Self::Withdrawn(material) => Some(material),
        }
    }

    /// The material that the workload is entitled to.
    #[must_use]
    pub fn current(&self) -> Option<&Arc<Material>> {
        match self {
            Self::Current(material) => Some(material),
            Self::Waiting | Self::Withdrawn(_) => None,
        }
    }
}

/// What only one kind of source has.
#[derive(Debug, Clone)]
pub enum SourceDetails {
    /// Of an agent.
    Agent(AgentState),
    /// Of files.
    Files(FilesState),
}

/// The state of the source and its identity.
#[derive(Debug, Clone)]
pub struct SourceState {
    /// What only its kind has.
    pub standing: SourceDetails,
    /// The latest rejection, until something is accepted.
    pub rejected: Option<Rejected>,
    /// How many times something was rejected.
    pub rejections: u64,
    /// The identity.
    pub identity: Identity,
}

impl SourceState {
    /// The state before anything has arrived.
    #[must_use]
    pub fn new(standing: SourceDetails) -> Self {
        Self { standing, rejected: None, rejections: 0, identity: Identity::Waiting }
    }

    /// The agent's, if the source is one.
    #[must_use]
    pub fn agent(&self) -> Option<&AgentState> {
        match &self.standing {
            SourceDetails::Agent(agent) => Some(agent),
            SourceDetails::Files(_) => None,
        }
    }

    /// The same, for changes.
    pub fn agent_mut(&mut self) -> Option<&mut AgentState> {
        match &mut self.standing {
            SourceDetails::Agent(agent) => Some(agent),
            SourceDetails::Files(_) => None,
        }
    }

    /// The files', if the source is files.
    #[must_use]
    pub fn files(&self) -> Option<&FilesState> {
        match &self.standing {
            SourceDetails::Agent(_) => None,
            SourceDetails::Files(files) => Some(files),
        }
    }

    /// The connection to the agent, if the source is one.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        self.agent().map(|agent| &agent.connection)
    }

    /// Whether the source has reported that it has nothing, so that waiting for its first answer is useless.
    #[must_use]
    pub fn has_nothing(&self) -> bool {
        self.rejected.is_some()
            || match &self.standing {
                SourceDetails::Agent(agent) => {
                    matches!(agent.connection, Connection::NotRegistered | Connection::Failed(_))
                }
                SourceDetails::Files(files) => files.waiting.is_some() && !files.is_unsettled,
            }
    }
}

/// One phrase for people that says what is missing.
impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rejected) = &self.rejected {
            return f.write_str(&rejected.reason);
        }
        match &self.standing {
            SourceDetails::Agent(agent) => write!(f, "{agent}"),
            SourceDetails::Files(files) => write!(f, "{files}"),
        }
    }
}
