//! Path validation from the leaf to a root of its own trust domain's bundle (RFC 5280 section 6).

use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::Certificate;

/// How far a leaf's start may lie ahead of our clock. Agents date certificates 10 s back; a minute more is
/// what machines without a tight clock are apart.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Why there is no path.
#[derive(Debug, thiserror::Error)]
pub enum NoPath {
    /// Every self-signed root of the bundle has expired or is not valid yet.
    #[error("no root of the bundle is valid now")]
    NoValidRoot,
    /// Validation failed.
    #[error("{}", explain(.0))]
    Invalid(#[from] webpki::Error),
}

/// What the leaf is to be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A server or a client, as its extended key usage says.
    Any,
    /// A server, whatever it says.
    Server,
    /// A client, whatever it says.
    Client,
}

/// Validates the path from `leaf` to a self-signed authority. Give only authorities of the leaf's own trust domain
/// where others must not vouch for it.
pub fn verify(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    usage: Usage,
    now: SystemTime,
) -> Result<(), NoPath> {
    let roots: Vec<CertificateDer<'_>> = authorities
        .iter()
        .filter(|root| root.is_self_signed() && is_valid(root, now))
        .map(|root| CertificateDer::from(root.der()))
        .collect();
    let anchors: Vec<TrustAnchor<'_>> =
        roots.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    if anchors.is_empty() {
        return Err(NoPath::NoValidRoot);
    }
    // A verifier may also find an intermediate in its bundle, so one that is there counts.
    let between: Vec<&Certificate> = intermediates
        .iter()
        .chain(authorities.iter().filter(|authority| !authority.is_self_signed()))
        .collect();
    let intermediates: Vec<CertificateDer<'_>> =
        between.iter().map(|certificate| CertificateDer::from(certificate.der())).collect();
    let der = CertificateDer::from(leaf.der());
    EndEntityCert::try_from(&der)?.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &intermediates,
        unix_time(moment_of_validation(leaf, &between, now)),
        key_usage(leaf, usage),
        None,
        None,
    )?;
    Ok(())
}

fn is_valid(certificate: &Certificate, now: SystemTime) -> bool {
    certificate.not_before() <= now + CLOCK_SKEW && now < certificate.not_after()
}

/// `now`, or a start of validity that lies ahead of it by no more than the allowed skew.
fn moment_of_validation(
    leaf: &Certificate,
    intermediates: &[&Certificate],
    now: SystemTime,
) -> SystemTime {
    intermediates
        .iter()
        .map(|certificate| certificate.not_before())
        .chain([leaf.not_before()])
        .filter(|start| *start <= now + CLOCK_SKEW)
        .fold(now, SystemTime::max)
}

/// Servers and clients share this program; a leaf for clients alone is taken as one.
fn key_usage(leaf: &Certificate, usage: Usage) -> KeyUsage {
    match usage {
        Usage::Server => return KeyUsage::server_auth(),
        Usage::Client => return KeyUsage::client_auth(),
        Usage::Any => {}
    }
    let client_only = X509Certificate::from_der(leaf.der()).is_ok_and(|(_, parsed)| {
        matches!(parsed.extended_key_usage(), Ok(Some(usage))
            if usage.value.client_auth && !usage.value.server_auth)
    });
    if client_only { KeyUsage::client_auth() } else { KeyUsage::server_auth() }
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO),
    )
}

/// The library's names for what it found, in words where people meet them.
fn explain(error: &webpki::Error) -> String {
    use webpki::Error;
    match error {
        Error::UnknownIssuer => {
            "no authority of the bundle has signed it, or an intermediate is missing"
        }
        Error::InvalidSignatureForPublicKey => {
            "a signature in the chain is not that of the authority it names"
        }
        Error::CertExpired { .. } => "a certificate in the chain has expired",
        Error::CertNotValidYet { .. } => "a certificate in the chain is not valid yet",
        Error::CaUsedAsEndEntity => "it is a CA certificate itself",
        Error::EndEntityUsedAsCa => "it is signed by a certificate that is no CA",
        Error::UnsupportedCertVersion => "it is no X.509 certificate of version 3",
        Error::RequiredEkuNotFoundContext(_) => "its extended key usage does not allow this use",
        other => return other.to_string(),
    }
    .to_owned()
}
