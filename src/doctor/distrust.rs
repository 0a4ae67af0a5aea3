//! Whether a client trusts a server, as libpq's `sslmode=verify-full` finds out: by OpenSSL's rules, and by the host's name.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::host_name;
use crate::material::{Certificate, Refusal, Usage, verify_path};
use crate::timing;

/// Why a client does not trust a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Distrust {
    /// OpenSSL refuses the chain.
    #[error("{0}")]
    Chain(Refusal),
    /// The certificate is for somebody else.
    #[error("the certificate is not for this host")]
    Name,
    /// What the server sends is no certificate.
    #[error("the server sends a certificate that cannot be read")]
    Malformed,
}

/// Where the reason is put: what goes through the TLS library comes back as a text.
#[derive(Debug, Clone, Default)]
pub(super) struct Reason(Arc<Mutex<Option<Distrust>>>);

impl Reason {
    pub(super) fn take(&self) -> Option<Distrust> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, distrust: Distrust) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(distrust);
    }
}

/// Judges a server as libpq does.
#[derive(Debug)]
pub(super) struct LikeLibpq {
    pub(super) authorities: Vec<Certificate>,
    pub(super) host: String,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) reason: Reason,
}

impl LikeLibpq {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
    ) -> Result<(), Distrust> {
        let parse = |der: &CertificateDer<'_>| Certificate::parse(der);
        let leaf = parse(leaf).map_err(|_| Distrust::Malformed)?;
        let rest = rest.iter().map(parse).collect::<Result<Vec<_>, _>>();
        let rest = rest.map_err(|_| Distrust::Malformed)?;
        verify_path(&leaf, &rest, &self.authorities, Usage::Server, timing::now())
            .map_err(Distrust::Chain)?;
        if host_name::matches(&leaf, &self.host) { Ok(()) } else { Err(Distrust::Name) }
    }
}

impl ServerCertVerifier for LikeLibpq {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(leaf, rest).map(|()| ServerCertVerified::assertion()).map_err(|distrust| {
            self.reason.put(distrust);
            CertificateError::ApplicationVerificationFailure.into()
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
