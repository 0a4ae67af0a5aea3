//! Why the stream ended, and what that means for the next try.

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
    /// The kernel has no room for its name.
    #[error(
        "the path of the agent's socket has {length} bytes, more than the {LONGEST_SOCKET} that the kernel takes ({}); use a \
         shorter path, or a symbolic link with one",
        path.display()
    )]
    PathTooLong {
        /// The socket.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Something else is there.
    #[error("{} is no socket: is it the directory of the agent's socket?", .0.display())]
    NotASocket(PathBuf),
    /// The socket exists, and nobody listens.
    #[error("no agent at {0}: nobody listens there")]
    Refused(String),
    /// The socket exists, and we may not use it.
    #[error("may not connect to {0}: permission denied; {to_do}", to_do = access(*.1))]
    Forbidden(String, u32),
    /// Another failure to connect.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    /// Somebody listens who does not speak gRPC.
    #[error("{0} does not speak gRPC: is it an agent's Workload API?")]
    NotGrpc(String),
    /// A web server or a proxy has answered.
    #[error(
        "{0} answered by HTTP {1}, which no agent does: is there a proxy in front of it, or another program?"
    )]
    Http(String, u16),
    /// The connection ended without an answer.
    #[error("the connection to {0} broke: {1}")]
    Broken(String, String),
    /// It has spoken gRPC and sent messages, and then something else.
    #[error("the agent at {0} broke the rules of HTTP/2 in the middle of the stream: {1}")]
    Garbled(String, String),
    /// Nothing came within the limit.
    #[error("the agent did not answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// The agent has not renewed in time.
    #[error("the agent has sent no newer identity for longer than a renewal takes")]
    Overdue,
    /// The stream ended in order before it held anything.
    #[error("the agent ended the stream without a message")]
    Empty,
    /// The agent's answer.
    #[error("the agent answered {code:?}: {text}")]
    Answered {
        /// The gRPC status.
        code: Code,
        /// The agent's words, shortened and escaped.
        text: String,
    },
    /// A status that the agent may have sent, and that our library gives to what is no gRPC message, or is too large.
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

/// How that user gets to use the socket. What root needs for a closed one it keeps only if the socket is there, and closed,
/// when pgsvid starts.
fn access(uid: u32) -> String {
    let give = format!("give uid {uid} access to the socket and its directory");
    if uid != 0 {
        return give;
    }
    format!(
        "start pgsvid again now that the socket is there, since as root it keeps the right to use a closed socket only if \
         it finds it closed at its start; or {give}"
    )
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

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// No message has come over it.
    First,
    /// One has: it is an agent's.
    Served,
}

impl Error {
    /// What a status means. Not every one is an answer: tonic makes some from what happened to the connection, with
    /// codes that depend on the features it was built with.
    pub(super) fn of(status: &tonic::Status, endpoint: &Endpoint, contact: Contact) -> Self {
        let mut deepest = None;
        let mut next = status.source();
        while let Some(cause) = next {
            // Our side's library ended the connection, because the other's bytes are no HTTP/2.
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

    /// Whether the agent has said that it has no registration entry for this workload.
    #[must_use]
    pub fn is_not_registered(&self) -> bool {
        self.class() == Class::NotRegistered
    }

    /// What an operator has to do, where it is known.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoSocket(_) => {
                "start the agent, mount its socket's directory, or set SPIFFE_ENDPOINT_SOCKET to where it is"
            }
            Self::Refused(_) => "start the agent; one that was killed leaves its socket behind",
            Self::Forbidden(..) => {
                "let this uid enter the socket's directory and write to the socket, or run as one that may"
            }
            Self::NotGrpc(_) | Self::Http(..) => {
                "point SPIFFE_ENDPOINT_SOCKET (or --endpoint) to the agent's Workload API socket, not its admin \
                 socket or another program's"
            }
            Self::Silent(_) => {
                "see that the agent is healthy and reaches its server: spire-agent healthcheck"
            }
            Self::Answered { .. } if self.is_not_registered() => {
                "spire-server entry create -spiffeID … -parentID … -selector … with selectors that this process \
                 has; agents learn of an entry within seconds"
            }
            Self::Answered { code: Code::Unimplemented, .. } => {
                "point SPIFFE_ENDPOINT_SOCKET (or --endpoint) to a Workload API: what answers there has none"
            }
            Self::Answered { code: Code::InvalidArgument, .. } => {
                "see the agent's log: it calls the request wrong"
            }
            Self::Failed { .. } => {
                "see the agent's version and its log: what it sends is at fault, or it is no SPIFFE agent"
            }
            Self::Empty => "see the agent's log: it has ended the call before it sent an SVID",
            Self::Answered { .. } | Self::Broken(..) | Self::Garbled(..) => "see the agent's log",
            _ => return None,
        })
    }

    /// Of the statuses that an agent may send, the standard gives these a meaning. An agent that stops says `Canceled`, one
    /// that cannot attest `Unavailable`, and one whose server is away `Unavailable` or `DeadlineExceeded`.
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
