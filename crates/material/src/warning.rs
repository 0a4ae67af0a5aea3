//! Problems that an accepted SVID will cause for its users.

use std::fmt;

use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::allowed_uses::{AllowedUses, ForbiddenBy};
use super::{Certificate, Material, Policy};

/// A problem that appears later. `Display` gives the problem and its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// The leaf has no DNS name: a client with `verify-full` finds no host name in it, and SPIRE gives it no CN.
    NoDnsName,
    /// The subject is the same for every workload without a DNS name, so PostgreSQL cannot tell them apart.
    SharedSubject,
    /// Breaks SCRAM channel binding in libpq: Ed25519 names no digest.
    Ed25519Signature,
    /// PostgreSQL has one CA file and cannot bind an authority to a trust domain.
    FederatedAuthorities,
    /// OpenSSL would mistake it for another one of its name.
    AuthorityLeftOut,
    /// A server uses it, but clients will refuse it.
    NotForServers(ForbiddenBy),
    /// A client uses it, but servers will refuse it.
    NotForClients(ForbiddenBy),
}

impl Warning {
    /// Its name in logs: the code of the finding.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoDnsName => "svid-dns-name",
            Self::SharedSubject => "svid-shared-subject",
            Self::Ed25519Signature => "svid-ed25519",
            Self::FederatedAuthorities => "federated-authorities",
            Self::AuthorityLeftOut => "authority-left-out",
            Self::NotForServers(_) => "svid-not-for-servers",
            Self::NotForClients(_) => "svid-not-for-clients",
        }
    }

    /// Whether the SVID cannot be used at all, instead of only causing trouble for some.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::NotForServers(_) | Self::NotForClients(_))
    }

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
                "an authority of the bundle is not published: OpenSSL would mistake it for the one of the same name that \
                 signed this SVID's chain, and refuse the SVID (it has expired, has another key, or may not sign)"
            }
            Self::NotForServers(ForbiddenBy::Leaf) => {
                "the SVID cannot be used for servers: its extended key usage lacks serverAuth, or its nsCertType forbids it. PostgreSQL serves it nevertheless, and \
                 clients with sslmode=verify-ca or verify-full refuse the connection"
            }
            Self::NotForServers(ForbiddenBy::Authority) => {
                "the SVID may not be used for servers: an authority above it has an extended key usage without serverAuth. PostgreSQL \
                 serves it nevertheless, and clients with sslmode=verify-ca or verify-full refuse the connection"
            }
            Self::NotForClients(ForbiddenBy::Leaf) => {
                "the SVID cannot be used for clients: its extended key usage lacks clientAuth, or its nsCertType forbids it, and PostgreSQL refuses it in the \
                 handshake"
            }
            Self::NotForClients(ForbiddenBy::Authority) => {
                "the SVID may not be used for clients: an authority above it has an extended key usage without clientAuth, and \
                 PostgreSQL refuses it in the handshake"
            }
        }
    }

    /// What is wrong, for a certificate that must meet these rules.
    #[must_use]
    pub fn cause_of(self, policy: Policy) -> String {
        match policy {
            Policy::Spiffe => self.cause().to_owned(),
            Policy::X509 => self
                .cause()
                .replace("this SVID", "this certificate")
                .replace("the SVID", "the certificate"),
        }
    }

    /// How to fix it, for a certificate that must meet these rules: SPIRE does not issue those of X.509.
    #[must_use]
    pub fn fix_of(self, policy: Policy) -> &'static str {
        match (policy, self) {
            (Policy::X509, Self::NoDnsName) => {
                "issue it with the DNS names that clients connect to"
            }
            (Policy::X509, Self::SharedSubject) => "issue it with its own subject",
            (Policy::X509, Self::AuthorityLeftOut) => {
                "take it out of the bundle, or create it again with a name of its own"
            }
            (
                Policy::X509,
                Self::NotForServers(ForbiddenBy::Leaf) | Self::NotForClients(ForbiddenBy::Leaf),
            ) => "issue it with both serverAuth and clientAuth, or without an extended key usage",
            _ => self.fix(),
        }
    }

    /// How to fix it.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::NoDnsName => {
                "add one to its registration entry; `pgsvid check` prints the command"
            }
            Self::SharedSubject => {
                "add a DNS name to the entry, or turn on SPIRE's uniqueid credential composer"
            }
            Self::Ed25519Signature => "let the CA sign with EC P-256",
            Self::FederatedAuthorities => {
                "leave files.federated_bundles off unless you trust every domain that much"
            }
            Self::AuthorityLeftOut => {
                "take it out of the trust domain's bundle, or create it again with a name of its own"
            }
            Self::NotForServers(ForbiddenBy::Leaf) | Self::NotForClients(ForbiddenBy::Leaf) => {
                "issue SVIDs with both serverAuth and clientAuth, or without an extended key usage: SPIRE does the first unless a \
                 CredentialComposer plugin changes it"
            }
            Self::NotForServers(ForbiddenBy::Authority)
            | Self::NotForClients(ForbiddenBy::Authority) => {
                "issue that authority's certificate without an extended key usage, or with both serverAuth and clientAuth"
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
    /// The problems that one leaf will cause.
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
    let AllowedUses { servers, clients } = material.allowed_uses;
    found.extend(servers.filter(|_| material.users.servers).map(Warning::NotForServers));
    found.extend(clients.filter(|_| material.users.clients).map(Warning::NotForClients));
    found
}
