//! What of an SVID is published, and in which order, so that OpenSSL takes its leaf.
//!
//! OpenSSL takes the first issuer that it finds, among the authorities first, and fails if that one does not lead to a root. So
//! an expired copy of an intermediate, or another certificate of its name, keeps everybody out though the path beside it is good.
//! Such an authority is left out: with it nobody who has this path would be let in.

use std::collections::HashSet;
use std::time::SystemTime;

use super::certificate::{Certificate, Fingerprint};
use super::issuers::paths;
use super::openssl::{Facts, Refusal, Stock};
use super::path::{Field, Sound, Usage, has_valid_root};

/// Most authorities of which it is tried out what OpenSSL does with them. Of more than these of the same name, with no key
/// identifier to tell them apart, the rest is left out.
const MOST_RIVALS: usize = 256;

/// A set that OpenSSL takes.
pub(super) struct Arrangement {
    pub(super) sound: Sound,
    /// The path from the leaf upwards.
    path: Vec<Fingerprint>,
    pub(super) left_out: HashSet<Fingerprint>,
}

impl Arrangement {
    /// Whether the path leads through it.
    pub(super) fn needs(&self, certificate: &Certificate) -> bool {
        self.path.contains(&certificate.fingerprint())
    }

    /// The place of an intermediate in the path; those that it does not need come last.
    pub(super) fn place(&self, intermediate: &Certificate) -> usize {
        let place = self.path.iter().position(|found| *found == intermediate.fingerprint());
        place.unwrap_or(usize::MAX)
    }
}

/// Finds out what to publish. The error is OpenSSL's reason for refusing the leaf with everything that was offered.
pub(super) fn arrange(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    now: SystemTime,
) -> Result<Arrangement, Refusal> {
    let field = Field::of(leaf, intermediates, authorities)?;
    let (sent, trusted): (Vec<_>, Vec<_>) =
        (field.sent.iter().collect(), field.trusted.iter().collect());
    let stock = Stock { sent: &sent, trusted: &trusted };
    let refusal = match field.verify(stock, Usage::Any, now) {
        Ok(found) => {
            if let Some(arrangement) = around(&field, &found.path, stock, now) {
                return Ok(arrangement);
            }
            Refusal::NoIssuer
        }
        Err(refusal) => refusal,
    };
    let paths = paths(&field.leaf, &sent, &trusted, &field.signatures, now);
    let found = paths.iter().find_map(|path| around(&field, path, stock, now));
    found.ok_or_else(
        || if has_valid_root(authorities, now) { refusal } else { Refusal::NoValidRoot },
    )
}

/// Leaves out what OpenSSL could take instead of this path, if that leads nowhere.
fn around<'s, 'a>(
    field: &'s Field<'a>,
    path: &[&'s Facts<'a>],
    stock: Stock<'s, 'a>,
    now: SystemTime,
) -> Option<Arrangement> {
    let is_in_path = |found: &&Facts<'a>| path.contains(found);
    // What is sent is looked at in its order.
    let mut sent = stock.sent.to_vec();
    sent.sort_by_key(|found| path.iter().position(|one| one == found).unwrap_or(usize::MAX));
    let (needed, others): (Vec<&Facts<'a>>, Vec<&Facts<'a>>) =
        stock.trusted.iter().copied().partition(is_in_path);
    let takes = |trusted: &[&Facts<'a>], at| {
        field.verify(Stock { sent: &sent, trusted }, Usage::Any, at).is_ok()
    };
    if !takes(&needed, now) {
        return None;
    }
    let mut left_out = HashSet::new();
    let mut tried = 0;
    for rival in &others {
        if !path.iter().any(|found| found.is_likely_issued_by(rival)) {
            continue;
        }
        // It may be valid only later, while the path still is.
        let start = rival.certificate.not_before().max(now);
        if start > now && !takes(&needed, start) {
            continue;
        }
        tried += 1;
        let before = std::iter::once(rival).chain(&needed);
        let first: Vec<&Facts<'a>> = before.chain(&others).copied().collect();
        if tried > MOST_RIVALS || !takes(&first, start) {
            left_out.insert(rival.fingerprint());
        }
    }
    let trusted: Vec<&Facts<'a>> = stock
        .trusted
        .iter()
        .copied()
        .filter(|found| !left_out.contains(&found.fingerprint()))
        .collect();
    let stock = Stock { sent: &sent, trusted: &trusted };
    let found = field.verify(stock, Usage::Any, now).ok()?;
    let sound = field.sound(stock, Usage::Any, &found);
    let path = found.path.iter().map(|found| found.fingerprint()).collect();
    Some(Arrangement { sound, path, left_out })
}
