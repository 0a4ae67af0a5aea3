//! Why the stream ended, and what that means for the retry.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;

use super::Endpoint;
use super::foreign::Foreign;
use crate::text::shown;

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket's directory or the socket does not exist.
    #[error("no agent at {}: the socket does not exist", .0.display())]
    NoSocket(PathBuf),
    /// The path is longer than the kernel allows.
    #[error(
        "the path of the agent's socket has {length} bytes, more than the {LONGEST_SOCKET} that the kernel allows ({}); use a \
         shorter path, or a symbolic link with one",
        path.display()
    )]
    PathTooLong {
        /// The socket.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Another kind of file is there.
    #[error("{} is not a socket: is it the directory of the agent's socket?", .0.display())]
    NotASocket(PathBuf),
    /// The socket exists, but nobody listens.
    #[error("no agent at {0}: nobody listens there")]
    Refused(String),
    /// The socket exists, but this process may not use it.
    #[error("may not connect to {0}: permission denied; {to_do}", to_do = access(*.1))]
    Forbidden(String, u32),
    /// Another failure to connect.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    /// The listener does not speak gRPC.
    #[error("{0} does not speak gRPC: is it an agent's Workload API?")]
    NotGrpc(String),
    /// A web server or a proxy answered.
    #[error(
        "{0} answered with HTTP {1}, which no agent does: is there a proxy in front of it, or another program?"
    )]
    Http(String, u16),
    /// The connection ended without an answer.
    #[error("the connection to {0} broke: {1}")]
    Broken(String, String),
    /// It sent gRPC messages first, and then something else.
    #[error("the agent at {0} broke the rules of HTTP/2 in the middle of the stream: {1}")]
    Garbled(String, String),
    /// Nothing came within the limit.
    #[error("the agent did not answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// The agent has not renewed in time.
    #[error("the agent has sent no newer identity for longer than a renewal takes")]
    Overdue,
    /// The stream ended normally before any message.
    #[error("the agent ended the stream without a message")]
    Empty,
    /// The agent's answer.
    #[error("the agent answered {code:?}: {text}")]
    Answered {
        /// The gRPC status.
        code: Code,
        /// The agent's message, shortened and escaped.
        text: String,
    },
    /// A status that the agent may have sent, and that the library also uses for data that is not a gRPC message, or is too
    /// large.
    #[error("the call failed with {code:?}: {text}")]
    Failed {
        /// The gRPC status.
        code: Code,
        /// The reason, shortened and escaped.
        text: String,
    },
}

/// Longest path of a Unix socket in bytes (`sun_path` of `unix(7)`, without the byte that ends it).
pub(super) const LONGEST_SOCKET: usize = 107;

/// How this user gets access to the socket. As root, pgsvid only keeps the capability for a closed socket if the socket
/// exists, and is closed, when it starts.
fn access(uid: u32) -> String {
    let give = format!("give uid {uid} access to the socket and its directory");
    if uid != 0 {
        return give;
    }
    format!(
        "restart pgsvid now that the socket exists, because as root it only keeps the right to use a closed socket if \
         it finds the socket closed at its start; or {give}"
    )
}

/// What an error means for the retry (SPIFFE Workload API section 4; SPIRE's agent for the rest).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It goes away without help: back off and retry.
    Transient,
    /// This workload has no registration entry: retry slowly. If there was an SVID, it is withdrawn.
    NotRegistered,
    /// The request itself, or the path of the socket, is wrong. At the start this ends pgsvid; once an agent has answered,
    /// pgsvid reports it and retries slowly.
    Permanent,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// No message has arrived over it.
    First,
    /// A message has arrived: it is an agent's.
    Served,
}

impl Error {
    /// The error for a status. Not every status is an answer: tonic makes some from what happened to the connection, with
    /// codes that depend on its build features.
    pub(super) fn of(status: &tonic::Status, endpoint: &Endpoint, contact: Contact) -> Self {
        let mut deepest = None;
        let mut next = status.source();
        while let Some(cause) = next {
            // The library on this side ended the connection, because the bytes received are not HTTP/2.
            if cause
                .downcast_ref::<h2::Error>()
                .is_some_and(|error| error.is_go_away() && error.is_library())
            {
                return match contact {
                    Contact::First => Self::NotGrpc(endpoint.to_string()),
                    Contact::Served => {
                        Self::Garbled(endpoint.to_string(), shown(&cause.to_string()))
                    }
                };
            }
            match cause.downcast_ref() {
                Some(Foreign::Status(status)) => {
                    return Self::Http(endpoint.to_string(), status.as_u16());
                }
                Some(Foreign::Type) => return Self::NotGrpc(endpoint.to_string()),
                Some(Foreign::Compressed) | None => {}
            }
            deepest = Some(cause);
            next = cause.source();
        }
        if let Some(cause) = deepest {
            return Self::Broken(endpoint.to_string(), shown(&cause.to_string()));
        }
        let (code, text) = (status.code(), shown(status.message()));
        match code {
            Code::Internal | Code::OutOfRange => Self::Failed { code, text },
            _ => Self::Answered { code, text },
        }
    }

