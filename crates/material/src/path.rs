//! Whether OpenSSL takes a leaf with the chain that is sent and the authorities that are trusted, and for how long.

use std::collections::HashMap;
use std::time::SystemTime;

use super::certificate::Certificate;
use super::name;
use super::openssl::{Facts, Purpose, Refusal, Signatures, Stock, build, judge};
use super::validity::is_valid;

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

/// OpenSSL takes the leaf.
#[derive(Debug)]
pub struct Sound {
    /// From when on it would not, if nothing changed: a certificate expires, and OpenSSL finds no other in its place.
    pub not_after: SystemTime,
    /// Whether there is a signature among them that pgsvid cannot verify.
    pub is_unchecked: bool,
}

/// Says what OpenSSL says of a leaf, which PostgreSQL and libpq leave to it. Give only authorities of the leaf's own trust domain
/// where others must not vouch for it.
///
/// However many certificates there are, it takes a fraction of a second.
pub fn verify(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    usage: Usage,
    now: SystemTime,
) -> Result<Sound, Refusal> {
    let field = Field::of(leaf, intermediates, authorities)?;
    let (sent, trusted): (Vec<_>, Vec<_>) =
        (field.sent.iter().collect(), field.trusted.iter().collect());
    let stock = Stock { sent: &sent, trusted: &trusted };
    match field.verify(stock, usage, now) {
        Ok(found) => Ok(field.sound(stock, usage, &found)),
        // A root that has expired is more than a certificate that OpenSSL has not found.
        Err(_) if !has_valid_root(authorities, now) => Err(Refusal::NoValidRoot),
        Err(refusal) => Err(refusal),
    }
}

pub(super) fn has_valid_root(authorities: &[Certificate], now: SystemTime) -> bool {
    authorities.iter().any(|found| is_valid(found, now) && found.is_self_signed())
}

/// A path that OpenSSL takes.
pub(super) struct Found<'s, 'a> {
    pub(super) path: Vec<&'s Facts<'a>>,
    is_unchecked: bool,
}

/// The certificates that names connect with a leaf, and what is known of their signatures. The others cannot be in a path.
pub(super) struct Field<'a> {
    pub(super) leaf: Facts<'a>,
    pub(super) sent: Vec<Facts<'a>>,
    pub(super) trusted: Vec<Facts<'a>>,
    pub(super) signatures: Signatures,
}

impl<'a> Field<'a> {
    pub(super) fn of(
        leaf: &'a Certificate,
        intermediates: &'a [Certificate],
        authorities: &'a [Certificate],
    ) -> Result<Self, Refusal> {
        let leaf = Facts::of(leaf).map_err(|_| Refusal::NoIssuer)?;
        let all: Vec<&Certificate> = intermediates.iter().chain(authorities).collect();
        let mut names: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (at, found) in all.iter().enumerate() {
            names.entry(name::comparable(found.subject())).or_default().push(at);
        }
        let mut facts: Vec<Option<Facts<'a>>> = all.iter().map(|_| None).collect();
        let mut next = vec![leaf.issuer.clone()];
        while let Some(issuer) = next.pop() {
            for at in names.remove(&issuer).unwrap_or_default() {
                if let Ok(found) = Facts::of(all[at]) {
                    next.push(found.issuer.clone());
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
        stock: Stock<'s, 'a>,
        usage: Usage,
        now: SystemTime,
    ) -> Result<Found<'s, 'a>, Refusal> {
        let path = build(&self.leaf, stock, now)?;
        let unchecked = judge(&path, self.purpose(usage), &self.signatures, now)?;
        Ok(Found { is_unchecked: !unchecked.is_empty(), path })
    }

    /// For how long it stays so: when a certificate of the path has expired, OpenSSL may find another one.
    pub(super) fn sound<'s>(
        &'s self,
        stock: Stock<'s, 'a>,
        usage: Usage,
        found: &Found<'s, 'a>,
    ) -> Sound {
        const MOST_CHANGES: usize = 16;
        let end = |path: &[&Facts<'_>]| path.iter().map(|found| found.not_after()).min();
        let most = self.leaf.not_after();
        let mut not_after = end(&found.path).unwrap_or(most);
        for _ in 0..MOST_CHANGES {
            if not_after >= most {
                break;
            }
            let Ok(later) = self.verify(stock, usage, not_after) else { break };
            not_after = end(&later.path).unwrap_or(most);
        }
        Sound { not_after, is_unchecked: found.is_unchecked }
    }

    /// Servers and clients share this program; a leaf for clients alone is taken as one.
    fn purpose(&self, usage: Usage) -> Purpose {
        match usage {
            Usage::Server => Purpose::Server,
            Usage::Any if self.leaf.is_for_servers() => Purpose::Server,
            Usage::Any | Usage::Client => Purpose::Client,
        }
    }
}
