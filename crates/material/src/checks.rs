//! The checks between an offer and a [`Material`]. The check with the most useful error comes first.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::SystemTime;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::arrangement::{Arrangement, arrange};
use super::certificate::{Certificate, Fingerprint, MalformedCertificate, certificates};
use super::identity::{InvalidIdentity, SpiffeId, workload_id};
use super::key::{PrivateKey, UnusableKey};
use super::named::LeafName;
use super::openssl::{self, Refusal};
use super::rivals::ForeignAuthoritiesByName;
use super::validity::CLOCK_SKEW;
use super::{Expectations, Material, Offer, Policy};

/// Most certificates in an SVID: a leaf and its intermediates.
const LONGEST_CHAIN: usize = 16;
/// Most authorities in one bundle, and in all bundles together. A handshake has room for the names of about 580 of SPIRE's.
/// The cost of verifying signatures is limited separately.
pub const LARGEST_BUNDLE: usize = 1024;
/// Most bytes that the names of all authorities may take. PostgreSQL sends all names to each client, in a list of at most
/// 65,535 bytes (RFC 8446, section 4.2.4). With a longer list nobody can connect over TLS. The rest of the room is for
/// [`MOST_EXTRA_NAMES`].
pub const MOST_NAMES: usize = 49_000;
/// The same for the authorities that the operator appends.
pub const MOST_EXTRA_NAMES: usize = 16_000;
/// Largest certificate chain, in bytes. A chain of four RSA certificates has eight thousand; clients and our own probe refuse a
/// handshake's message of more than about 60,000, so nobody could connect over TLS.
pub const LARGEST_CHAIN: usize = 48 * 1024;
/// Largest private key, in bytes of DER; RSA with 16384 bits has about 9,300.
const LARGEST_KEY: usize = 16 * 1024;

/// Why an offer was refused. Each text says what is wrong with it and stands alone in a log line.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A mandatory field is empty (Workload API section 5.2.1: discard the message and report it).
    #[error("the {field} is empty")]
    Empty {
        /// `certificate chain`, `private key` or `bundle`.
        field: &'static str,
    },
    /// The certificate chain is not a sequence of certificates.
    #[error("the certificate chain is malformed: {0}")]
    Chain(MalformedCertificate),
    /// The bundle is not a sequence of certificates.
    #[error("the bundle is malformed: {0}")]
    Bundle(MalformedCertificate),
    /// The key is larger than 16 KiB of DER, which no usable key is.
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
    /// The URI name, or the ID that came with the SVID, is not the SPIFFE ID of a workload.
    #[error("the SPIFFE ID is invalid: {0}")]
    Identity(InvalidIdentity),
    /// The message and the leaf have different IDs.
    #[error("the message says {message}, but its leaf says {leaf}")]
    OtherIdentity {
        /// The ID in the message.
        message: SpiffeId,
        /// The ID in the leaf.
        leaf: SpiffeId,
    },
    /// Not the configured SPIFFE ID.
    #[error("the SVID is for {offered}, but the configuration requires {expected}")]
    UnexpectedIdentity {
        /// The ID that was offered.
        offered: SpiffeId,
        /// The configured ID.
        expected: SpiffeId,
    },
    /// Not of the configured trust domain.
    #[error("the SVID for {offered} is not of trust domain {expected}")]
    UnexpectedTrustDomain {
        /// The ID that was offered.
        offered: SpiffeId,
        /// The configured trust domain.
        expected: String,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] UnusableKey),
    /// The key belongs to another leaf.
    #[error("the private key does not belong to the leaf")]
    KeyMismatch,
    /// The bundle has no root: OpenSSL needs a self-signed certificate at the end of a chain.
    #[error("none of the bundle's {0} certificates is a self-signed root")]
    NoRoot(usize),
    /// With so many authorities PostgreSQL could complete no handshake.
    #[error(
        "the names of the bundle's {count} certificates take {size} bytes, more than the {MOST_NAMES} that a TLS handshake \
         has room for"
    )]
    TooManyNames {
        /// How many certificates.
        count: usize,
        /// Size of their distinct names, in bytes.
        size: usize,
    },
    /// With so large a chain OpenSSL could complete no handshake.
    #[error(
        "the certificates that PostgreSQL would send, the leaf and those that lead to a root, have {size} bytes, more than the \
         {LARGEST_CHAIN} that a TLS handshake has room for"
    )]
    ChainTooLarge {
        /// Their size in bytes.
        size: usize,
    },
    /// The leaf has expired.
    #[error("the SVID expired at {}", rfc3339(*.0))]
    Expired(SystemTime),
    /// The leaf is not valid yet, even with [`CLOCK_SKEW`].
    #[error("the SVID is valid only from {}", rfc3339(*.0))]
    NotYetValid(SystemTime),
    /// OpenSSL accepts no path from the leaf to a root of the bundle.
    #[error("OpenSSL finds no path from the leaf to a root of the bundle: {0}")]
    Unsigned(Refusal),
}

