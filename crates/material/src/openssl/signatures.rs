//! Whether one certificate's key signed another: computed once for each key and certificate, within a budget.

use std::cell::RefCell;
use std::collections::HashMap;

use rustls_pki_types::{SignatureVerificationAlgorithm, alg_id};

use super::constraints;
use super::curves;
use super::effort::Effort;
use super::facts::Facts;
use super::fault::Fault;
use crate::certificate::Fingerprint;
use crate::encoding;

/// The result for a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// The key made it.
    Right,
    /// The key did not make it.
    Wrong,
    /// pgsvid has no code for this algorithm, or this curve; OpenSSL may have.
    Unchecked,
    /// There are too many to verify.
    TooMany,
}

/// A certificate, whether it is the leaf, and the certificate above it.
type Constrained = (Fingerprint, bool, Fingerprint);

/// Results for pairs of certificates, and the rest of the budget.
#[derive(Default)]
pub(crate) struct Signatures {
    pub(crate) effort: Effort,
    /// By the certificate, and the key.
    known: RefCell<HashMap<(Fingerprint, Fingerprint), Signature>>,
    constraints: RefCell<HashMap<Constrained, Result<(), Fault>>>,
}

impl Signatures {
    pub(crate) fn within(effort: Effort) -> Self {
        Self { effort, ..Self::default() }
    }

    /// Whether `subject` is signed by the key of `issuer`.
    pub(crate) fn of(&self, subject: &Facts<'_>, issuer: &Facts<'_>) -> Signature {
        const LOOK: usize = 100;
        let pair = (subject.fingerprint(), issuer.key_digest);
        if let Some(signature) = self.known.borrow().get(&pair) {
            return if self.effort.spend(LOOK) { *signature } else { Signature::TooMany };
        }
        if !self.effort.spend(cost(subject, issuer)) {
            return Signature::TooMany;
        }
        let signature = verify(subject, issuer);
        self.known.borrow_mut().insert(pair, signature);
        signature
    }

    /// Whether the certificates above allow the names of a certificate.
    pub(super) fn constraints(
        &self,
        found: &Facts<'_>,
        above: &Facts<'_>,
        is_leaf: bool,
    ) -> Result<(), Fault> {
        const LOOK: usize = 100;
        if !above.has_name_constraints() {
            return Ok(());
        }
        let pair = (found.fingerprint(), is_leaf, above.fingerprint());
        if let Some(known) = self.constraints.borrow().get(&pair) {
            return if self.effort.spend(LOOK) { *known } else { Err(Fault::TooManyNames) };
        }
        let result = constraints::check(found, above, is_leaf, &self.effort);
        self.constraints.borrow_mut().insert(pair, result);
        result
    }
}

/// What a signature costs, in nanoseconds: the size of the signed part counts, and the square of an RSA key's size.
fn cost(subject: &Facts<'_>, issuer: &Facts<'_>) -> usize {
    let content = subject.parts.tbs_certificate.len() * 5;
    let Ok(key) = encoding::key(issuer.certificate.public_key()) else { return content };
    let key_cost = if key.algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        key.bits.len() * key.bits.len()
    } else if key.algorithm == alg_id::ECDSA_P384.as_ref() {
        400_000
    } else if key.algorithm == alg_id::ECDSA_P256.as_ref() || key.bits.len() == 32 {
        150_000
    } else {
        1_500_000
    };
    content + key_cost
}

fn verify(subject: &Facts<'_>, issuer: &Facts<'_>) -> Signature {
    let signed = &subject.parts;
    // OpenSSL compares the two before it verifies (`X509_verify`), and verifies no bit string with unused bits
    // (`ASN1_item_verify_ctx`).
    if signed.algorithm != signed.inner_algorithm || signed.unused_bits != 0 {
        return Signature::Wrong;
    }
    let Ok(key) = encoding::key(issuer.certificate.public_key()) else { return Signature::Wrong };
    // Curves of EdDSA take no parameters (`ecx_meth.c`).
    if issuer.key.has_no_kind() || subject.method.is_none_or(|method| !issuer.key.fits(method)) {
        return Signature::Wrong;
    }
    let fits = |known: &&&dyn SignatureVerificationAlgorithm| {
        known.signature_alg_id().as_ref() == signed.algorithm
            && known.public_key_alg_id().as_ref() == key.algorithm
            && !curves::is_compressed(&key)
    };
    let mut fitting = webpki::ALL_VERIFICATION_ALGS.iter().filter(fits).peekable();
    if fitting.peek().is_none() {
        return curves::verify(signed, &key).map_or(Signature::Unchecked, |verified| {
            if verified { Signature::Right } else { Signature::Wrong }
        });
    }
    let verifies = |known: &&dyn SignatureVerificationAlgorithm| {
        known.verify_signature(key.bits, signed.tbs_certificate, signed.signature).is_ok()
    };
    if fitting.any(verifies) { Signature::Right } else { Signature::Wrong }
}
