//! The path that OpenSSL builds (`x509_vfy.c`, `build_chain`). At each step it uses the first issuer that matches, and looks
//! among the trusted certificates first. It never goes back, and verifies no signature before the path is complete.

use std::time::SystemTime;

use super::effort::Effort;
use super::facts::Facts;
use super::refusal::Refusal;
use crate::validity::is_valid;

/// Most certificates in a path to which another one is added: the leaf, and OpenSSL's default limit of 100 between leaf and
/// root.
const LONGEST: usize = 101;
/// The cost to check whether one certificate may have issued another, in nanoseconds.
const LOOK: usize = 15;

/// The certificates that a path may consist of, in the order in which OpenSSL has them.
#[derive(Clone, Copy)]
pub(crate) struct Available<'s, 'a> {
    /// The certificates that a peer sends after its leaf.
    pub(crate) sent: &'s [&'s Facts<'a>],
    /// The trusted authorities.
    pub(crate) trusted: &'s [&'s Facts<'a>],
}

/// Builds the path from the leaf to a trusted, self-signed certificate.
pub(crate) fn build<'s, 'a>(
    leaf: &'s Facts<'a>,
    available: Available<'s, 'a>,
    now: SystemTime,
    effort: &Effort,
) -> Result<Vec<&'s Facts<'a>>, Refusal> {
    let mut path = vec![leaf];
    let mut sent: Vec<&Facts<'a>> =
        std::iter::once(leaf).chain(available.sent.iter().copied()).collect();
    let mut from_sent = true;
    loop {
        if !effort.spend((available.trusted.len() + sent.len()) * LOOK) {
            return Err(Refusal::TooMuch);
        }
        let last = path[path.len() - 1];
        let room = path.len() <= LONGEST;
        let trusted = if room { trusted_issuer(last, available.trusted, now) } else { None };
        match trusted {
            // A root that a peer sends must be identical to a trusted one.
            Some(same) if last.self_signed && *same == *last => return Ok(path),
            Some(issuer) if !last.self_signed => {
                path.push(issuer);
                if issuer.self_signed {
                    return Ok(path);
                }
                from_sent = false;
                continue;
            }
            _ => {}
        }
        let more = from_sent && room && !last.self_signed;
        let Some(at) = more.then(|| sent_issuer(&path, &sent, now)).flatten() else { break };
        path.push(sent.remove(at));
    }
    let last = path[path.len() - 1];
    Err(if path.len() > LONGEST {
        Refusal::TooLong
    } else if last.self_signed {
        Refusal::UnknownRoot
    } else {
        Refusal::NoIssuer
    })
}

/// `X509_STORE_CTX_get1_issuer`: the first that is valid, otherwise the one that expired last. It may be in the path already.
fn trusted_issuer<'s, 'a>(
    subject: &Facts<'a>,
    trusted: &'s [&'s Facts<'a>],
    now: SystemTime,
) -> Option<&'s Facts<'a>> {
    let mut fitting = trusted.iter().copied().filter(|found| subject.is_likely_issued_by(found));
    let at = preferred(fitting.clone(), now)?;
    fitting.nth(at)
}

/// `find_issuer`: the same, among those that are not in the path. A leaf that names itself may follow itself.
fn sent_issuer<'a>(path: &[&Facts<'a>], sent: &[&Facts<'a>], now: SystemTime) -> Option<usize> {
    let subject = path[path.len() - 1];
    let first = subject.is_self_issued() && path.len() == 1;
    let fitting: Vec<usize> = (0..sent.len())
        .filter(|at| {
            subject.is_likely_issued_by(sent[*at]) && (first || !path.contains(&sent[*at]))
        })
        .collect();
    preferred(fitting.iter().map(|at| sent[*at]), now).map(|at| fitting[at])
}

fn preferred<'s, 'a: 's>(
    fitting: impl Iterator<Item = &'s Facts<'a>>,
    now: SystemTime,
) -> Option<usize> {
    let mut best: Option<(usize, SystemTime)> = None;
    for (at, found) in fitting.enumerate() {
        if is_valid(found.certificate, now) {
            return Some(at);
        }
        if best.is_none_or(|(_, end)| found.not_after() > end) {
            best = Some((at, found.not_after()));
        }
    }
    best.map(|(at, _)| at)
}
