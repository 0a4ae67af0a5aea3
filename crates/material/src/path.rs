//! Path validation from the leaf to a root of its own trust domain's bundle (RFC 5280 section 6).

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Certificate, Fingerprint};
use super::issuers::{Path, named, paths};
use super::validity::{CLOCK_SKEW, is_valid};

/// Why there is no path.
#[derive(Debug, thiserror::Error)]
pub enum NoPath {
    /// Every self-signed root of the bundle has expired or is not valid yet.
    #[error("no root of the bundle is valid now")]
    NoValidRoot,
    /// Validation failed.
    #[error("{}", explain(.0))]
    Invalid(webpki::Error),
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

/// A path that is sound.
#[derive(Debug)]
pub struct Sound {
    /// When the leaf, the root, or what is between them expires, whichever comes first.
    pub not_after: SystemTime,
    /// What is between leaf and root, from the leaf upwards.
    pub between: Vec<Fingerprint>,
}

/// Validates the path from `leaf` to a self-signed authority. Give only authorities of the leaf's own trust domain
/// where others must not vouch for it. Returns the path that is valid for longest.
///
/// However many certificates there are, it takes a fraction of a second.
pub fn verify(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    usage: Usage,
    now: SystemTime,
) -> Result<Sound, NoPath> {
    if !has_root(authorities.iter().filter(|root| is_valid(root, now))) {
        return Err(NoPath::NoValidRoot);
    }
    let end = |path: &[&Certificate], root: SystemTime| {
        path.iter().fold(leaf.not_after().min(root), |end, found| end.min(found.not_after()))
    };
    let sound = |path: &[&Certificate], root: SystemTime| Sound {
        not_after: end(path, root),
        between: path.iter().map(|found| found.fingerprint()).collect(),
    };
    let mut paths = paths(leaf, intermediates, authorities, now);
    paths.sort_by_key(|path| Reverse(end(&path.between, path.root.not_after())));
    let mut why = None;
    for Path { root, between } in paths {
        match validate(leaf, &between, &[root], usage, now) {
            Ok(()) => return Ok(sound(&between, root.not_after())),
            Err(error) => why = why.or(Some(error)),
        }
    }
    if let Some(error) = why {
        return Err(error);
    }
    let (between, roots) = named(leaf, intermediates, authorities, now);
    validate(leaf, &between, &roots, usage, now)?;
    // Which of them it was is not known: the last one to expire, as PostgreSQL and clients try others of the name.
    let root = roots.iter().map(|root| root.not_after()).max();
    Ok(sound(&between, root.unwrap_or(leaf.not_after())))
}

/// Most certificates of which it is found out whether they are roots: each is a signature to verify.
const MOST_ROOTS: usize = 64;

/// Whether a root is among the first few that could be one.
pub(super) fn has_root<'a>(authorities: impl Iterator<Item = &'a Certificate>) -> bool {
    authorities
        .filter(|found| found.is_self_issued())
        .take(MOST_ROOTS)
        .any(Certificate::is_self_signed)
}

/// By webpki, to which few certificates are given.
fn validate(
    leaf: &Certificate,
    between: &[&Certificate],
    roots: &[&Certificate],
    usage: Usage,
    now: SystemTime,
) -> Result<(), NoPath> {
    let der = |certificate: &&Certificate| CertificateDer::from(certificate.der().to_vec());
    let roots: Vec<CertificateDer<'_>> = roots.iter().map(der).collect();
    let anchors: Vec<TrustAnchor<'_>> =
        roots.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    let intermediates: Vec<CertificateDer<'_>> = between.iter().map(der).collect();
    let der = CertificateDer::from(leaf.der());
    let certificate = EndEntityCert::try_from(&der).map_err(NoPath::Invalid)?;
    let verified = certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &intermediates,
        unix_time(moment_of_validation(leaf, between, now)),
        key_usage(leaf, usage),
        None,
        None,
    );
    verified.map(drop).map_err(NoPath::Invalid)
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

/// The library's names for what it found, in words where people meet them. Never the library's own: some hold bytes of the
/// certificates, as many as there are.
fn explain(error: &webpki::Error) -> &'static str {
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
        Error::EmptyEkuExtension => "an extended key usage in the chain is empty",
        Error::InvalidCertValidity => "a certificate in the chain ends before it begins",
        Error::NameConstraintViolation => "a name constraint in the chain does not allow its names",
        Error::PathLenConstraintViolated => {
            "an authority in the chain allows no authority below it"
        }
        Error::MaximumPathDepthExceeded => "its chain has more than six intermediates",
        Error::SignatureAlgorithmMismatch => {
            "a certificate in the chain names two different signature algorithms"
        }
        Error::UnsupportedCriticalExtension => {
            "a certificate in the chain has a critical extension that is not supported"
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a signature in the chain is of an algorithm that is not supported, or not with its authority's key"
        }
        Error::BadDer
        | Error::BadDerTime
        | Error::InvalidSerialNumber
        | Error::MalformedExtensions
        | Error::ExtensionValueInvalid
        | Error::TrailingData(_) => "a certificate in the chain is malformed",
        Error::MaximumSignatureChecksExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => {
            "there are too many certificates, or constraints on names, to look for a path"
        }
        _ => "a certificate in the chain is not acceptable",
    }
}
