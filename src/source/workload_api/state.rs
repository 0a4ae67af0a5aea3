//! The state of the connection to the agent.

use std::fmt;
use std::sync::Arc;

use super::error::Error;
use super::message;

/// The state of the connection to the agent.
#[derive(Debug, Clone)]
pub enum Connection {
    /// Being opened, or opened and without an answer yet.
    Connecting,
    /// A message has arrived over it.
    Streaming,
    /// The agent answers, but this workload has no registration entry, or no longer has one.
    NotRegistered,
    /// Lost or refused.
    Failed(Arc<Error>),
}

/// The state of an agent, without its identity.
#[derive(Debug, Clone)]
pub struct AgentState {
    /// The connection.
    pub connection: Connection,
    /// How often a connection was opened.
    pub connects: u64,
    /// How many messages were rejected, by the kind of reason. Kinds that did not occur are included, with zero.
    pub rejections_by_reason: Vec<(&'static str, u64)>,
}

impl Default for AgentState {
    fn default() -> Self {
        Self {
            connection: Connection::Connecting,
            connects: 0,
            rejections_by_reason: message::no_rejections(),
        }
    }
}

/// One phrase for people.
impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.connection {
            Connection::Connecting => f.write_str("no answer yet"),
            Connection::Streaming => f.write_str("connected"),
            Connection::NotRegistered => f.write_str("not registered yet"),
            Connection::Failed(error) => write!(f, "{error}"),
        }
    }
}
