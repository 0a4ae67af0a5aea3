//! The checks between an offer and a [`Material`], in the order in which their answers are most useful.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::SystemTime;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::arrangement::{Arrangement, arrange};
use super::certificate::{Certificate, Fingerprint, MalformedCertificate, certificates};
use super::identity::{InvalidIdentity, SpiffeId, workload_id};
use super::key::{PrivateKey, UnusableKey};
use super::openssl::{self, Refusal};
use super::validity::CLOCK_SKEW;
use super::{Expectations, Material, Offer};

/// Most certificates in an SVID: a leaf and its intermediates.
const LONGEST_CHAIN: usize = 16;
/// Most authorities in a bundle that are looked at, and of all bundles together. Each is a signature to verify, of a
/// millisecond for P-384; a handshake has room for the names of about 580 of SPIRE's.
pub const LARGEST_BUNDLE: usize = 1024;
/// Most bytes that the names of all authorities may take. PostgreSQL sends each of them to each client, in a list of
/// 65,535 bytes at most (RFC 8446, section 4.2.4) and a message that has room for little else: with more, nobody can
/// connect over TLS. The rest of the room is for [`MOST_EXTRA_NAMES`].
pub const MOST_NAMES: usize = 49_000;
/// The same for the authorities that the operator appends.
pub const MOST_EXTRA_NAMES: usize = 16_000;
/// Largest private key, in bytes of DER; RSA with 16384 bits has about 9,300.
const LARGEST_KEY: usize = 16 * 1024;

/// Why an offer was refused. Each text says what is wrong with it and stands alone in a log line.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A mandatory field is empty (Workload API section 5.2.1: discard the message, and report it).
    #[error("the {field} is empty")]
    Empty {
        /// `certificate chain`, `private key` or `bundle`.
        field: &'static str,
    },
    /// The certificate chain is no sequence of certificates.
    #[error("the certificate chain is malformed: {0}")]
    Chain(MalformedCertificate),
    /// The bundle is no sequence of certificates.
    #[error("the bundle is malformed: {0}")]
    Bundle(MalformedCertificate),
    /// No key of use is as large.
    #[error("the private key has {size} bytes, more than the {LARGEST_KEY} that are allowed")]
    KeyTooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The leaf may sign certificates.
    #[error("the leaf is a CA certificate; X509-SVID section 4 forbids that")]
    LeafIsAuthority,
    /// The leaf's key usage is not that of a leaf.
    #[error("the leaf's key usage {0}; X509-SVID section 4.3 forbids that")]
    KeyUsage(&'static str),
    /// Not exactly one URI name.
    #[error("the leaf has {0} URI names; an SVID has exactly one")]
    UriNames(usize),
    /// The URI name, or the ID that came with the SVID, is no SPIFFE ID of a workload.
    #[error("the SPIFFE ID is invalid: {0}")]
    Identity(InvalidIdentity),
    /// The message says one ID, the certificate another.
    #[error("the message names {message}, its leaf {leaf}")]
    OtherIdentity {
        /// As in the message.
        message: SpiffeId,
        /// As in the leaf.
        leaf: SpiffeId,
    },
    /// Not the SPIFFE ID that is configured.
    #[error("the SVID is for {offered}; the configuration demands {expected}")]
    UnexpectedIdentity {
        /// As offered.
        offered: SpiffeId,
        /// As configured.
        expected: SpiffeId,
    },
    /// Not the trust domain that is configured.
    #[error("the SVID for {offered} is not of trust domain {expected}")]
    UnexpectedTrustDomain {
        /// As offered.
        offered: SpiffeId,
        /// As configured.
        expected: String,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] UnusableKey),
    /// The key is another leaf's.
    #[error("the private key does not belong to the leaf")]
    KeyMismatch,
    /// The bundle cannot vouch for anybody: OpenSSL wants a self-signed certificate at the end of a chain.
    #[error("none of the bundle's {0} certificates is a self-signed root")]
    NoRoot(usize),
    /// With so many authorities PostgreSQL could not make a handshake with anybody.
    #[error(
        "the names of the bundle's {count} certificates take {size} bytes, more than the {MOST_NAMES} that a TLS handshake \
         has room for"
    )]
    TooManyNames {
        /// How many certificates.
        count: usize,
        /// What their distinct names take, in bytes.
        size: usize,
    },
    /// The leaf has expired.
    #[error("the SVID expired at {}", shown(*.0))]
    Expired(SystemTime),
    /// The leaf's time has not come, even with [`CLOCK_SKEW`].
    #[error("the SVID is valid only from {}", shown(*.0))]
    NotYetValid(SystemTime),
    /// No path from the leaf to a root of the bundle that OpenSSL takes.
    #[error(
        "the leaf is not signed through its chain by an authority of the bundle as OpenSSL demands: {0}"
    )]
    Unsigned(Refusal),
}

