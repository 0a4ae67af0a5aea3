//! What an acceptable SVID will bring its users into trouble with.

use std::fmt;

use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Certificate, Material};

/// One thing that hurts later. `Display` says what, and how to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// libpq's `verify-full` looks at DNS names only, and SPIRE derives the CN from the first one.
    NoDnsName,
    /// The subject is the same for every workload without a DNS name, so PostgreSQL cannot tell them apart.
    SharedSubject,
    /// Breaks SCRAM channel binding in libpq: Ed25519 names no digest.
    Ed25519Signature,
    /// PostgreSQL has one CA file and cannot bind an authority to a trust domain.
    FederatedAuthorities,
    /// OpenSSL would take it for another one of its name.
    AuthorityLeftOut,
    /// An algorithm, or a curve, that pgsvid has no code for.
    UncheckedSignature,
}

impl Warning {
    /// What is wrong.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Self::NoDnsName => {
                "the SVID has no DNS name: clients cannot use sslmode=verify-full, and `cert` sees no user name"
            }
            Self::SharedSubject => {
                "the SVID's subject O=SPIRE,C=US is shared by all workloads: never map it to a role"
            }
            Self::Ed25519Signature => {
                "the SVID is signed with Ed25519: SCRAM logins with channel binding will fail in libpq"
            }
            Self::FederatedAuthorities => {
                "authorities of federated trust domains are published: any of them can issue a client \
                 certificate with any CN"
            }
            Self::AuthorityLeftOut => {
                "an authority of the bundle is not published: OpenSSL would take it for the one of the same name that has \
                 signed this SVID's chain, and refuse the SVID (it has expired, has another key, or may not sign)"
            }
            Self::UncheckedSignature => {
                "a signature in the SVID's chain is unchecked: OpenSSL knows its algorithm or its curve, pgsvid does not"
            }
        }
    }

    /// How to mend it.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::NoDnsName => "add one with spire-server entry update -entryID <id> … -dns <name>",
            Self::SharedSubject => {
                "add a DNS name to the entry, or turn on SPIRE's uniqueid credential composer"
            }
            Self::Ed25519Signature => "let the CA sign with EC P-256",
            Self::FederatedAuthorities => {
                "leave files.federated_bundles off unless every domain is trusted so"
            }
            Self::AuthorityLeftOut => {
                "take it out of the trust domain's bundle, or let it be made anew with a name of its own"
            }
            Self::UncheckedSignature => {
                "nothing has to be done; to have it checked, let the CA sign with EC P-256, P-384 or P-521, or with RSA"
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause(), self.fix())
    }
}

impl Warning {
    /// What one leaf will bring into trouble.
    #[must_use]
    pub fn of_leaf(leaf: &Certificate) -> Vec<Self> {
        let mut found = Vec::new();
        if leaf.dns_names().is_empty() {
            found.push(Self::NoDnsName);
        }
        if leaf.distinguished_name() == "O=SPIRE,C=US" {
            found.push(Self::SharedSubject);
        }
        if X509Certificate::from_der(leaf.der())
            .is_ok_and(|(_, parsed)| parsed.signature_algorithm.algorithm == OID_SIG_ED25519)
        {
            found.push(Self::Ed25519Signature);
        }
        found
    }
}

pub(super) fn warnings(material: &Material) -> Vec<Warning> {
    let mut found = Warning::of_leaf(material.leaf());
    if !material.federated.is_empty() {
        found.push(Warning::FederatedAuthorities);
    }
    if !material.left_out.is_empty() {
        found.push(Warning::AuthorityLeftOut);
    }
    if material.is_unchecked {
        found.push(Warning::UncheckedSignature);
    }
    found
}
