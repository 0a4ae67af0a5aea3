//! The body of an answer, read up to a limit.

use std::error::Error as _;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use zeroize::Zeroizing;

use super::Error;

/// Most bytes of an answer: a Secret of 1 MiB is longer in base64, and has other fields. etcd stores 1.5 MiB at most.
pub(super) const LONGEST: usize = 3 * 1024 * 1024;

/// The whole body.
pub(super) async fn whole(mut body: Incoming, most: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut whole = Zeroizing::new(Vec::new());
    while let Some(part) = next(&mut body).await? {
        if whole.len() + part.len() > most {
            return Err(Error::TooLong(most));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// The next part of the body; `None` at its end.
pub(super) async fn next(body: &mut Incoming) -> Result<Option<bytes::Bytes>, Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|cause| Error::unreachable(&root(&cause)))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// What hyper's error says, without what it wraps.
pub(super) fn root(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// An answer that is not the expected JSON. The cause never repeats it: it may hold the key.
pub(super) fn unreadable(cause: &serde_json::Error) -> Error {
    use serde_json::error::Category;
    Error::garbage(match cause.classify() {
        Category::Syntax => "it is not JSON",
        Category::Eof => "its JSON is cut short",
        Category::Data => "its JSON is of another kind of object",
        Category::Io => "it cannot be read",
    })
}