/// Certificates may hold times before 1970, which the formatter answers with a panic.
fn shown(time: SystemTime) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(time.max(SystemTime::UNIX_EPOCH))
}

pub(super) fn check(
    offer: Offer,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Material, Rejection> {
    for (field, empty) in [
        ("certificate chain", offer.chain.is_empty()),
        ("private key", offer.key.is_empty()),
        ("bundle", offer.bundle.is_empty()),
    ] {
        if empty {
            return Err(Rejection::Empty { field });
        }
    }
    if offer.key.len() > LARGEST_KEY {
        return Err(Rejection::KeyTooLarge { size: offer.key.len() });
    }

    let mut chain = certificates(&offer.chain, LONGEST_CHAIN).map_err(Rejection::Chain)?;
    let leaf = chain.remove(0);
    let mut intermediates = chain;
    let spiffe_id = leaf_rules(&leaf).map_err(first)?;
    if let Some(named) = offer.spiffe_id {
        let named = workload_id(&named).map_err(Rejection::Identity)?;
        if named != spiffe_id {
            return Err(Rejection::OtherIdentity { message: named, leaf: spiffe_id });
        }
    }
    check_expectations(&spiffe_id, expectations)?;

    let key = PrivateKey::new(offer.key);
    if key.public_key()?.as_ref() != leaf.public_key() {
        return Err(Rejection::KeyMismatch);
    }
    key.signs_for(&leaf)?;
    let key = key.readable();

    let mut known = HashSet::new();
    let authorities = certificates(&offer.bundle, LARGEST_BUNDLE).map_err(Rejection::Bundle)?;
    let authorities = distinct(authorities, &mut known);
    if !authorities.iter().any(Certificate::is_self_signed) {
        return Err(Rejection::NoRoot(authorities.len()));
    }
    let size = size_of_names(&authorities);
    if size > MOST_NAMES {
        return Err(Rejection::TooManyNames { count: authorities.len(), size });
    }
    validity(&leaf, now)?;
    let arrangement =
        arrange(&leaf, &intermediates, &authorities, now).map_err(Rejection::Unsigned)?;
    servable(&intermediates, &arrangement).map_err(Rejection::Chain)?;
    intermediates.sort_by_key(|found| arrangement.place(found));
    let (left_out, authorities): (Vec<_>, Vec<_>) = authorities
        .into_iter()
        .enumerate()
        .partition(|(_, found)| arrangement.left_out.contains(&found.fingerprint()));
    let authorities = authorities.into_iter().map(|(_, found)| found).collect();

    Ok(Material {
        spiffe_id,
        hint: Some(offer.hint).filter(|hint| !hint.is_empty()),
        leaf,
        intermediates,
        key,
        authorities,
        federated: Vec::new(),
        names: OnceLock::new(),
        federated_names: OnceLock::new(),
        left_out,
        is_unchecked: arrangement.sound.is_unchecked,
        not_after: arrangement.sound.not_after,
    })
}

/// Whether OpenSSL serves the certificates behind the leaf, also those that no path needs.
fn servable(
    intermediates: &[Certificate],
    arrangement: &Arrangement,
) -> Result<(), MalformedCertificate> {
    for (position, certificate) in (2..).zip(intermediates) {
        openssl::check_served(certificate, arrangement.needs(certificate))
            .map_err(|cause| MalformedCertificate::Unloadable { position, cause })?;
    }
    Ok(())
}

/// A handshake has no room for the authorities of another trust domain. Our own SVID does without them: nobody else's
/// authorities may keep it from being published.
#[derive(Debug, thiserror::Error)]
#[error(
    "with it there would be more than {LARGEST_BUNDLE} authorities, or more than {MOST_NAMES} bytes of their names, and a TLS \
     handshake has room for no more"
)]
pub struct NoRoom;

