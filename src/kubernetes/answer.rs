//! The body of an answer, read up to a limit.

use std::error::Error as _;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{Error, Refusal};

/// Most bytes of an answer: a Secret of 1 MiB is longer in base64, and has other fields. etcd stores 1.5 MiB at most.
pub(super) const LONGEST: usize = 3 * 1024 * 1024;

/// Most values in an answer, and in each of its parts together: a Secret has a few hundred. Each takes up to some hundred bytes of memory,
/// and two bytes are enough to write one.
const MOST_VALUES: usize = 30_000;
/// Most bytes of a refusal: it is a sentence.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// The JSON of a body. Fails if it has so many values that they would take far more memory than the body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    if count_values(body) > MOST_VALUES {
        return Err(Error::garbage("it has far more values than any object has"));
    }
    serde_json::from_slice(body).map_err(|cause| unreadable(&cause))
}

/// How many values a JSON text has at least.
fn count_values(text: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' | b',' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

/// The body of a refusal; empty if it is too long.
pub(super) async fn refusal(status: u16, body: Incoming) -> Result<Refusal, Error> {
    match whole(body, LONGEST_REFUSAL).await {
        Ok(body) => Ok(Refusal::read(status, &body)),
        Err(Error::TooLong(_)) => Ok(Refusal::read(status, b"")),
        Err(error) => Err(error),
    }
}

/// The whole body.
pub(super) async fn whole(mut body: Incoming, most: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    // A buffer that grows needs twice the room for a moment.
    let length = body.size_hint().exact().and_then(|it| usize::try_from(it).ok());
    let mut whole = Zeroizing::new(Vec::with_capacity(length.unwrap_or_default().min(most)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v21_values_are_counted_and_text_is_not() {
        for (text, count) in [
            ("{}", 1),
            (r#"{"a":[1,2,{"b":3}]}"#, 5),
            (r#"{"a":"[{,\",["}"#, 1),
            (r#"{"a":"\\","b":[]}"#, 3),
        ] {
            assert_eq!(count_values(text.as_bytes()), count, "{text}");
        }
        let many = format!("[{}1]", "1,".repeat(MOST_VALUES));
        assert!(read::<serde_json::Value>(many.as_bytes()).is_err());
    }
}
