//! Lines of `pg_hba.conf` that let clients in without a certificate, and what they reveal of passwords on the network.

use super::order::{includes, is_covered};
use super::warning;
use crate::sql::{Address, HbaRule};
use pgsvid_base::finding::{Code, Finding};

/// What a line reveals of a password on a network without TLS, if it asks for one there, and no earlier line rejects these
/// clients.
pub(super) fn in_the_clear(rule: &HbaRule, rejects: &[&HbaRule]) -> Option<Password> {
    let may_lack_tls = matches!(rule.kind.as_str(), "host" | "hostnossl" | "hostnogssenc");
    rule.address.as_ref().filter(|address| may_lack_tls && !address.is_local())?;
    let password = Password::asked_by(rule)?;
    let rejecting = |earlier: &&&HbaRule| {
        matches!(earlier.kind.as_str(), "host" | "hostnossl")
            && includes(earlier, &earlier.users, &rule.users)
    };
    let rejects: Vec<&HbaRule> = rejects.iter().filter(rejecting).copied().collect();
    (!is_covered(rule, &rejects)).then_some(password)
}

/// Whether a password is enough for clients on this machine. Debian's own lines are of this kind: these passwords do not cross a network.
#[must_use]
pub fn is_local_password(rule: &HbaRule) -> bool {
    rule.matches_tls()
        && !rule.wants_certificate()
        && rule.address.as_ref().is_some_and(Address::is_local)
        && matches!(rule.method.as_str(), "scram-sha-256" | "md5")
}

pub(super) fn without_certificate(
    place: &str,
    rule: &HbaRule,
    clear: Option<Password>,
) -> Option<Finding> {
    if rule.method == "reject" || rule.wants_certificate() || !rule.matches_tls() && clear.is_none()
    {
        return None;
    }
    if is_local_password(rule) {
        return None;
    }
    let (kind, method) = (&rule.kind, &rule.method);
    let clear = clear.map_or_else(String::new, |password| {
        format!(" and without TLS: anyone on the network path can read {}", password.what())
    });
    // PostgreSQL accepts cert and clientcert only in hostssl lines.
    let hostssl =
        if kind == "hostssl" { String::new() } else { format!("hostssl instead of {kind}, and ") };
    Some(warning(
        Code::HbaWithoutCertificate,
        format!("{place} lets clients in by {method} alone, without a certificate{clear}"),
        format!(
            "in {place} write {hostssl}cert instead of {method}, or clientcert=verify-full beside {method}, then reload; if people \
             need passwords, let the line match fewer clients"
        ),
    ))
}

/// What is sent over the network where a password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// The password itself, in clear text.
    AsItIs,
    /// A proof that the client knows it.
    Proof,
}

impl Password {
    /// What a line makes a client send as its password; `None` if it asks for none.
    #[must_use]
    pub fn asked_by(rule: &HbaRule) -> Option<Self> {
        match rule.method.as_str() {
            "password" | "ldap" | "pam" | "radius" | "bsd" => Some(Self::AsItIs),
            "md5" | "scram-sha-256" => Some(Self::Proof),
            _ => None,
        }
    }

    /// What an eavesdropper can read.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::AsItIs => "the password itself",
            Self::Proof => "a proof of the password, from which it can be guessed",
        }
    }
}
