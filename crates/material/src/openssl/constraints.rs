//! Name constraints, as OpenSSL compares them (`v3_ncons.c`). A name that OpenSSL would not compare is a fault here, too.

use std::cmp::Ordering;

use super::effort::Effort;
use super::facts::Facts;
use super::fault::Fault;
use super::names::{DIRECTORY, Name, Subtree, Subtrees};
use crate::encoding::tag;

const EMAIL: u8 = tag::primitive(1);
const DNS: u8 = tag::primitive(2);
const URI: u8 = tag::primitive(6);
const ADDRESS: u8 = tag::primitive(7);
const OTHER: u8 = tag::constructed(0);

/// OpenSSL's own limit (`NAME_CHECK_MAX`).
const MOST_PAIRS: usize = 1 << 20;
/// The cost to skip a subtree of another kind, in nanoseconds.
const SKIP_COST_NS: usize = 2;
/// The cost to start a comparison, in nanoseconds.
const COMPARE_COST_NS: usize = 50;

/// Compares the names of one certificate with the constraints of one above it.
pub(super) fn check(
    found: &Facts<'_>,
    above: &Facts<'_>,
    is_leaf: bool,
    effort: &Effort,
) -> Result<(), Fault> {
    let Some(subtrees) = above.subtrees(effort)? else { return Ok(()) };
    let names = found.names(effort)?;
    let count = subtrees.permitted.len() + subtrees.excluded.len();
    if (names.attributes.len() + names.alternative.len()).saturating_mul(count) > MOST_PAIRS {
        return Err(Fault::TooManyNames);
    }
    let compare = |name: &Name<'_>| compare(name, subtrees, effort);
    let compare_bytes =
        |kind, content: &[u8]| compare(&Name { kind, content, comparable: Vec::new() });
    if !names.attributes.is_empty() {
        compare(&names.subject)?;
    }
    for attribute in names.attributes.iter().filter(|found| found.is_email()) {
        let address = attribute.ascii().ok_or(Fault::UnsupportedName)?;
        compare_bytes(EMAIL, address)?;
    }
    for name in &names.alternative {
        compare(name)?;
    }
    if is_leaf && !names.alternative.iter().any(|name| name.kind == DNS) {
        for attribute in names.attributes.iter().filter(|found| found.is_common_name()) {
            if let Some(host) = host_name(attribute.text())? {
                compare_bytes(DNS, host.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// `nc_match`
fn compare(name: &Name<'_>, subtrees: &Subtrees<'_>, effort: &Effort) -> Result<(), Fault> {
    // OpenSSL applies e-mail constraints to an otherName that is a mailbox with letters beyond ASCII (RFC 8398). Here they
    // apply to every otherName, and none is comparable.
    let applies = |subtree: &&Subtree<'_>| {
        subtree.base.kind == name.kind || (name.kind == OTHER && subtree.base.kind == EMAIL)
    };
    let spend = |cost| if effort.spend(cost) { Ok(()) } else { Err(Fault::TooManyNames) };
    spend((subtrees.permitted.len() + subtrees.excluded.len()) * SKIP_COST_NS)?;
    let mut permitted = None;
    for subtree in subtrees.permitted.iter().filter(applies) {
        if subtree.has_distances {
            return Err(Fault::UnsupportedName);
        }
        if permitted != Some(true) {
            spend(cost(name, &subtree.base))?;
            permitted = Some(is_within(name, subtree)?);
        }
    }
    if permitted == Some(false) {
        return Err(Fault::NameConstraints);
    }
    for subtree in subtrees.excluded.iter().filter(applies) {
        spend(cost(name, &subtree.base))?;
        if is_within(name, subtree)? {
            return Err(Fault::NameConstraints);
        }
    }
    Ok(())
}

/// The cost of [`is_within`]. It reads as many bytes of a name as its base has; in a mailbox and a URI it searches first, and
/// reads the whole name.
fn cost(name: &Name<'_>, base: &Name<'_>) -> usize {
    let searched = if matches!(name.kind, EMAIL | URI | OTHER) { name.content.len() } else { 0 };
    COMPARE_COST_NS + base.comparable.len() + base.content.len() + searched
}

/// `nc_match_single`
fn is_within(name: &Name<'_>, subtree: &Subtree<'_>) -> Result<bool, Fault> {
    if subtree.has_distances {
        return Err(Fault::UnsupportedName);
    }
    let comparable = &name.comparable;
    let (name, kind, base) = (name.content, name.kind, subtree.base.content);
    match kind {
        DIRECTORY => Ok(comparable.starts_with(&subtree.base.comparable)),
        DNS => Ok(is_host_within(name, base)),
        URI => host_of(name).ok_or(Fault::UnsupportedName).map(|host| {
            if base.starts_with(b".") {
                host.len() > base.len() && ends_with(host, base)
            } else {
                host.eq_ignore_ascii_case(base)
            }
        }),
        EMAIL => email(name, base).ok_or(Fault::UnsupportedName),
        ADDRESS => address(name, base).ok_or(Fault::UnsupportedName),
        _ => Err(Fault::UnsupportedName),
    }
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    name.len().checked_sub(end.len()).is_some_and(|at| name[at..].eq_ignore_ascii_case(end))
}

/// `nc_dns`: extra labels are allowed on the left.
fn is_host_within(name: &[u8], base: &[u8]) -> bool {
    match (base, name.len().cmp(&base.len())) {
        ([], _) => true,
        (_, Ordering::Less) => false,
        (_, Ordering::Equal) => name.eq_ignore_ascii_case(base),
        ([first, ..], Ordering::Greater) => {
            let before = name[name.len() - base.len() - 1];
            (*first == b'.' || before == b'.') && ends_with(name, base)
        }
    }
}

/// `nc_uri`: the part between `://` and a port or a path.
fn host_of(uri: &[u8]) -> Option<&[u8]> {
    let colon = uri.iter().position(|byte| *byte == b':')?;
    let rest = uri[colon + 1..].strip_prefix(b"//")?;
    let end = |stop| rest.iter().position(|byte| *byte == stop);
    let host = &rest[..end(b':').or_else(|| end(b'/')).unwrap_or(rest.len())];
    (!host.is_empty()).then_some(host)
}

/// `nc_email`; `None` where OpenSSL cannot compare them.
fn email(name: &[u8], base: &[u8]) -> Option<bool> {
    let at = |text: &[u8]| text.iter().rposition(|byte| *byte == b'@');
    let name_at = at(name)?;
    let base_at = at(base);
    if base_at.is_none() && base.starts_with(b".") {
        return Some(name.len() > base.len() && ends_with(name, base));
    }
    let mut host = base;
    if let Some(base_at) = base_at {
        let (wanted, local) = (&base[..base_at], &name[..name_at]);
        host = &base[base_at + 1..];
        if !wanted.is_empty() {
            if wanted.len() != local.len() {
                return Some(false);
            }
            if wanted.contains(&0) || local.contains(&0) {
                return None;
            }
            if wanted != local {
                return Some(false);
            }
        }
    }
    Some(name[name_at + 1..].eq_ignore_ascii_case(host))
}

/// `nc_ip`; `None` for an address that is neither IPv4 nor IPv6.
fn address(name: &[u8], base: &[u8]) -> Option<bool> {
    if !matches!(name.len(), 4 | 16) || !matches!(base.len(), 8 | 32) {
        return None;
    }
    if name.len() * 2 != base.len() {
        return Some(false);
    }
    let (network, mask) = base.split_at(name.len());
    let bytes = name.iter().zip(network).zip(mask);
    Some(bytes.into_iter().all(|((name, network), mask)| name & mask == network & mask))
}

/// `cn2dnsid`: a common name that looks like a host name with a dot.
fn host_name(text: Option<&str>) -> Result<Option<String>, Fault> {
    let text = text.ok_or(Fault::UnsupportedName)?;
    let text = text.trim_end_matches('\0');
    if text.contains('\0') {
        return Err(Fault::UnsupportedName);
    }
    let bytes = text.as_bytes();
    let mut is_host = false;
    for (at, byte) in bytes.iter().enumerate() {
        let within = at > 0 && at + 1 < bytes.len();
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => {}
            b'-' if within => {}
            b'.' if within && !matches!(bytes[at + 1], b'.' | b'-') && bytes[at - 1] != b'-' => {
                is_host = true;
            }
            _ => return Ok(None),
        }
    }
    Ok(is_host.then(|| text.to_owned()))
}
