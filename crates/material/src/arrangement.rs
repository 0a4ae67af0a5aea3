//! Decides which certificates of an SVID are published, and in which order, so that OpenSSL accepts its leaf.
//!
//! OpenSSL uses the first issuer that it finds. It looks among the authorities first, and fails if that issuer does not lead
//! to a root. So an expired copy of an intermediate, or another certificate of its name, makes every login fail although there
//! is a good path. Such an authority is left out: as long as it is published, no client with this path can log in. The number
//! of attempts is limited; a certificate that could not be tried within the limit is left out, too.

use std::collections::HashSet;
use std::time::SystemTime;

use super::allowed_uses::AllowedUses;
use super::certificate::{Certificate, Fingerprint};
use super::issuers::paths;
use super::openssl::{Available, Facts, Refusal};
use super::path::{Accepted, Candidates, Usage, has_valid_root};

/// Most certificates that a trial puts before all others at once. A rival that needs more to be judged is left out.
const MOST_AT_ONCE: usize = 4;

/// A set that OpenSSL accepts.
pub(super) struct Arrangement {
    pub(super) accepted: Accepted,
    /// The path from the leaf upwards.
    path: Vec<Fingerprint>,
    pub(super) left_out: HashSet<Fingerprint>,
}

impl Arrangement {
    /// Whether the path leads through this certificate.
    pub(super) fn needs(&self, certificate: &Certificate) -> bool {
        self.path.contains(&certificate.fingerprint())
    }

    /// The place of an intermediate in the path; those that it does not need come last.
    pub(super) fn place(&self, intermediate: &Certificate) -> usize {
        let place = self.path.iter().position(|found| *found == intermediate.fingerprint());
        place.unwrap_or(usize::MAX)
    }
}

/// Decides what to publish. The error is OpenSSL's reason for refusing the leaf with everything that was offered; or that no
/// root is valid now; or [`Refusal::NoIssuer`] if OpenSSL accepts the whole offer, but pgsvid finds no set to publish.
pub(super) fn arrange(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    now: SystemTime,
) -> Result<Arrangement, Refusal> {
    let candidates = Candidates::of(leaf, intermediates, authorities)?;
    let (sent, trusted): (Vec<_>, Vec<_>) =
        (candidates.sent.iter().collect(), candidates.trusted.iter().collect());
    let available = Available { sent: &sent, trusted: &trusted };
    let refusal = match candidates.verify(available, Usage::Any, now) {
        Ok(found) => {
            if let Some(arrangement) = around(&candidates, &found.path, available, now) {
                return Ok(arrangement);
            }
            Refusal::NoIssuer
        }
        Err(refusal) => refusal,
    };
    let paths = paths(&candidates.leaf, &sent, &trusted, &candidates.signatures, now);
    let found = paths.iter().find_map(|path| around(&candidates, path, available, now));
    found.ok_or_else(
        || if has_valid_root(authorities, now) { refusal } else { Refusal::NoValidRoot },
    )
}

/// Leaves out the authorities that OpenSSL could use instead of this path and that lead to no root.
fn around<'s, 'a>(
    candidates: &'s Candidates<'a>,
    path: &[&'s Facts<'a>],
    available: Available<'s, 'a>,
    now: SystemTime,
) -> Option<Arrangement> {
    let is_in_path = |found: &&Facts<'a>| path.contains(found);
    // OpenSSL searches the sent certificates in their order.
    let mut sent = available.sent.to_vec();
    sent.sort_by_key(|found| path.iter().position(|one| one == found).unwrap_or(usize::MAX));
    let (needed, others): (Vec<&Facts<'a>>, Vec<&Facts<'a>>) =
        available.trusted.iter().copied().partition(is_in_path);
    // OpenSSL may find another path, which allows fewer uses.
    let allowed_uses = AllowedUses::of_path(path);
    let takes = |trusted: &[&Facts<'a>], at| {
        candidates
            .verify(Available { sent: &sent, trusted }, Usage::Any, at)
            .is_ok_and(|found| AllowedUses::of_path(&found.path).is_as_good_as(allowed_uses))
    };
    if !takes(&needed, now) {
        return None;
    }
    // The certificates left out must be judged against the set that remains.
    let reserve = candidates.signatures.effort.left() / 2;
    let (needed, others) = (needed.as_slice(), others.as_slice());
    let trial = Trial { candidates, path, allowed_uses, sent: &sent, needed, others, reserve };
    let mut left_out = HashSet::new();
    for rival in others {
        if !path.iter().any(|found| found.is_likely_issued_by(rival)) {
            continue;
        }
        // A certificate may become valid later, while the path still is.
        let start = rival.certificate.not_before().max(now);
        if start > now && !takes(needed, start) {
            continue;
        }
        if !trial.is_harmless(&[rival], start) {
            left_out.insert(rival.fingerprint());
        }
    }
    let trusted: Vec<&Facts<'a>> = available
        .trusted
        .iter()
        .copied()
        .filter(|found| !left_out.contains(&found.fingerprint()))
        .collect();
    let available = Available { sent: &sent, trusted: &trusted };
    let found = candidates.verify(available, Usage::Any, now).ok()?;
    let accepted = candidates.accepted(available, Usage::Any, &found);
    let path = found.path.iter().map(|found| found.fingerprint()).collect();
    Some(Arrangement { accepted, path, left_out })
}

/// Whether OpenSSL still accepts the leaf when it finds other certificates first.
struct Trial<'t, 's, 'a> {
    candidates: &'s Candidates<'a>,
    path: &'t [&'s Facts<'a>],
    /// The uses that the path allows.
    allowed_uses: AllowedUses,
    sent: &'t [&'s Facts<'a>],
    needed: &'t [&'s Facts<'a>],
    others: &'t [&'s Facts<'a>],
    /// No more attempts are made once less effort than this is left.
    reserve: usize,
}

impl<'s, 'a> Trial<'_, 's, 'a> {
    /// Whether OpenSSL still accepts the leaf if it finds the certificates of `first`, the last of which is a rival of the
    /// path, before all others. If it then builds another path, the rivals of the certificates that only this path has are
    /// tried in front, too.
    fn is_harmless(&self, first: &[&'s Facts<'a>], at: SystemTime) -> bool {
        if first.len() > MOST_AT_ONCE || self.candidates.signatures.effort.left() < self.reserve {
            return false;
        }
        let all = first.iter().chain(self.needed).chain(self.others);
        let trusted: Vec<&'s Facts<'a>> = all.copied().collect();
        let available = Available { sent: self.sent, trusted: &trusted };
        let Ok(found) = self.candidates.verify(available, Usage::Any, at) else { return false };
        let found = found.path;
        if !AllowedUses::of_path(&found).is_as_good_as(self.allowed_uses) {
            return false;
        }
        let elsewhere: Vec<_> = found.iter().filter(|found| !self.path.contains(found)).collect();
        let is_rival = |other: &&'s Facts<'a>| {
            !found.contains(other)
                && !first.contains(other)
                && elsewhere.iter().any(|found| found.is_likely_issued_by(other))
        };
        let mut rivals = self.others.iter().copied().filter(is_rival);
        rivals.all(|rival| self.is_harmless(&[&[rival], first].concat(), at))
    }
}
