//! What OpenSSL checks once a path is complete (`x509_vfy.c`, `verify_chain`), in its order.

use std::time::SystemTime;

use super::facts::{BasicConstraints, Facts, netscape, usage};
use super::fault::Fault;
use super::refusal::Refusal;
use super::signatures::{Signature, Signatures};
use crate::validity::is_valid;

/// The use that the leaf needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    Client,
}

/// Judges a path from the leaf to a trusted root. A signature that cannot be verified here is a fault, because somebody who
/// forges a certificate chooses its algorithm.
pub(crate) fn judge(
    path: &[&Facts<'_>],
    purpose: Purpose,
    signatures: &Signatures,
    now: SystemTime,
) -> Result<(), Refusal> {
    let fail = |at: usize, fault| Refusal::of(path[at], at, fault);
    if path[0].key.is_weak() {
        return Err(fail(0, Fault::WeakKey));
    }
    extensions(path, purpose)?;
    strength(path)?;
    for at in (0..path.len()).rev() {
        let found = path[at];
        if let Some(issuer) = path.get(at + 1) {
            match signatures.of(found, issuer) {
                Signature::Right => {}
                Signature::Unchecked => return Err(fail(at, Fault::Unchecked)),
                Signature::Wrong => return Err(fail(at, Fault::Signature)),
                Signature::TooMany => return Err(fail(at, Fault::TooMany)),
            }
        }
        if !is_valid(found.certificate, now) {
            let has_expired = found.not_after() <= now;
            return Err(fail(at, if has_expired { Fault::Expired } else { Fault::NotYetValid }));
        }
    }
    names(path, signatures)?;
    // OpenSSL checks these resources (RFC 3779) only if the leaf has some.
    if path[0].resources { Err(fail(0, Fault::ResourceExtension)) } else { Ok(()) }
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
            return fail(Fault::NotACa);
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

/// `check_ca`: an intermediate needs 1; for a root, anything but 0 is enough. For TLS, Netscape's bit counts as well
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

/// `check_purpose_ssl_server` and `check_purpose_ssl_client`, without what `may_sign` checks.
pub(crate) fn fits_purpose(found: &Facts<'_>, purpose: Purpose, is_authority: bool) -> bool {
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
fn names(path: &[&Facts<'_>], signatures: &Signatures) -> Result<(), Refusal> {
    for (at, found) in path.iter().enumerate().rev() {
        if at > 0 && found.is_self_issued() {
            continue;
        }
        for above in path[at + 1..].iter().rev() {
            signatures
                .constraints(found, above, at == 0)
                .map_err(|fault| Refusal::of(found, at, fault))?;
        }
    }
    Ok(())
}
