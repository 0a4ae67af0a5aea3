//! The API server of a Kubernetes cluster: the few requests that pgsvid makes, over one HTTP/2 connection.
//!
//! An answer is read up to a limit, each request has a time limit, and the token is read for each request. Nothing here decides
//! what is written.

mod answer;
mod client;
mod connection;
mod error;
mod explain;
mod lease;
mod object;
mod rbac;
mod review;
mod secret;
mod settings;
mod watch;

pub use client::Client;
pub use error::{Cause, Error, Refusal};
pub use explain::explain;
pub use lease::{Lease, LeaseSpec};
pub use object::{ManagedFields, Metadata, OwnerReference};
pub use rbac::{Grants, ON_LEASES, ON_SECRETS, Subject};
pub use review::{Access, Right};
pub use secret::Secret;
pub use settings::{Server, Settings};
pub use watch::{Event, Watch};

/// The directory of a `ServiceAccount`'s token, certificate authority and namespace in every container.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Namespace and name of an object, as people write them; foreign text is escaped.
#[must_use]
pub fn shown(namespace: &str, name: &str) -> String {
    crate::text::ascii(&format!("{namespace}/{name}"))
}
