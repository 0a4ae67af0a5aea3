//! Secrets: read, and applied.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::client::Ask;
use super::{Client, Error, ManagedFields, Metadata};

/// A Secret, as far as pgsvid reads it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Secret {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its fields, in base64.
    pub data: BTreeMap<String, String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether its fields can never be changed.
    pub immutable: Option<bool>,
}

impl Secret {
    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        /// What an entry of a map takes beside its text.
        const ENTRY: usize = 64;
        let Metadata { labels, annotations, owner_references, managed_fields, .. } = &self.metadata;
        let maps = [labels, annotations, &self.data].into_iter().flatten();
        maps.map(|(key, value)| key.len() + value.len() + ENTRY).sum::<usize>()
            + managed_fields.iter().map(ManagedFields::size).sum::<usize>()
            + owner_references.len() * 4 * ENTRY
    }

    /// Drops the fields for which `is_kept` is false, and what other managers than this one have set of them: they may be long, and
    /// secret.
    pub fn keep(&mut self, manager: &str, is_kept: impl Fn(&str) -> bool) {
        self.data.retain(|key, _| is_kept(key));
        for entry in self.metadata.managed_fields.iter_mut().filter(|it| it.manager != manager) {
            entry.keep("data", &is_kept);
        }
    }
}

/// The path of a Secret.
pub(super) fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

impl Client {
    /// Reads a Secret; `None` if it does not exist.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, Error> {
        match self.ask(&Ask::get(&path(namespace, name))).await {
            Ok(secret) => Ok(Some(secret)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Applies fields (server-side apply), and takes those that another manager has set. Returns the Secret as it is then. The
    /// object must have a `uid` and a `resourceVersion` if an existing Secret is meant: then a Secret that was changed since is
    /// refused (409), and a missing one is not created.
    pub async fn apply_secret(
        &self,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Secret, Error> {
        let manager = &self.settings().field_manager;
        let path = format!("{}?fieldManager={manager}&force=true", path(namespace, name));
        self.ask(&Ask::send(Method::PATCH, &path, "application/apply-patch+yaml", object)).await
    }
}
