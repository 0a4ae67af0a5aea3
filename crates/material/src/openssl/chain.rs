//! The path that OpenSSL builds (`x509_vfy.c`, `build_chain`): it takes the first issuer that fits at each step, looks among what
//! it trusts first, goes back from none, and verifies no signature before the path is whole.

use std::time::SystemTime;

use super::facts::Facts;
use super::refusal::Refusal;
use crate::validity::is_valid;

/// OpenSSL's default for the certificates between leaf and root, and those two.
const LONGEST: usize = 101;

/// What a path is made of, in the order in which OpenSSL has it.
#[derive(Clone, Copy)]
pub(crate) struct Stock<'s, 'a> {
    /// What a peer sends, without its leaf.
    pub(crate) sent: &'s [&'s Facts<'a>],
    /// The authorities that are trusted.
    pub(crate) trusted: &'s [&'s Facts<'a>],
}

/// From the leaf to a certificate that is trusted and self-signed.
pub(crate) fn build<'s, 'a>(
    leaf: &'s Facts<'a>,
    stock: Stock<'s, 'a>,
    now: SystemTime,
) -> Result<Vec<&'s Facts<'a>>, Refusal> {
    let mut path = vec![leaf];
    let mut sent: Vec<&Facts<'a>> =
        std::iter::once(leaf).chain(stock.sent.iter().copied()).collect();
    let mut from_sent = true;
    loop {
        let last = path[path.len() - 1];
        let room = path.len() <= LONGEST;
        let trusted = if room { trusted_issuer(last, stock.trusted, now) } else { None };
        match trusted {
            // What a peer sends as a root has to be the very same.
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

/// `X509_STORE_CTX_get1_issuer`: the first that is valid, else the one that has expired last. It may be in the path already.
fn trusted_issuer<'s, 'a>(
    subject: &Facts<'a>,
    trusted: &'s [&'s Facts<'a>],
    now: SystemTime,
) -> Option<&'s Facts<'a>> {
    let mut fitting = trusted.iter().copied().filter(|found| subject.is_likely_issued_by(found));
    let at = preferred(fitting.clone(), now)?;
    fitting.nth(at)
}

/// `find_issuer`: the same, among those that are not in the path; a leaf that names itself may be followed by itself.
fn sent_issuer(path: &[&Facts<'_>], sent: &[&Facts<'_>], now: SystemTime) -> Option<usize> {
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
