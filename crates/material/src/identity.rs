//! SPIFFE IDs and trust domains: this is the only place that parses them, with the types of the `spiffe` crate.

use std::fmt::Write as _;

pub use spiffe::{SpiffeId, TrustDomain};

/// Longest SPIFFE ID, in bytes (SPIFFE-ID section 2.3).
const LONGEST_ID: usize = 2048;

/// Why a text is not the SPIFFE ID of a workload.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIdentity {
    /// The text breaks a rule of SPIFFE-ID section 2.
    #[error("{id:?} is not a SPIFFE ID")]
    Malformed {
        /// The text, shortened.
        id: String,
        /// The rule that it breaks.
        #[source]
        rule: spiffe::SpiffeIdError,
    },
    /// The ID of a trust domain: X509-SVID section 4.1 requires a path in a leaf.
    #[error("{id:?} has no path: it names a trust domain, not a workload")]
    NoPath {
        /// The text.
        id: String,
    },
    /// Scheme and trust domain are lower-case (SPIFFE-ID section 2.1). IDs are compared byte by byte, so others are refused.
    #[error("{id:?} is not in the form of a SPIFFE ID; write {canonical}")]
    NotCanonical {
        /// The text.
        id: String,
        /// How it should be written.
        canonical: String,
    },
    /// Longer than `LONGEST_ID`.
    #[error("the SPIFFE ID has {length} bytes, more than the {LONGEST_ID} that are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

/// Parses the SPIFFE ID of a workload: one with a path, at most 2048 bytes long.
pub fn workload_id(id: &str) -> Result<SpiffeId, InvalidIdentity> {
    if id.len() > LONGEST_ID {
        return Err(InvalidIdentity::TooLong { length: id.len() });
    }
    let parsed = SpiffeId::new(id)
        .map_err(|rule| InvalidIdentity::Malformed { id: id.chars().take(120).collect(), rule })?;
    if parsed.path().is_empty() {
        return Err(InvalidIdentity::NoPath { id: id.to_owned() });
    }
    let canonical = parsed.to_string();
    if canonical != id {
        return Err(InvalidIdentity::NotCanonical { id: id.to_owned(), canonical });
    }
    Ok(parsed)
}

/// The x500UniqueIdentifier that SPIRE's credential composer `uniqueid` puts into the subject: the first 16 bytes
/// of the ID's SHA-256, in hexadecimal.
#[must_use]
pub fn unique_identifier(id: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
    let half = digest.as_ref().get(..16).unwrap_or_default();
    half.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unique_identifier_is_spires() {
        let computed = unique_identifier("spiffe://example.org/foo");
        assert_eq!(computed, "c3406f9b12ceb4f9c948318c579b905b");
    }

    #[test]
    fn takes_workloads_only() {
        assert!(workload_id("spiffe://example.org/ns/x").is_ok());
        for wrong in [
            "spiffe://example.org",
            "spiffe://example.org/",
            "https://example.org/ns/x",
            "spiffe://Example.org/ns/x",
            "spiffe://example.org/ns//x",
            "spiffe://example.org/../x",
            "",
        ] {
            assert!(workload_id(wrong).is_err(), "{wrong} was taken");
        }
        let long = format!("spiffe://example.org/{}", "a".repeat(2048));
        assert!(matches!(workload_id(&long), Err(InvalidIdentity::TooLong { .. })));
    }
}
