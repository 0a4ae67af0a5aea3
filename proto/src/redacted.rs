//! `Debug` for the messages that carry secrets: a length in place of each key or token.

use std::fmt;

use crate::{Jwtsvid, JwtsvidResponse, ValidateJwtsvidRequest, X509svid, X509svidResponse};

impl fmt::Debug for X509svidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let federated: Vec<_> = self.federated_bundles.keys().collect();
        f.debug_struct("X509svidResponse")
            .field("svids", &self.svids)
            .field("crl", &self.crl.len())
            .field("federated_bundles", &federated)
            .finish()
    }
}

impl fmt::Debug for X509svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509svid")
            .field("spiffe_id", &self.spiffe_id)
            .field("x509_svid", &Length(self.x509_svid.len()))
            .field("x509_svid_key", &Length(self.x509_svid_key.len()))
            .field("bundle", &Length(self.bundle.len()))
            .field("hint", &self.hint)
            .finish()
    }
}

impl fmt::Debug for JwtsvidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtsvidResponse").field("svids", &self.svids).finish()
    }
}

impl fmt::Debug for Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwtsvid")
            .field("spiffe_id", &self.spiffe_id)
            .field("svid", &Length(self.svid.len()))
            .field("hint", &self.hint)
            .finish()
    }
}

impl fmt::Debug for ValidateJwtsvidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidateJwtsvidRequest")
            .field("audience", &self.audience)
            .field("svid", &Length(self.svid.len()))
            .finish()
    }
}

struct Length(usize);

impl fmt::Debug for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key_and_no_token() {
        let response = X509svidResponse {
            svids: vec![X509svid { x509_svid_key: vec![222; 138], ..X509svid::default() }],
            ..X509svidResponse::default()
        };
        let shown = format!("{response:?}");
        assert!(shown.contains("x509_svid_key: [138 bytes]"), "{shown}");
        assert!(!shown.contains("222"), "{shown}");

        let svid = "eyJhbGciOi.secret".to_owned();
        let token = Jwtsvid { svid: svid.clone(), ..Jwtsvid::default() };
        let response = JwtsvidResponse { svids: vec![token] };
        let request = ValidateJwtsvidRequest { svid, ..ValidateJwtsvidRequest::default() };
        let shown = format!("{response:?} {request:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
