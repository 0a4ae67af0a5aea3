//! The messages about JWT-SVIDs as slices of their bytes, with a limit for each list ([`super::wire`]).

use std::collections::BTreeMap;

use super::wire::{Fields, Seen, Unreadable, entry, within};

/// Most tokens in a message: one for each registration entry of the workload.
const MOST_SVIDS: usize = 256;
/// Most trust domains in a message.
const MOST_BUNDLES: usize = 1024;

/// A `JWTSVID`. A missing field is empty.
#[derive(Clone, Copy, Default)]
pub struct JwtSvid<'a> {
    /// `spiffe_id`
    pub spiffe_id: &'a str,
    /// `svid`: the token in JWS compact serialization.
    pub token: &'a str,
    /// `hint`
    pub hint: &'a str,
}

/// Prints no token.
impl std::fmt::Debug for JwtSvid<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtSvid")
            .field("spiffe_id", &self.spiffe_id)
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}

/// The tokens of a `JWTSVIDResponse`.
pub(super) fn svids(bytes: &[u8]) -> Result<Vec<JwtSvid<'_>>, Unreadable> {
    let mut found = Vec::new();
    for field in Fields(bytes) {
        if let (1, value) = field? {
            within(found.len(), MOST_SVIDS, "SVIDs")?;
            found.push(svid(value.bytes()?)?);
        }
    }
    Ok(found)
}

fn svid(bytes: &[u8]) -> Result<JwtSvid<'_>, Unreadable> {
    let mut svid = JwtSvid::default();
    let mut seen = Seen::default();
    for field in Fields(bytes) {
        match field? {
            (1, value) => svid.spiffe_id = seen.once(1, value, "SPIFFE ID")?.text()?,
            (2, value) => svid.token = seen.once(2, value, "token")?.text()?,
            (3, value) => svid.hint = seen.once(3, value, "hint")?.text()?,
            _ => {}
        }
    }
    Ok(svid)
}

/// The JWK sets of a `JWTBundlesResponse`. Agents name a trust domain by its SPIFFE ID; here it has no scheme.
pub(super) fn bundles(bytes: &[u8]) -> Result<BTreeMap<&str, &[u8]>, Unreadable> {
    let mut found = BTreeMap::new();
    for field in Fields(bytes) {
        if let (1, value) = field? {
            within(found.len(), MOST_BUNDLES, "bundles")?;
            let (domain, bundle) = entry(value.bytes()?)?;
            let name = domain.strip_prefix("spiffe://").unwrap_or(domain);
            if found.insert(name, bundle).is_some() {
                return Err(Unreadable::Repeated("trust domain"));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use pgsvid_proto::{JwtBundlesResponse, Jwtsvid, JwtsvidResponse};
    use prost::Message as _;

    use super::*;

    #[test]
    fn t04_tokens_and_bundles_are_read_as_the_generated_decoder_reads_them_up_to_a_limit() {
        let svid = |id: &str, hint: &str| Jwtsvid {
            spiffe_id: id.to_owned(),
            svid: "a.b.c".repeat(100),
            hint: hint.to_owned(),
        };
        let wanted = JwtsvidResponse { svids: vec![svid("spiffe://a/1", ""), svid("", "é")] };
        let bytes = wanted.encode_to_vec();
        let read = svids(&bytes).unwrap();
        let read = read.iter().map(|svid| Jwtsvid {
            spiffe_id: svid.spiffe_id.to_owned(),
            svid: svid.token.to_owned(),
            hint: svid.hint.to_owned(),
        });
        assert_eq!(read.collect::<Vec<_>>(), wanted.svids);
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            assert_eq!(svids(cut).is_ok(), JwtsvidResponse::decode(cut).is_ok(), "{end}");
        }
        assert!(svids(&[1 << 3 | 2, 0].repeat(MOST_SVIDS)).is_ok());
        assert!(svids(&[1 << 3 | 2, 0].repeat(MOST_SVIDS + 1)).is_err());

        let sets = [("spiffe://a", vec![1, 2]), ("b", vec![3])];
        let message = |sets: &[(&str, Vec<u8>)]| {
            let sets = sets.iter().map(|(domain, set)| ((*domain).to_owned(), set.clone()));
            JwtBundlesResponse { bundles: sets.collect() }.encode_to_vec()
        };
        let bytes = message(&sets);
        let read = bundles(&bytes).unwrap();
        assert_eq!(Vec::from_iter(read), [("a", &[1u8, 2][..]), ("b", &[3])]);
        // Two names of one trust domain.
        assert!(bundles(&message(&[("spiffe://a", vec![1]), ("a", vec![2])])).is_err());
    }
}
