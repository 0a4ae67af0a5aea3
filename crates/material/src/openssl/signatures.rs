//! Whether one certificate's key has signed another: found out once for each pair, and for a limited number of pairs.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use rustls_pki_types::SignatureVerificationAlgorithm;

use super::curves;
use super::facts::Facts;
use crate::certificate::Fingerprint;
use crate::encoding;

/// Most signatures that are verified for one leaf; one of P-384 takes a millisecond.
pub(crate) const MOST_SIGNATURES: usize = 128;

/// What is known of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// It is that of the key.
    Right,
    /// It is not.
    Wrong,
    /// pgsvid has no code for this algorithm, or this curve; OpenSSL has.
    Unchecked,
    /// There are too many to verify.
    TooMany,
}

/// What comparisons of names with constraints may cost for one leaf: their number, for each of which a few bytes are read.
const MOST_COMPARISONS: usize = 1 << 17;

/// What was found out, and how much was done for it.
#[derive(Default)]
pub(crate) struct Signatures {
    known: RefCell<HashMap<(Fingerprint, Fingerprint), Signature>>,
    comparisons: Cell<usize>,
}

impl Signatures {
    /// Whether `subject` is signed by the key of `issuer`.
    pub(crate) fn of(&self, subject: &Facts<'_>, issuer: &Facts<'_>) -> Signature {
        let pair = (subject.fingerprint(), issuer.fingerprint());
        let mut known = self.known.borrow_mut();
        if let Some(signature) = known.get(&pair) {
            return *signature;
        }
        if known.len() >= MOST_SIGNATURES {
            return Signature::TooMany;
        }
        let signature = verify(subject, issuer);
        known.insert(pair, signature);
        signature
    }

    /// Whether as many names may still be compared with constraints.
    pub(super) fn may_compare(&self, count: usize) -> bool {
        let all = self.comparisons.get().saturating_add(count);
        self.comparisons.set(all);
        all <= MOST_COMPARISONS
    }
}

fn verify(subject: &Facts<'_>, issuer: &Facts<'_>) -> Signature {
    let signed = &subject.parts;
    // OpenSSL compares the two before it verifies (`X509_verify`).
    if signed.algorithm != signed.inner_algorithm {
        return Signature::Wrong;
    }
    let Ok(key) = encoding::key(issuer.certificate.public_key()) else { return Signature::Wrong };
    let fits = |known: &&&dyn SignatureVerificationAlgorithm| {
        known.signature_alg_id().as_ref() == signed.algorithm
            && known.public_key_alg_id().as_ref() == key.algorithm
    };
    let mut fitting = webpki::ALL_VERIFICATION_ALGS.iter().filter(fits).peekable();
    if fitting.peek().is_none() {
        return curves::verify(signed, &key).map_or(Signature::Unchecked, |verified| {
            if verified { Signature::Right } else { Signature::Wrong }
        });
    }
    let verifies = |known: &&dyn SignatureVerificationAlgorithm| {
        known.verify_signature(key.bits, signed.content, signed.signature).is_ok()
    };
    if fitting.any(verifies) { Signature::Right } else { Signature::Wrong }
}
