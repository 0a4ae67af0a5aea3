//! What OpenSSL asks of a path once it is whole (`x509_vfy.c`, `verify_chain`), in its order.

use std::time::SystemTime;

use super::constraints;
use super::facts::{BasicConstraints, Facts, netscape, usage};
use super::refusal::{Fault, Refusal};
use super::signatures::{Signature, Signatures};
use crate::validity::is_valid;

/// What the leaf is to be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    Client,
}

/// Judges a path from the leaf to a trusted root. Returns those whose signatures could not be verified here.
pub(crate) fn judge<'s, 'a>(
    path: &[&'s Facts<'a>],
    purpose: Purpose,
    signatures: &Signatures,
    now: SystemTime,
) -> Result<Vec<&'s Facts<'a>>, Refusal> {
    let fail = |at: usize, fault| Refusal::of(path[at], at, fault);
    if path[0].key.is_weak() {
        return Err(fail(0, Fault::WeakKey));
    }
    extensions(path, purpose)?;
    strength(path)?;
    let mut unchecked = Vec::new();
    for at in (0..path.len()).rev() {
        let found = path[at];
        if let Some(issuer) = path.get(at + 1) {
            match signatures.of(found, issuer) {
                Signature::Right => {}
                Signature::Unchecked => unchecked.push(found),
                Signature::Wrong => return Err(fail(at, Fault::Signature)),
                Signature::TooMany => return Err(fail(at, Fault::TooMany)),
            }
        }
        if !is_valid(found.certificate, now) {
            return Err(fail(at, Fault::of_time(found, now)));
        }
    }
    names(path, signatures)?;
    // Of the others only the leaf's would be looked at.
    if path[0].resources { Err(fail(0, Fault::Resources)) } else { Ok(unchecked) }
}

/// `check_extensions`
fn extensions(path: &[&Facts<'_>], purpose: Purpose) -> Result<(), Refusal> {
    let mut below = 0;
    for (at, found) in path.iter().enumerate() {
        let fail = |fault| Err(Refusal::of(found, at, fault));
        if found.unknown_critical {
            return fail(Fault::Critical);
        }
        let is_last = at + 1 == path.len();
        if at > 0 && !may_sign(found, is_last) {
            return fail(Fault::NoAuthority);
        }
        if found.key.explicit_curve && path.len() > 1 {
            return fail(Fault::ExplicitCurve);
        }
        if !fits_purpose(found, purpose, at > 0) {
            return fail(match purpose {
                Purpose::Server => Fault::NotForServers,
                Purpose::Client => Fault::NotForClients,
            });
        }
        let most = found.constraints.and_then(|constraints| constraints.path_length);
        if at > 1 && most.is_some_and(|most| below > most) {
            return fail(Fault::PathLength);
        }
        if at > 0 && !found.is_self_issued() {
            below += 1;
        }
    }
    Ok(())
}

/// `check_ca`, where 1 is what an intermediate needs, and anything but 0 is enough for a root; for TLS, also Netscape's bit
/// (`check_ssl_ca`).
fn may_sign(found: &Facts<'_>, is_root: bool) -> bool {
    if found.key_usage.is_some_and(|allowed| allowed & usage::KEY_CERT_SIGN == 0) {
        return false;
    }
    match found.constraints {
        Some(BasicConstraints { authority, .. }) => authority,
        None if !is_root => false,
        None if found.parts.is_version_1 && found.self_signed => true,
        None if found.key_usage.is_some() => true,
        None => found.netscape.is_some_and(|kind| {
            kind & netscape::ANY_AUTHORITY != 0 && kind & netscape::TLS_AUTHORITY != 0
        }),
    }
}

/// `check_purpose_ssl_server` and `check_purpose_ssl_client`, but for what `may_sign` has looked at.
fn fits_purpose(found: &Facts<'_>, purpose: Purpose, is_authority: bool) -> bool {
    let (extended, bits, kind) = match purpose {
        Purpose::Server => (
            found.extended.is_none_or(|usage| usage.server),
            usage::DIGITAL_SIGNATURE | usage::KEY_ENCIPHERMENT | usage::KEY_AGREEMENT,
            netscape::SERVER,
        ),
        Purpose::Client => (
            found.extended.is_none_or(|usage| usage.client),
            usage::DIGITAL_SIGNATURE | usage::KEY_AGREEMENT,
            netscape::CLIENT,
        ),
    };
    let usable = found.key_usage.is_none_or(|allowed| allowed & bits != 0)
        && found.netscape.is_none_or(|allowed| allowed & kind != 0);
    extended && (is_authority || usable)
}

/// `check_auth_level`, at level 2.
fn strength(path: &[&Facts<'_>]) -> Result<(), Refusal> {
    for (at, found) in path.iter().enumerate() {
        if found.key.is_weak() {
            return Err(Refusal::of(found, at, Fault::WeakKey));
        }
        let is_root = at + 1 == path.len();
        if !is_root && found.method.is_none_or(super::algorithms::Method::is_weak) {
            return Err(Refusal::of(found, at, Fault::WeakDigest));
        }
    }
    Ok(())
}

/// `check_name_constraints`
fn names(path: &[&Facts<'_>], effort: &Signatures) -> Result<(), Refusal> {
    for (at, found) in path.iter().enumerate().rev() {
        if at > 0 && found.is_self_issued() {
            continue;
        }
        for above in path[at + 1..].iter().rev() {
            constraints::check(found, above, at == 0, effort)
                .map_err(|fault| Refusal::of(found, at, fault))?;
        }
    }
    Ok(())
}
