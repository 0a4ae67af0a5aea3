//! What gives identities, in the document: an agent, or files.

use serde::{Deserialize, Serialize};

use super::finding_view::FindingView;
use super::time::Time;
use super::{Certificates, Status};

/// The connection to the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentView {
    /// `connecting`, `streaming`, `not-registered` or `failed`.
    pub connection: String,
    /// The state of the connection, in words.
    pub words: String,
    /// Why its latest message was rejected; `None` if it was not.
    pub rejection: Option<String>,
    /// How often a connection to the agent was opened.
    pub connects: u64,
    /// Since when messages have arrived over the present connection.
    pub connected: Option<Time>,
    /// How many of its messages were rejected.
    pub rejected: u64,
    /// Whether the agent has withdrawn the published identity.
    pub withdrawn: bool,
}

impl AgentView {
    pub(super) fn of(status: &Status) -> Self {
        Self {
            connection: status.connection.name().to_owned(),
            words: status.agent.clone(),
            rejection: status.rejection.clone(),
            connects: status.connects,
            connected: status.connected.map(Time),
            rejected: status.rejections.iter().map(|(_, count)| count).sum(),
            withdrawn: status.withdrawn,
        }
    }
}

/// The files that another program writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificatesView {
    /// The path of the certificate.
    pub path: String,
    /// Their state, in words.
    pub words: String,
    /// The uid of the certificate's owner.
    pub owner: Option<u32>,
    /// When the certificate was last written.
    pub written: Option<Time>,
    /// Why they have not been a usable set for a while.
    pub trouble: Option<FindingView>,
    /// How often they were not a usable set for a while.
    pub rejected: u64,
}

impl CertificatesView {
    pub(super) fn of(files: &Certificates, words: &str) -> Self {
        Self {
            path: files.path.clone(),
            words: words.to_owned(),
            owner: files.owner,
            written: files.written.map(Time),
            trouble: files.trouble.as_ref().map(FindingView::of),
            rejected: files.rejected,
        }
    }
}
