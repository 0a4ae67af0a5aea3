//! Which Secrets are written, and with which fields.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kubernetes::{self, Grants, OwnerReference};
use crate::publish::Content;

/// The Secrets of a configuration.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Its name, which no other consumer has.
    pub name: String,
    /// How the API server is reached.
    pub kubernetes: kubernetes::Settings,
    /// The own namespace, if it is known.
    pub namespace: Option<String>,
    /// The Secrets, in the order of the file; at least one.
    pub targets: Vec<Target>,
    /// The Lease by which replicas take turns, if there are several.
    pub lease: Option<Lease>,
    /// How often they are read again when nothing has changed.
    pub every: Duration,
}

/// One Secret.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its type, if pgsvid creates it.
    pub kind: String,
    /// Whether pgsvid may create it.
    pub create: bool,
    /// Labels that it gets.
    pub labels: BTreeMap<String, String>,
    /// Annotations that it gets.
    pub annotations: BTreeMap<String, String>,
    /// The object with which it is removed.
    pub owner: Option<OwnerReference>,
    /// Its fields, by their keys.
    pub fields: BTreeMap<String, Field>,
}

/// One field of a Secret.
#[derive(Debug, Clone)]
pub struct Field {
    /// What it holds.
    pub content: Content,
    /// Whether that is written in base64, beside the base64 of every Secret.
    pub base64: bool,
}

/// A Lease (`coordination.k8s.io/v1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long a replica that is gone keeps the others waiting.
    pub duration: Duration,
    /// The machine's name, which is that of the pod.
    pub host: String,
}

impl Secrets {
    /// The least rights that this needs.
    #[must_use]
    pub fn grants(&self) -> Grants {
        let mut grants = Grants::default();
        for target in &self.targets {
            grants.secret(&target.namespace, &target.name, target.create);
        }
        if let Some(lease) = &self.lease {
            grants.lease(&lease.namespace, &lease.name);
        }
        grants
    }
}

impl Target {
    /// Namespace and name, as people write them.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether a type is configured that readers may look for.
    pub(super) fn is_typed(&self) -> bool {
        self.kind != "Opaque"
    }

    /// Whether it holds authorities, and nothing of the leaf.
    pub(super) fn is_bundle(&self) -> bool {
        self.fields
            .values()
            .all(|it| matches!(it.content, Content::Bundle | Content::TrustStore { .. }))
    }

    /// The keys of the fields that hold the authorities as PEM.
    pub(super) fn bundles(&self) -> impl Iterator<Item = (&str, bool)> {
        let fields = self.fields.iter().filter(|(_, it)| matches!(it.content, Content::Bundle));
        fields.map(|(key, field)| (key.as_str(), field.base64))
    }
}
