//! The name of a leaf.

use std::fmt;

use super::Certificate;
use super::identity::{SpiffeId, workload_id};

/// The name of a leaf, for people and for comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafName {
    /// An X509-SVID.
    Spiffe(SpiffeId),
    /// Another certificate, by its DNS names.
    Dns(Vec<String>),
    /// Another certificate without a DNS name, by its subject, which may be empty.
    Subject(String),
}

impl LeafName {
    /// The name of a leaf, which need not be an X509-SVID.
    pub(super) fn of(leaf: &Certificate) -> Self {
        if let [uri] = leaf.uris()
            && let Ok(id) = workload_id(uri)
        {
            return Self::Spiffe(id);
        }
        match leaf.dns_names() {
            [] => Self::Subject(leaf.distinguished_name()),
            names => Self::Dns(names.to_vec()),
        }
    }

    /// Whether a leaf has this name. Always false for a name that is only a subject, because many certificates have the same
    /// subject.
    #[must_use]
    pub fn matches(&self, leaf: &Certificate) -> bool {
        match self {
            Self::Spiffe(id) => matches!(leaf.uris(), [uri] if *uri == id.to_string()),
            Self::Dns(names) => leaf.dns_names() == names.as_slice(),
            Self::Subject(_) => false,
        }
    }

    /// The SPIFFE ID, if it is one.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        match self {
            Self::Spiffe(id) => Some(id),
            Self::Dns(_) | Self::Subject(_) => None,
        }
    }
}

impl fmt::Display for LeafName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => write!(f, "{id}"),
            Self::Dns(names) => f.write_str(&names.join(", ")),
            Self::Subject(subject) if subject.is_empty() => {
                f.write_str("a certificate without a name")
            }
            Self::Subject(subject) => f.write_str(subject),
        }
    }
}
