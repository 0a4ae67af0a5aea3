//! Leases (`coordination.k8s.io/v1`): read, created and replaced.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{Ask, JSON};
use super::{Client, Error, Metadata};

/// A Lease, as far as pgsvid reads it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// Its metadata.
    pub metadata: Metadata,
    /// Who holds it.
    pub spec: LeaseSpec,
}

/// Who holds a Lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// The holder; empty or missing if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_identity: Option<String>,
    /// How long others wait after they have seen the last renewal, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_duration_seconds: Option<i64>,
    /// When the holder took it, by its clock (RFC 3339 with microseconds). For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acquire_time: Option<String>,
    /// When the holder renewed it last, by its clock. Others only compare whether it has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_time: Option<String>,
    /// How often the holder has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_transitions: Option<i64>,
}

fn path(namespace: &str, name: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}")
}

impl Client {
    /// Reads a Lease; `None` if it does not exist.
    pub async fn lease(&self, namespace: &str, name: &str) -> Result<Option<Lease>, Error> {
        match self.ask(&Ask::get(&path(namespace, name))).await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a Lease. With `since`, only if it is still in that version; without, a missing one is created, and an existing one
    /// is refused (409).
    pub async fn write_lease(
        &self,
        namespace: &str,
        name: &str,
        spec: &LeaseSpec,
        since: Option<&Metadata>,
    ) -> Result<Lease, Error> {
        let mut object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name, "namespace": namespace },
            "spec": spec,
        });
        let Some(since) = since else {
            let all = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
            return self.ask(&Ask::send(Method::POST, &all, JSON, &object)).await;
        };
        object["metadata"]["resourceVersion"] = json!(since.resource_version);
        object["metadata"]["uid"] = json!(since.uid);
        object["metadata"]["labels"] = json!(since.labels);
        object["metadata"]["annotations"] = json!(since.annotations);
        self.ask(&Ask::send(Method::PUT, &path(namespace, name), JSON, &object)).await
    }
}
