//! Name constraints, as OpenSSL compares them (`v3_ncons.c`). A name that it would not compare is a fault here, too.

use std::cmp::Ordering;

use super::facts::Facts;
use super::refusal::Fault;
use super::signatures::Signatures;
use crate::encoding::{Flaw, Reader, tag};
use crate::name;

const EMAIL: u8 = tag::primitive(1);
const DNS: u8 = tag::primitive(2);
const DIRECTORY: u8 = tag::constructed(4);
const URI: u8 = tag::primitive(6);
const ADDRESS: u8 = tag::primitive(7);
const OTHER: u8 = tag::constructed(0);

/// A name, or what a subtree begins with: its tag, and its content.
type Name<'a> = (u8, &'a [u8]);

#[derive(Default)]
struct Subtrees<'a> {
    permitted: Vec<Subtree<'a>>,
    excluded: Vec<Subtree<'a>>,
}

struct Subtree<'a> {
    base: Name<'a>,
    /// A minimum above zero, or a maximum: RFC 5280 has neither.
    has_distances: bool,
}

/// Compares the names of one certificate with the constraints of one above it.
pub(super) fn check(
    found: &Facts<'_>,
    above: &Facts<'_>,
    is_leaf: bool,
    effort: &Signatures,
) -> Result<(), Fault> {
    let Some(constraints) = above.name_constraints else { return Ok(()) };
    let malformed = |_: Flaw| Fault::UnsupportedName;
    let subtrees = read(constraints).map_err(malformed)?;
    let names = alternative_names(found).map_err(malformed)?;
    let subject = found.certificate.subject();
    let attributes = name::attributes(subject);
    let count = subtrees.permitted.len() + subtrees.excluded.len();
    // Each list is read once, even if there are no names.
    if !effort.may_compare(count.saturating_mul(1 + names.len() + attributes.len())) {
        return Err(Fault::TooManyNames);
    }
    if !attributes.is_empty() {
        compare((DIRECTORY, subject), &subtrees)?;
    }
    for attribute in attributes.iter().filter(|found| found.is_email()) {
        let address = attribute.ascii().ok_or(Fault::UnsupportedName)?;
        compare((EMAIL, address), &subtrees)?;
    }
    for name in &names {
        compare(*name, &subtrees)?;
    }
    if is_leaf && !names.iter().any(|(tag, _)| *tag == DNS) {
        for attribute in attributes.iter().filter(|found| found.is_common_name()) {
            if let Some(host) = host_name(attribute.text())? {
                compare((DNS, host.as_bytes()), &subtrees)?;
            }
        }
    }
    Ok(())
}

fn read(content: &[u8]) -> Result<Subtrees<'_>, Flaw> {
    let mut constraints = Reader::new(content).within(tag::SEQUENCE)?;
    let mut subtrees = Subtrees::default();
    for (number, list) in [(0, &mut subtrees.permitted), (1, &mut subtrees.excluded)] {
        let Some(found) = constraints.optional_within(tag::constructed(number))? else { continue };
        found.each(|reader| {
            let mut subtree = reader.within(tag::SEQUENCE)?;
            let base = subtree.element()?;
            let minimum = subtree.optional(tag::primitive(0))?;
            let maximum = subtree.optional(tag::primitive(1))?;
            let has_distances = maximum.is_some()
                || minimum.is_some_and(|least| least.iter().any(|byte| *byte != 0));
            list.push(Subtree { base, has_distances });
            Ok(())
        })?;
    }
    Ok(subtrees)
}

fn alternative_names<'a>(found: &Facts<'a>) -> Result<Vec<Name<'a>>, Flaw> {
    let mut names = Vec::new();
    if let Some(content) = found.alternative_names {
        Reader::new(content).within(tag::SEQUENCE)?.each(|reader| {
            names.push(reader.element()?);
            Ok(())
        })?;
    }
    Ok(names)
}

/// `nc_match`
fn compare(name: Name<'_>, subtrees: &Subtrees<'_>) -> Result<(), Fault> {
    // A mailbox with letters beyond ASCII is compared as an address of mail: with those, it counts as not comparable.
    let is_kin = |subtree: &&Subtree<'_>| {
        subtree.base.0 == name.0 || (name.0 == OTHER && subtree.base.0 == EMAIL)
    };
    let mut permitted = None;
    for subtree in subtrees.permitted.iter().filter(is_kin) {
        if subtree.has_distances {
            return Err(Fault::UnsupportedName);
        }
        permitted = Some(permitted == Some(true) || is_within(name, subtree)?);
    }
    if permitted == Some(false) {
        return Err(Fault::NameConstraints);
    }
    for subtree in subtrees.excluded.iter().filter(is_kin) {
        if is_within(name, subtree)? {
            return Err(Fault::NameConstraints);
        }
    }
    Ok(())
}

/// `nc_match_single`
fn is_within((kind, name): Name<'_>, subtree: &Subtree<'_>) -> Result<bool, Fault> {
    if subtree.has_distances {
        return Err(Fault::UnsupportedName);
    }
    let base = subtree.base.1;
    match kind {
        DIRECTORY => Ok(name::comparable(name).starts_with(&name::comparable(base))),
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

/// `nc_dns`: labels may be added on the left.
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

/// `nc_uri`: what is between `://` and a port or a path.
fn host_of(uri: &[u8]) -> Option<&[u8]> {
    let colon = uri.iter().position(|byte| *byte == b':')?;
    let rest = uri[colon + 1..].strip_prefix(b"//")?;
    let end = |stop| rest.iter().position(|byte| *byte == stop);
    let host = &rest[..end(b':').or_else(|| end(b'/')).unwrap_or(rest.len())];
    (!host.is_empty()).then_some(host)
}

/// `nc_email`; `None` where OpenSSL does not compare them.
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

/// `nc_ip`; `None` where it is neither IPv4 nor IPv6.
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

/// `cn2dnsid`: a common name that looks like the name of a host, which has a dot.
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
