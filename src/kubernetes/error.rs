//! Why a request to the API server has no usable answer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::text::{sentence, shown};

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The token, or the file with the certificate authorities, cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: String,
    },
    /// The server's name has no address.
    #[error("its name has no address: {0}")]
    Unresolved(String),
    /// The connection failed, or ended before the answer.
    #[error("{0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("it does not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The certificate authorities have not signed its certificate, or it has another name.
    #[error("its certificate is not accepted: {0}")]
    Untrusted(String),
    /// The answer is longer than pgsvid reads.
    #[error("its answer is longer than {} KiB", .0 / 1024)]
    TooLong(usize),
    /// The answer is not one of the Kubernetes API.
    #[error("its answer is not one of the Kubernetes API: {0}")]
    Garbage(String),
    /// It refuses the request.
    #[error("{0}")]
    Refused(Box<Refusal>),
}

/// An answer that says why a request is refused (`metav1.Status`).
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{} (HTTP status {code})", sentence(message))]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The reason, such as `Forbidden`; empty if none is given.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
    /// The kind of the object that is missing or refused, such as `secrets`.
    pub kind: String,
    /// The fields that are refused.
    pub causes: Vec<Cause>,
}

/// One refused field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// Why, such as `FieldValueTooLong`.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
    /// The path of the field.
    pub field: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    reason: String,
    message: String,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    kind: String,
    causes: Vec<Cause>,
}

impl Error {
    pub(super) fn unreachable(cause: &impl ToString) -> Self {
        Self::Unreachable(sentence(&cause.to_string()))
    }

    pub(super) fn garbage(cause: &(impl ToString + ?Sized)) -> Self {
        Self::Garbage(shown(&cause.to_string()))
    }

    /// A right that RBAC does not grant, as another request has shown.
    #[must_use]
    pub fn forbidden(body: &str) -> Self {
        Self::Refused(Box::new(Refusal::read(403, body.as_bytes())))
    }

    pub(super) fn file(path: &std::path::Path, cause: &io::Error) -> Self {
        Self::File { path: path.to_owned(), cause: cause.to_string() }
    }

    /// The HTTP status, if the server has refused the request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// Whether waiting may be enough: the connection failed, or the server is overloaded, starts, or was asked with an old version
    /// of the object (409).
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unresolved(_) | Self::Unreachable(_) | Self::Late(_) => true,
            Self::Refused(refusal) => matches!(refusal.code, 409 | 429 | 500..=599),
            Self::File { .. } | Self::Untrusted(_) | Self::TooLong(_) | Self::Garbage(_) => false,
        }
    }

    /// Whether the connection is at fault, and not the answer to this request: every other request would fail as well.
    #[must_use]
    pub fn is_of_connection(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.code == 401,
            Self::Garbage(_) | Self::TooLong(_) => false,
            _ => true,
        }
    }
}

impl Refusal {
    /// Reads the body of a refusal. A body that is no `Status` leaves only the HTTP status.
    pub(super) fn read(code: u16, body: &[u8]) -> Self {
        let Status { reason, message, details } = serde_json::from_slice(body).unwrap_or_default();
        let message =
            if message.is_empty() { "it refuses the request".to_owned() } else { message };
        Self { code, reason, message, kind: details.kind, causes: details.causes }
    }

    /// Whether one of the fields is refused for this reason.
    #[must_use]
    pub fn has_cause(&self, reason: &str) -> bool {
        self.causes.iter().any(|cause| cause.reason == reason)
    }
}