/// Certificates may hold times before 1970, on which the formatter panics.
fn rfc3339(time: SystemTime) -> impl std::fmt::Display {
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
    let name = match expectations.policy {
        Policy::Spiffe => {
            let spiffe_id = leaf_rules(&leaf).map_err(first)?;
            if let Some(named) = offer.spiffe_id {
                let named = workload_id(&named).map_err(Rejection::Identity)?;
                if named != spiffe_id {
                    return Err(Rejection::OtherIdentity { message: named, leaf: spiffe_id });
                }
            }
            check_expectations(&spiffe_id, expectations)?;
            LeafName::Spiffe(spiffe_id)
        }
        Policy::X509 => {
            readable(&leaf)?;
            LeafName::of(&leaf)
        }
    };

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
    servable(&intermediates).map_err(Rejection::Chain)?;
    fits(&leaf, &intermediates, &arrangement, &authorities)?;
    intermediates.sort_by_key(|found| arrangement.place(found));
    let (left_out, authorities): (Vec<_>, Vec<_>) = authorities
        .into_iter()
        .enumerate()
        .partition(|(_, found)| arrangement.left_out.contains(&found.fingerprint()));
    let authorities = authorities.into_iter().map(|(_, found)| found).collect();

    Ok(Material {
        policy: expectations.policy,
        name,
        hint: Some(offer.hint).filter(|hint| !hint.is_empty()),
        leaf,
        intermediates,
        key,
        authorities,
        federated: Vec::new(),
        names: OnceLock::new(),
        federated_index: ForeignAuthoritiesByName::default(),
        room: OnceLock::new(),
        left_out,
        not_before: arrangement.accepted.not_before,
        not_after: arrangement.accepted.not_after,
        allowed_uses: arrangement.accepted.allowed_uses,
        users: expectations.users,
    })
}

/// Whether OpenSSL serves the certificates after the leaf, including those that no path needs.
fn servable(intermediates: &[Certificate]) -> Result<(), MalformedCertificate> {
    for (position, certificate) in (2..).zip(intermediates) {
        openssl::check_served(certificate)
            .map_err(|cause| MalformedCertificate::Unloadable { position, cause })?;
    }
    Ok(())
}

/// Fails if the certificates that OpenSSL sends are larger than [`LARGEST_CHAIN`]. Where the file holds only a leaf, OpenSSL
/// also sends those that lead from it to a root of `ssl_ca_file`, and the root itself (`ssl_add_cert_chain`). libpq does the
/// same.
fn fits(
    leaf: &Certificate,
    intermediates: &[Certificate],
    arrangement: &Arrangement,
    authorities: &[Certificate],
) -> Result<(), Rejection> {
    let own = leaf.der().len() + intermediates.iter().map(|found| found.der().len()).sum::<usize>();
    let found = authorities.iter().filter(|found| arrangement.needs(found));
    let found: usize = found.map(|found| found.der().len()).sum();
    let size = if intermediates.is_empty() { own + found } else { own };
    if size > LARGEST_CHAIN { Err(Rejection::ChainTooLarge { size }) } else { Ok(()) }
}

/// A handshake has no room for the authorities of another trust domain. The workload's own SVID is published without them:
/// other trust domains must not prevent its publication.
#[derive(Debug, thiserror::Error)]
#[error(
    "with its authorities there would be more than {LARGEST_BUNDLE} authorities, or more than {MOST_NAMES} bytes of their names, and a TLS \
     handshake has room for no more"
)]
pub struct NoRoom;

/// Size of the certificates' subjects in a server's list of authorities, in bytes: each distinct subject, plus two bytes for
/// its length.
pub fn size_of_names<'a>(authorities: impl IntoIterator<Item = &'a Certificate>) -> usize {
    let names: HashSet<&[u8]> = authorities.into_iter().map(Certificate::subject).collect();
    names.into_iter().map(|name| name.len() + 2).sum()
}

/// Each certificate once: the search for a path looks at all of them, within a budget.
fn distinct(
    mut certificates: Vec<Certificate>,
    known: &mut HashSet<Fingerprint>,
) -> Vec<Certificate> {
    certificates.retain(|certificate| known.insert(certificate.fingerprint()));
    certificates
}

/// X509-SVID sections 2 (one URI name), 4.1 (no CA) and 4.3 (key usage): returns the SPIFFE ID, or every broken rule.
pub fn leaf_rules(leaf: &Certificate) -> Result<SpiffeId, Vec<Rejection>> {
    let malformed = || Rejection::Chain(MalformedCertificate::NotDer { position: 1 });
    let Ok((_, parsed)) = X509Certificate::from_der(leaf.der()) else {
        return Err(vec![malformed()]);
    };
    let mut broken = Vec::new();
    // An unreadable extension does not count as absent.
    match parsed.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => broken.push(Rejection::LeafIsAuthority),
        Ok(_) => {}
        Err(_) => broken.push(malformed()),
    }
    match parsed.key_usage() {
        Ok(None) => {
            broken.push(Rejection::KeyUsage("is missing, so it lacks digitalSignature"));
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

/// Fails unless the extensions that pgsvid reads can be parsed: a malformed one does not count as absent.
fn readable(leaf: &Certificate) -> Result<(), Rejection> {
    let malformed = || Rejection::Chain(MalformedCertificate::NotDer { position: 1 });
    let (_, parsed) = X509Certificate::from_der(leaf.der()).map_err(|_| malformed())?;
    let is_readable = parsed.basic_constraints().is_ok()
        && parsed.key_usage().is_ok()
        && parsed.subject_alternative_name().is_ok();
    if is_readable { Ok(()) } else { Err(malformed()) }
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
