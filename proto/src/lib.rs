//! The SPIFFE Workload API: messages and client, and the server with the feature `server`.
//!
//! Generated at build time from `proto/workload.proto`, which has the service, names and numbers of
//! the SPIFFE specification "The SPIFFE Workload API". The client is generic over its channel: who
//! connects decides how, and with which time-outs.
//!
//! The messages that carry private keys or tokens have a `Debug` that shows lengths instead. They
//! do *not* wipe their memory when dropped; code that keeps a key has to do that itself.

mod redacted;

#[allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    reason = "prost and tonic wrote this code; what it looks like is decided there"
)]
mod generated {
    tonic::include_proto!("_");

    pub mod google {
        pub mod protobuf {
            tonic::include_proto!("google.protobuf");
        }
    }
}

/// The well-known types that the definition uses.
pub use generated::google::protobuf;
#[cfg(feature = "server")]
pub use generated::spiffe_workload_api_server;
pub use generated::{
    JwtBundlesRequest, JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse,
    ValidateJwtsvidRequest, ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse,
    X509svid, X509svidRequest, X509svidResponse, spiffe_workload_api_client,
};

/// The metadata key that each request must carry, with [`SECURITY_HEADER_VALUE`].
///
/// A server-side request forgery may reach a socket, but cannot add such a header (SPIFFE Workload
/// Endpoint). An agent answers `InvalidArgument` without it.
pub const SECURITY_HEADER: &str = "workload.spiffe.io";

/// The value that [`SECURITY_HEADER`] must have.
pub const SECURITY_HEADER_VALUE: &str = "true";
