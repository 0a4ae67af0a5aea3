//! The lines of the log about tokens. None of them has a token in it.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::claims::Claims;
use super::failure::Failure;
use super::keys::Proof;
use crate::finding::{Code, Finding};
use crate::status::TokenFile;
use crate::text::shown;
use crate::timing;

/// What to do about the faulty keys of a foreign trust domain.
pub const LEFT_OUT_FIX: &str = "see the federation of that trust domain at SPIRE's server: what its bundle endpoint gives is no JWK set";

/// A token was written.
pub(super) fn written(token: &TokenFile, claims: &Claims, proof: &Proof, renewal: Duration) {
    let file = token.file.as_str();
    let audience = token.audience.join(", ");
    let (expires, next) = (timing::utc(claims.expires), timing::roughly(renewal));
    let next = format!("renewal in {next}");
    match proof {
        Proof::Verified => info!(
            event = "token-written",
            file,
            spiffe_id = claims.subject,
            audience,
            expires,
            next,
            "token written"
        ),
        Proof::Unverified(why) => warn!(
            event = "token-unverified",
            file,
            spiffe_id = claims.subject,
            audience,
            expires,
            next,
            cause = why,
            "token written; its signature is not verified"
        ),
    }
}

/// There is no new token, or no new bundle (`what`). `has_old`: the file still holds one that is valid.
pub(super) fn failed(
    found: &Finding,
    failure: &Failure,
    delay: Duration,
    is_news: bool,
    has_old: bool,
) {
    let Finding { code, text, cause, fix, command, object, .. } = found;
    let (file, command) = (object.as_deref(), command.as_deref());
    if !is_news {
        debug!(file, "still: {text}");
        return;
    }
    let next = format!("trying again in {}", timing::roughly(delay));
    // Nothing is wrong yet, unless it stays so.
    if has_old && !failure.is_permanent() {
        warn!(event = "token-failed", file, %code, cause, fix, command, next, "{text}");
    } else {
        error!(event = "token-failed", file, %code, cause, fix, command, next, "{text}");
    }
}

/// The JWT bundle was written.
pub(super) fn bundle(file: &str, keys: usize) {
    info!(event = "jwt-bundle-written", file, keys, "JWT bundle written");
}

/// A foreign trust domain's keys are left out. `why` follows "the JWT bundle ".
pub(super) fn dropped(domain: &str, why: &str) {
    warn!(
        event = "jwt-bundle-left-out",
        trust_domain = %shown(domain),
        code = %Code::JwtBundle,
        cause = why,
        fix = LEFT_OUT_FIX,
        "the keys of a foreign trust domain are left out of the JWT bundle"
    );
}

/// Somebody has changed a file, and it was written again.
pub(super) fn restored(file: &str, how: &str) {
    warn!(
        event = "token-file-changed",
        file,
        cause = how,
        "somebody else has changed the file; it is written again"
    );
}
