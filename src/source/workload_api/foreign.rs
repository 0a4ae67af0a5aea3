//! Answers that are not an agent's, but those of a web server, or of a proxy without an agent behind it.
//!
//! tonic turns each into a gRPC status: HTTP 403 into "permission denied", which would withdraw the identity, and 404 into
//! "unimplemented", which would end a start.

use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::codegen::http::{Response, StatusCode};
use tonic::transport;

/// The failure of a call: the connection's, or a [`Foreign`].
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Why an answer is not an agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    /// gRPC answers only with status 200 (`PROTOCOL-HTTP2.md`, "Responses").
    #[error("HTTP {}", .0.as_u16())]
    Status(StatusCode),
    /// Its content type is not gRPC's; it may be a web page.
    #[error("it is not gRPC")]
    Type,
    /// It is compressed, although the request does not allow that.
    #[error("it is compressed")]
    Compressed,
}

/// Fails for an answer that is not an agent's.
pub(super) fn told_apart<B>(
    answer: Result<Response<B>, transport::Error>,
) -> Result<Response<B>, Failure> {
    let answer = answer?;
    match judge(&answer) {
        None => Ok(answer),
        Some(foreign) => Err(foreign.into()),
    }
}

fn judge<B>(answer: &Response<B>) -> Option<Foreign> {
    let header = |name: &str| answer.headers().get(name).map_or(b"" as &[u8], |it| it.as_bytes());
    if answer.status() != StatusCode::OK {
        return Some(Foreign::Status(answer.status()));
    }
    if !is_grpc(header(CONTENT_TYPE.as_str())) {
        return Some(Foreign::Type);
    }
    (![b"" as &[u8], b"identity"].contains(&header("grpc-encoding"))).then_some(Foreign::Compressed)
}

/// Whether the content type is gRPC's (`PROTOCOL-HTTP2.md`, "Content-Type").
fn is_grpc(kind: &[u8]) -> bool {
    match kind.strip_prefix(b"application/grpc") {
        Some(more) => more.first().is_none_or(|next| b"+;".contains(next)),
        None => false,
    }
}
