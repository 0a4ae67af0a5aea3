//! Whether a client trusts a server, as libpq's `sslmode=verify-full` decides: by OpenSSL's rules, and by the host name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::host_name;
use pgsvid_base::timing;
use pgsvid_material::{Certificate, Refusal, Usage, verify_path};

/// Why a client does not trust a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// OpenSSL refuses the chain.
    #[error("{0}")]
    Chain(Refusal),
    /// The server's certificate, which this variant holds, is for another host.
    #[error("the certificate is not for this host")]
    Name(Box<Certificate>),
    /// What the server sends is not a certificate.
    #[error("the server sends a certificate that cannot be read")]
    Malformed,
}

/// Stores the reason, because the TLS library only returns a text, and whether the server has shown a certificate.
#[derive(Debug, Clone, Default)]
pub(super) struct Reason(Arc<Mutex<Option<Distrust>>>, Arc<AtomicBool>);

impl Reason {
    /// Whether the server has shown a certificate.
    pub(super) fn has_seen_one(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }

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
    /// The name to compare; `None` if only the chain counts.
    pub(super) host: Option<String>,
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
        if self.host.as_ref().is_none_or(|host| host_name::matches(&leaf, host)) {
            Ok(())
        } else {
            Err(Distrust::Name(Box::new(leaf)))
        }
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
        self.reason.1.store(true, Ordering::Relaxed);
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