    /// Whether the agent has answered that it has no registration entry for this workload.
    #[must_use]
    pub fn is_not_registered(&self) -> bool {
        self.class() == Class::NotRegistered
    }

    /// Whether the agent has answered that it does not have this call at all.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Answered { code: Code::Unimplemented, .. })
    }

    /// Whether asking again soon would get the same answer.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.class() == Class::Permanent
    }

    /// What an operator must do, if known.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoSocket(_) => {
                "start the agent, mount its socket's directory, or correct its address: workload_api.endpoint, which --endpoint overrides; \
                 SPIFFE_ENDPOINT_SOCKET is used only if neither is set"
            }
            Self::Refused(_) => "start the agent; one that was killed leaves its socket behind",
            Self::Forbidden(..) => {
                "let this uid enter the socket's directory and write to the socket, or run pgsvid as a user who may"
            }
            Self::NotGrpc(_) | Self::Http(..) => {
                "point workload_api.endpoint (--endpoint, SPIFFE_ENDPOINT_SOCKET) to the agent's Workload API socket, not its admin \
                 socket or another program's"
            }
            Self::Silent(_) => {
                "check that the agent is healthy and reaches its server: spire-agent healthcheck"
            }
            Self::Answered { .. } if self.is_not_registered() => {
                "spire-server entry create -spiffeID … -parentID … -selector … with selectors that this process \
                 has; agents learn of an entry within seconds"
            }
            Self::Answered { code: Code::Unimplemented, .. } => {
                "point workload_api.endpoint (--endpoint, SPIFFE_ENDPOINT_SOCKET) to a Workload API: the program there has none"
            }
            Self::Answered { code: Code::InvalidArgument, .. } => {
                "see the agent's log: it rejects the request as invalid"
            }
            Self::Failed { .. } => {
                "check the agent's version and its log: it sends faulty data, or is not a SPIFFE agent"
            }
            Self::Empty => "see the agent's log: it ended the call before it sent an SVID",
            Self::Answered { .. } | Self::Broken(..) | Self::Garbled(..) => "see the agent's log",
            _ => return None,
        })
    }

    /// The standard gives these statuses a meaning. An agent that stops answers `Canceled`, one that cannot attest
    /// `Unavailable`, and one whose server is down `Unavailable` or `DeadlineExceeded`.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Answered { code: Code::PermissionDenied, .. } => Class::NotRegistered,
            Self::Answered { code: Code::InvalidArgument | Code::Unimplemented, .. } => {
                Class::Permanent
            }
            Self::PathTooLong { .. } => Class::Permanent,
            _ => Class::Transient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b27_only_three_statuses_of_an_agent_are_more_than_a_reason_to_ask_again() {
        let endpoint = Endpoint::Unix("/agent.sock".into());
        for number in 0..=17 {
            let code = Code::from_i32(number);
            let status = tonic::Status::new(code, "words");
            let class = match code {
                Code::PermissionDenied => Class::NotRegistered,
                Code::InvalidArgument | Code::Unimplemented => Class::Permanent,
                _ => Class::Transient,
            };
            for contact in [Contact::First, Contact::Served] {
                assert_eq!(Error::of(&status, &endpoint, contact).class(), class, "{code:?}");
            }
        }
    }

    #[test]
    fn b27_what_our_side_makes_of_another_programs_answer_is_a_reason_to_ask_again() {
        let endpoint = Endpoint::Unix("/agent.sock".into());
        for foreign in [
            Foreign::Status(tonic::codegen::http::StatusCode::FORBIDDEN),
            Foreign::Status(tonic::codegen::http::StatusCode::NOT_FOUND),
            Foreign::Type,
            Foreign::Compressed,
        ] {
            let status = tonic::Status::from_error(foreign.into());
            let error = Error::of(&status, &endpoint, Contact::First);
            assert_eq!(error.class(), Class::Transient, "{error}");
        }
    }
}