pub(super) fn federate(
    material: &mut Material,
    found: Vec<Certificate>,
) -> Result<Vec<Certificate>, NoRoom> {
    let (left_out, found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| material.is_obstructed_by(found));
    let mut known = material.authorities().map(Certificate::fingerprint).collect();
    let found = distinct(found, &mut known);
    let size = size_of_names(material.authorities().chain(&found));
    if known.len() > LARGEST_BUNDLE || size > MOST_NAMES {
        return Err(NoRoom);
    }
    material.federated.extend(found);
    material.federated_names = OnceLock::new();
    Ok(left_out)
}

/// What the certificates' subjects take in a server's list of authorities, in bytes: each distinct one, and two more for
/// its length.
pub fn size_of_names<'a>(authorities: impl IntoIterator<Item = &'a Certificate>) -> usize {
    let names: HashSet<&[u8]> = authorities.into_iter().map(Certificate::subject).collect();
    names.into_iter().map(|name| name.len() + 2).sum()
}

/// Each certificate once: a path is looked for among all of them, within a budget.
fn distinct(
    mut certificates: Vec<Certificate>,
    known: &mut HashSet<Fingerprint>,
) -> Vec<Certificate> {
    certificates.retain(|certificate| known.insert(certificate.fingerprint()));
    certificates
}

/// X509-SVID sections 2 (one URI name), 4.1 (no CA) and 4.3 (key usage): the SPIFFE ID, or every rule that is broken.
pub fn leaf_rules(leaf: &Certificate) -> Result<SpiffeId, Vec<Rejection>> {
    let malformed = || Rejection::Chain(MalformedCertificate::NotDer { position: 1 });
    let Ok((_, parsed)) = X509Certificate::from_der(leaf.der()) else {
        return Err(vec![malformed()]);
    };
    let mut broken = Vec::new();
    // An extension that cannot be read is not taken for one that is absent.
    match parsed.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => broken.push(Rejection::LeafIsAuthority),
        Ok(_) => {}
        Err(_) => broken.push(malformed()),
    }
    match parsed.key_usage() {
        Ok(None) => {
            broken.push(Rejection::KeyUsage("is missing, and with it digitalSignature"));
        }
        Ok(Some(usage)) if usage.value.key_cert_sign() || usage.value.crl_sign() => {
            broken.push(Rejection::KeyUsage("lets it sign certificates or CRLs"));
        }
        Ok(Some(usage)) if !usage.value.digital_signature() => {
            broken.push(Rejection::KeyUsage("lacks digitalSignature"));
        }
        Ok(Some(_)) => {}
        Err(_) => broken.push(malformed()),
    }
    if parsed.subject_alternative_name().is_err() {
        broken.push(malformed());
    }
    let identity = match leaf.uris() {
        [uri] => workload_id(uri).map_err(Rejection::Identity),
        other => Err(Rejection::UriNames(other.len())),
    };
    match identity {
        Ok(identity) if broken.is_empty() => Ok(identity),
        Ok(_) => Err(broken),
        Err(rejection) => {
            broken.push(rejection);
            Err(broken)
        }
    }
}

/// The first check that fails is the rejection.
fn first(broken: Vec<Rejection>) -> Rejection {
    let malformed = Rejection::Chain(MalformedCertificate::NotDer { position: 1 });
    broken.into_iter().next().unwrap_or(malformed)
}

/// Whether a certificate is valid at `now`, with [`CLOCK_SKEW`] at its start.
pub fn validity(certificate: &Certificate, now: SystemTime) -> Result<(), Rejection> {
    if certificate.not_after() <= now {
        return Err(Rejection::Expired(certificate.not_after()));
    }
    if certificate.not_before() > now + CLOCK_SKEW {
        return Err(Rejection::NotYetValid(certificate.not_before()));
    }
    Ok(())
}

fn check_expectations(offered: &SpiffeId, expectations: &Expectations) -> Result<(), Rejection> {
    if let Some(expected) = &expectations.spiffe_id
        && expected != offered
    {
        return Err(Rejection::UnexpectedIdentity {
            offered: offered.clone(),
            expected: expected.clone(),
        });
    }
    if let Some(expected) = &expectations.trust_domain
        && !offered.is_member_of(expected)
    {
        return Err(Rejection::UnexpectedTrustDomain {
            offered: offered.clone(),
            expected: expected.as_str().to_owned(),
        });
    }
    Ok(())
}
