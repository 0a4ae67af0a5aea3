//! Foreign authorities that OpenSSL could take for certificates of ours.
//!
//! It looks for the issuer of a certificate by name and key identifier, among the authorities first and only then in what a peer
//! sends. It takes the first that fits, and verifies no signature before the path is whole (OpenSSL: `x509_vfy.c`,
//! `build_chain`; `v3_purp.c`, `ossl_x509_likely_issued`). With a foreign one in the place of ours, no client and no server
//! of ours is accepted any more. The same key is no help: a certificate of our key that another authority has signed, or that has
//! expired, leads nowhere.

use std::collections::HashMap;

use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::certificate::{Certificate, Fingerprint};
use super::encoding;
use super::name;

/// What is known of the names of our own authorities and intermediates.
#[derive(Clone, Default)]
pub(super) struct Names(HashMap<Vec<u8>, Name>);

/// The certificates of one name.
#[derive(Clone, Default)]
struct Name {
    own: Vec<Fingerprint>,
    /// The key identifiers that tell another authority of this name from ours: of our own, and what they have issued names.
    /// `None` stands for a certificate that has none, and for which the name alone decides.
    identifiers: Vec<Option<Vec<u8>>>,
}

impl Names {
    /// Those of a leaf, and of the certificates above it.
    pub(super) fn of<'a>(
        leaf: &'a Certificate,
        above: impl Iterator<Item = &'a Certificate> + Clone,
    ) -> Self {
        let mut names = Self::default();
        for own in above.clone() {
            let of_name = names.0.entry(name::comparable(own.subject())).or_default();
            of_name.own.push(own.fingerprint());
            of_name.identifiers.push(identifier(own, Of::Itself));
        }
        for issued in std::iter::once(leaf).chain(above) {
            let Ok(signed) = encoding::signed(issued.der()) else { continue };
            if signed.issuer == issued.subject() {
                continue;
            }
            if let Some(issuer) = names.0.get_mut(&name::comparable(signed.issuer)) {
                issuer.identifiers.push(identifier(issued, Of::ItsIssuer));
            }
        }
        names
    }

    /// Whether OpenSSL could take a foreign certificate for one of them.
    pub(super) fn are_claimed_by(&self, foreign: &Certificate) -> bool {
        let Some(name) = self.0.get(&name::comparable(foreign.subject())) else { return false };
        if name.own.contains(&foreign.fingerprint()) {
            return false;
        }
        let Some(identifier) = identifier(foreign, Of::Itself) else { return true };
        name.identifiers.iter().any(|own| own.as_ref().is_none_or(|own| *own == identifier))
    }
}

/// Whose key identifier.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The certificate's own.
    Itself,
    /// That of the one that has signed it.
    ItsIssuer,
}

/// A key identifier in a certificate's extensions; `None`, too, where the extension is there twice, or cannot be read.
pub(super) fn identifier(certificate: &Certificate, of: Of) -> Option<Vec<u8>> {
    let oid = match of {
        Of::Itself => OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
        Of::ItsIssuer => OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
    };
    let (_, parsed) = X509Certificate::from_der(certificate.der()).ok()?;
    let identifier = match parsed.get_extension_unique(&oid).ok()??.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => identifier,
        ParsedExtension::AuthorityKeyIdentifier(of) => of.key_identifier.as_ref()?,
        _ => return None,
    };
    Some(identifier.0.to_vec())
}
