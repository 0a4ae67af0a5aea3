//! Whether OpenSSL accepts a leaf with the sent chain and the trusted authorities, and for how long.

use std::collections::HashMap;
use std::time::SystemTime;

use super::allowed_uses::AllowedUses;
use super::certificate::Certificate;
use super::name::Comparable;
use super::openssl::{
    Available, Facts, Fault, Purpose, Refusal, Signatures, Which, build, judge, loads_key,
};
use super::validity::is_valid;

/// The use that the leaf needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A server or a client: it is enough that the leaf allows one of them.
    Any,
    /// A server, whatever the leaf allows otherwise.
    Server,
    /// A client, whatever the leaf allows otherwise.
    Client,
}

/// A leaf that OpenSSL accepts, and for how long.
#[derive(Debug)]
pub struct Accepted {
    /// From when on OpenSSL accepts it: the latest start of a certificate of the path. That may be up to 60 s in the future
    /// (`CLOCK_SKEW`).
    pub not_before: SystemTime,
    /// Until when OpenSSL accepts it: then a certificate expires, and OpenSSL finds no other in its place.
    pub not_after: SystemTime,
    /// The uses that the leaf does not allow.
    pub allowed_uses: AllowedUses,
}

/// Judges a leaf as OpenSSL does, which PostgreSQL and libpq use. If authorities of other trust domains must not vouch for the
/// leaf, do not pass them.
///
/// The work is limited: it takes a fraction of a second for any number and kind of certificates.
pub fn verify(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    usage: Usage,
    now: SystemTime,
) -> Result<Accepted, Refusal> {
    let candidates = Candidates::of(leaf, intermediates, authorities)?;
    let (sent, trusted): (Vec<_>, Vec<_>) =
        (candidates.sent.iter().collect(), candidates.trusted.iter().collect());
    let available = Available { sent: &sent, trusted: &trusted };
    // The keys of the certificates above the leaf are proven by the signatures that they have made. The leaf's key is not.
    let fault = match loads_key(&candidates.leaf) {
        Some(true) => None,
        Some(false) => Some(Fault::WeakKey),
        None => Some(Fault::Unchecked),
    };
    if let Some(fault) = fault {
        return Err(Refusal::Certificate { which: Which::Leaf, fault });
    }
    match candidates.verify(available, usage, now) {
        Ok(found) => Ok(candidates.accepted(available, usage, &found)),
        // An expired root is a better answer than a certificate that OpenSSL has not found.
        Err(_) if !has_valid_root(authorities, now) => Err(Refusal::NoValidRoot),
        Err(refusal) => Err(refusal),
    }
}

pub(super) fn has_valid_root(authorities: &[Certificate], now: SystemTime) -> bool {
    authorities.iter().any(|found| is_valid(found, now) && found.is_self_signed())
}

/// A path that OpenSSL accepts.
pub(super) struct Found<'s, 'a> {
    pub(super) path: Vec<&'s Facts<'a>>,
}

/// The certificates that names connect with a leaf, and what is known of their signatures. The others cannot be in a path.
pub(super) struct Candidates<'a> {
    pub(super) leaf: Facts<'a>,
    pub(super) sent: Vec<Facts<'a>>,
    pub(super) trusted: Vec<Facts<'a>>,
    pub(super) signatures: Signatures,
}

impl<'a> Candidates<'a> {
    pub(super) fn of(
        leaf: &'a Certificate,
        intermediates: &'a [Certificate],
        authorities: &'a [Certificate],
    ) -> Result<Self, Refusal> {
        let leaf = Facts::of(leaf).map_err(|_| Refusal::NoIssuer)?;
        let all: Vec<&Certificate> = intermediates.iter().chain(authorities).collect();
        let mut names: HashMap<Comparable, Vec<usize>> = HashMap::new();
        for (at, found) in all.iter().enumerate() {
            names.entry(Comparable::of(found.subject())).or_default().push(at);
        }
        let mut facts: Vec<Option<Facts<'a>>> = all.iter().map(|_| None).collect();
        let mut next = vec![leaf.issuer];
        while let Some(issuer) = next.pop() {
            for at in names.remove(&issuer).unwrap_or_default() {
                if let Ok(found) = Facts::of(all[at]) {
                    next.push(found.issuer);
                    facts[at] = Some(found);
                }
            }
        }
        let trusted = facts.split_off(intermediates.len()).into_iter().flatten().collect();
        let sent = facts.into_iter().flatten().collect();
        Ok(Self { leaf, sent, trusted, signatures: Signatures::default() })
    }

    pub(super) fn verify<'s>(
        &'s self,
        available: Available<'s, 'a>,
        usage: Usage,
        now: SystemTime,
    ) -> Result<Found<'s, 'a>, Refusal> {
        let path = build(&self.leaf, available, now, &self.signatures.effort)?;
        let judged = |purpose| judge(&path, purpose, &self.signatures, now);
        match usage {
            Usage::Server => judged(Purpose::Server)?,
            Usage::Client => judged(Purpose::Client)?,
            Usage::Any => match judged(Purpose::Server) {
                Err(Refusal::Certificate { which, fault: Fault::NotForServers }) => {
                    judged(Purpose::Client).map_err(|refusal| match refusal {
                        Refusal::Certificate { fault: Fault::NotForClients, .. } => {
                            Refusal::Certificate { which, fault: Fault::NotForServersOrClients }
                        }
                        other => other,
                    })?;
                }
                judged => judged?,
            },
        }
        Ok(Found { path })
    }

    /// How long the leaf stays accepted: when a certificate of the path has expired, OpenSSL may find another one.
    pub(super) fn accepted<'s>(
        &'s self,
        available: Available<'s, 'a>,
        usage: Usage,
        found: &Found<'s, 'a>,
    ) -> Accepted {
        const MOST_CHANGES: usize = 16;
        let end = |path: &[&Facts<'_>]| path.iter().map(|found| found.not_after()).min();
        let most = self.leaf.not_after();
        let mut not_after = end(&found.path).unwrap_or(most);
        for _ in 0..MOST_CHANGES {
            if not_after >= most {
                break;
            }
            let Ok(later) = self.verify(available, usage, not_after) else { break };
            not_after = end(&later.path).unwrap_or(most);
        }
        let allowed_uses = AllowedUses::of_path(&found.path);
        let starts = found.path.iter().map(|found| found.certificate.not_before());
        let not_before = starts.max().unwrap_or(SystemTime::UNIX_EPOCH);
        Accepted { not_before, not_after, allowed_uses }
    }
}

impl Certificate {
    /// Whether OpenSSL loads the public key, as far as pgsvid can tell: `None` for a kind of key, or a curve, that it does
    /// not know.
    #[must_use]
    pub fn has_loadable_key(&self) -> Option<bool> {
        Facts::of(self).map_or(Some(false), |facts| loads_key(&facts))
    }
}
