//! What a workload is registered as, and what may be wrong with its SVID.

use std::time::Duration;

use crate::KeyType;

/// A registration entry: from it, SVIDs are issued. Times and key type that are not set are the
/// agent's ([`crate::Builder`]).
#[derive(Debug, Clone)]
pub struct Entry {
    pub(crate) spiffe_id: String,
    pub(crate) dns: Vec<String>,
    pub(crate) hint: String,
    pub(crate) ttl: Option<Duration>,
    pub(crate) key_type: Option<KeyType>,
    pub(crate) unique_id: bool,
    pub(crate) keep_key: bool,
    pub(crate) flaws: Vec<Flaw>,
}

/// Something wrong with an SVID or with the message that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// The key is another leaf's.
    KeyOfAnother,
    /// The key is empty.
    EmptyKey,
    /// Leaf and intermediate come from an authority that the bundle lacks. It has the same trust
    /// domain and looks the same.
    ForeignAuthority,
    /// The bundle is empty.
    EmptyBundle,
    /// The leaf's URI is this instead of the SPIFFE ID, which stays in the message.
    Uri(String),
    /// The leaf has this URI, too.
    SecondUri(String),
    /// The leaf has no URI.
    NoUri,
    /// The leaf is a CA: basicConstraints and keyCertSign say so.
    Ca,
    /// The leaf may not sign handshakes: keyUsage lacks digitalSignature.
    NoDigitalSignature,
    /// The leaf's extended key usage is these object identifiers; it has none if they are empty.
    ExtendedKeyUsage(Vec<Vec<u64>>),
    /// The leaf's validity begins so far in the future.
    NotYetValid(Duration),
    /// The leaf's validity ended so long ago.
    Expired(Duration),
    /// These bytes follow the last certificate of the chain.
    TrailingBytes(Vec<u8>),
    /// So many certificates follow the leaf, each a copy of the authority's own.
    Intermediates(usize),
}

impl Entry {
    /// A workload with this SPIFFE ID. It is not checked: tests want bad ones as well.
    pub fn new(spiffe_id: impl Into<String>) -> Self {
        Self {
            spiffe_id: spiffe_id.into(),
            dns: Vec::new(),
            hint: String::new(),
            ttl: None,
            key_type: None,
            unique_id: false,
            keep_key: false,
            flaws: Vec::new(),
        }
    }

    /// Adds a DNS name. The first one is also the subject's CN.
    #[must_use]
    pub fn dns(mut self, name: impl Into<String>) -> Self {
        self.dns.push(name.into());
        self
    }

    /// The hint that the message carries.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// How long an SVID lives, if its authority lives as long.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The leaf's key.
    #[must_use]
    pub fn key_type(mut self, kind: KeyType) -> Self {
        self.key_type = Some(kind);
        self
    }

    /// Whether the subject carries x500UniqueIdentifier, as SPIRE's credential composer `uniqueid`
    /// makes it.
    #[must_use]
    pub fn unique_id(mut self, yes: bool) -> Self {
        self.unique_id = yes;
        self
    }

    /// Whether a renewed SVID keeps its key. SPIRE never does that.
    #[must_use]
    pub fn keep_key(mut self, yes: bool) -> Self {
        self.keep_key = yes;
        self
    }

    /// Makes every SVID of this entry wrong. Several flaws add up.
    #[must_use]
    pub fn with(mut self, flaw: Flaw) -> Self {
        self.flaws.push(flaw);
        self
    }

    /// The SPIFFE ID.
    #[must_use]
    pub fn spiffe_id(&self) -> &str {
        &self.spiffe_id
    }

    pub(crate) fn has(&self, flaw: &Flaw) -> bool {
        self.flaws.contains(flaw)
    }
}

/// The trust domain of a workload's SPIFFE ID (SPIFFE-ID, sections 2.1 to 2.4).
///
/// # Errors
///
/// What is wrong with it, in words that follow the ID.
pub fn trust_domain_of(spiffe_id: &str) -> Result<&str, &'static str> {
    let rest = spiffe_id.strip_prefix("spiffe://").ok_or("it must begin with spiffe://")?;
    let (trust_domain, path) =
        rest.split_once('/').ok_or("it needs a path, as in spiffe://example.org/db")?;
    check_trust_domain(trust_domain)?;
    let in_path = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    for segment in path.split('/') {
        if segment.is_empty() {
            return Err("its path must not have empty segments nor end with a slash");
        }
        if segment == "." || segment == ".." {
            return Err("its path must not have the segments . or ..");
        }
        if !segment.chars().all(in_path) {
            return Err("its path may have letters, digits, dots, dashes and underscores only");
        }
    }
    if spiffe_id.len() > 2048 {
        return Err("it may have at most 2048 bytes");
    }
    Ok(trust_domain)
}

/// Checks the name of a trust domain.
pub(crate) fn check_trust_domain(name: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    if name.is_empty() || name.len() > 255 {
        return Err("its trust domain must have 1 to 255 bytes");
    }
    if !name.chars().all(allowed) {
        return Err(
            "its trust domain may have lower-case letters, digits, dots, dashes and underscores only",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_ids_are_checked() {
        for (id, outcome) in [
            ("spiffe://example.org/ns/x/sa/db", Some("example.org")),
            ("spiffe://td_1/a.b-c_D9", Some("td_1")),
            ("spiffe://example.org", None),
            ("spiffe://example.org/", None),
            ("spiffe://example.org/a//b", None),
            ("spiffe://example.org/a/", None),
            ("spiffe://example.org/../b", None),
            ("spiffe://Example.org/a", None),
            ("spiffe://example.org:80/a", None),
            ("spiffe:///a", None),
            ("spiffe://example.org/a?b", None),
            ("https://example.org/a", None),
        ] {
            assert_eq!(trust_domain_of(id).ok(), outcome, "{id}");
        }
    }
}
