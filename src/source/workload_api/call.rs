//! The calls of the Workload API (SPIFFE Workload API, sections 5 and 6), each with its request.

use pgsvid_proto::JwtsvidRequest;
use prost::Message as _;

/// A call, and its request as bytes.
pub(super) struct Call {
    pub(super) path: &'static str,
    pub(super) request: Vec<u8>,
}

impl Call {
    /// The stream of X.509-SVIDs. The request is empty: the agent finds out by itself which workload calls.
    pub(super) fn x509_svids() -> Self {
        Self { path: "/SpiffeWorkloadAPI/FetchX509SVID", request: Vec::new() }
    }

    /// Tokens for this audience and this SPIFFE ID.
    pub(super) fn jwt_svids(audience: &[String], spiffe_id: &str) -> Self {
        let (audience, spiffe_id) = (audience.to_vec(), spiffe_id.to_owned());
        let request = JwtsvidRequest { audience, spiffe_id }.encode_to_vec();
        Self { path: "/SpiffeWorkloadAPI/FetchJWTSVID", request }
    }

    /// The stream of the keys with which tokens are verified.
    pub(super) fn jwt_bundles() -> Self {
        Self { path: "/SpiffeWorkloadAPI/FetchJWTBundles", request: Vec::new() }
    }
}
