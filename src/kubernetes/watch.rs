//! The changes of one Secret, as the API server reports them.
//!
//! Only metadata is asked for: the key does not travel again. The right `watch` for this name is enough; `list` is not needed.

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use super::answer;
use super::client::{Ask, LIMIT};
use super::{Client, Error};

/// Most bytes of one event. There is a watch for each Secret, and each may be in the middle of one. After a longer event the Secret is read.
const LONGEST: usize = 64 * 1024;
/// Most bytes that are skipped after them for the end of the event.
const SKIPPED: usize = 16 * 1024 * 1024;
/// Only the metadata of each object.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// An open watch.
pub struct Watch {
    body: Incoming,
    read: Vec<u8>,
    /// How many bytes of an event were skipped that is too long; `None` if none is.
    skipped: Option<usize>,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It exists in this version.
    Version(String),
    /// It was removed.
    Deleted,
    /// It was changed; the event is longer than pgsvid reads.
    Unread,
    /// Changes may have been missed: the version from which the watch began is too old.
    Missed,
}

#[derive(Deserialize)]
struct Raw {
    r#type: String,
    #[serde(default)]
    object: Object,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    metadata: Version,
}

/// All that is read of the metadata: who manages which fields may be long.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Version {
    resource_version: String,
}

impl Client {
    /// Watches one Secret from this version on; from its present state if there is none.
    pub async fn watch_secret(
        &self,
        namespace: &str,
        name: &str,
        since: Option<&str>,
    ) -> Result<Watch, Error> {
        let since = since.map(|it| format!("&resourceVersion={it}")).unwrap_or_default();
        let path = format!(
            "/api/v1/namespaces/{namespace}/secrets?watch=true&fieldSelector=metadata.name%3D{name}{since}"
        );
        let ask = Ask { method: Method::GET, path: &path, accept: METADATA, body: None };
        let response = self.begin(&ask).await?;
        let status = response.status().as_u16();
        if status != 200 {
            let refusal = answer::refusal(status, response.into_body());
            let refusal = timeout(LIMIT, refusal).await.unwrap_or(Err(Error::Late(LIMIT)))?;
            return Err(Error::Refused(Box::new(refusal)));
        }
        Ok(Watch { body: response.into_body(), read: Vec::new(), skipped: None })
    }
}

impl Watch {
    /// The next change; `None` when the server has ended the watch, which it does every few minutes. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(end + 1);
                let line = std::mem::replace(&mut self.read, rest);
                if self.skipped.take().is_some() {
                    return Ok(Some(Event::Unread));
                }
                match event(&line)? {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            if self.skipped.is_some() || self.read.len() > LONGEST {
                let skipped = self.skipped.unwrap_or_default() + self.read.len();
                self.read = Vec::new();
                self.skipped = Some(skipped);
                if skipped > SKIPPED {
                    return Err(Error::TooLong(SKIPPED));
                }
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|cause| Error::unreachable(&answer::root(&cause)))?;
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}

/// One line of a watch; `None` if it is no change.
fn event(line: &[u8]) -> Result<Option<Event>, Error> {
    let raw: Raw = serde_json::from_slice(line).map_err(|cause| answer::unreadable(&cause))?;
    Ok(match raw.r#type.as_str() {
        "ADDED" | "MODIFIED" => Some(Event::Version(raw.object.metadata.resource_version)),
        "DELETED" => Some(Event::Deleted),
        "BOOKMARK" => None,
        // Such as 410, "too old resource version".
        "ERROR" => Some(Event::Missed),
        _ => return Err(Error::garbage("an event of an unknown type")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_watch_is_a_change_or_an_error() {
        let version = |text: &str| Event::Version(text.to_owned());
        for (line, wanted) in [
            (
                r#"{"type":"ADDED","object":{"metadata":{"resourceVersion":"7"}}}"#,
                Some(version("7")),
            ),
            (
                r#"{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"8"}}}"#,
                Some(version("8")),
            ),
            (
                r#"{"type":"DELETED","object":{"metadata":{"resourceVersion":"9"}}}"#,
                Some(Event::Deleted),
            ),
            (r#"{"type":"ERROR","object":{"kind":"Status","code":410}}"#, Some(Event::Missed)),
            (r#"{"type":"BOOKMARK","object":{}}"#, None),
        ] {
            assert_eq!(event(line.as_bytes()).unwrap(), wanted, "{line}");
        }
        for line in ["", "x", "[]", r#"{"type":"OTHER"}"#, r#"{"object":{}}"#] {
            assert!(event(line.as_bytes()).is_err(), "{line}");
        }
    }
}
