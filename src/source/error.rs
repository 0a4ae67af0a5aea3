//! Why the stream ended, and what that means for the next try.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;

/// Longest text of an agent's that is shown.
const LONGEST_TEXT: usize = 200;

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket's directory or the socket does not exist.
    #[error("no agent at {}: the socket does not exist", .0.display())]
    NoSocket(PathBuf),
    /// The socket exists, and nobody listens.
    #[error("no agent at {0}: nobody listens there")]
    Refused(String),
    /// The socket exists, and we may not use it.
    #[error(
        "may not connect to {0}: permission denied; give uid {1} access to the socket and its directory"
    )]
    Forbidden(String, u32),
    /// Another failure to connect.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    /// Somebody listens who does not speak gRPC.
    #[error("{0} does not speak gRPC: is it an agent's Workload API?")]
    NotGrpc(String),
    /// Nothing came within the limit.
    #[error("the agent did not answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// The agent has not renewed in time.
    #[error("the agent has been silent for longer than a renewal takes")]
    Overdue,
    /// The agent's answer.
    #[error("the agent answered {code:?}: {text}")]
    Answered {
        /// The gRPC status.
        code: Code,
        /// The agent's words, shortened and escaped.
        text: String,
    },
}

/// What an error means for the next try (SPIFFE Workload API section 4; SPIRE's agent for the rest).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Goes away by itself: back off and retry.
    Transient,
    /// This workload has no registration entry: retry slowly; after an SVID it is withdrawn.
    NotRegistered,
    /// The request itself is at fault: report, and do not retry at start.
    Permanent,
}

impl Error {
    pub(super) fn answered(status: &tonic::Status) -> Self {
        let text: String = status.message().chars().take(LONGEST_TEXT).collect();
        Self::Answered { code: status.code(), text: text.escape_debug().to_string() }
    }

    pub(super) fn class(&self) -> Class {
        match self {
            Self::Answered { code: Code::PermissionDenied, .. } => Class::NotRegistered,
            Self::Answered { code: Code::InvalidArgument | Code::Unimplemented, .. } => {
                Class::Permanent
            }
            _ => Class::Transient,
        }
    }
}
