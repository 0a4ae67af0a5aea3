//! Lines of `pg_hba.conf` that let clients in without a certificate, and what of their passwords goes over the network.

use super::order::{includes, is_covered};
use super::warning;
use crate::sql::{Address, HbaRule};
use pgsvid_base::finding::{Code, Finding};

/// What of a password goes over a network without TLS, if the line asks for one there, and no earlier line rejects these clients.
pub(super) fn in_the_clear(rule: &HbaRule, rejects: &[&HbaRule]) -> Option<Password> {
    let may_lack_tls = matches!(rule.kind.as_str(), "host" | "hostnossl" | "hostnogssenc");
    rule.address.as_ref().filter(|address| may_lack_tls && !address.is_local())?;
    let password = Password::asked_by(rule)?;
    let rejecting = |earlier: &&&HbaRule| {
        matches!(earlier.kind.as_str(), "host" | "hostnossl")
            && includes(&earlier.users, &rule.users)
    };
    let rejects: Vec<&HbaRule> = rejects.iter().filter(rejecting).copied().collect();
    (!is_covered(rule, &rejects)).then_some(password)
}

pub(super) fn without_certificate(
    place: &str,
    rule: &HbaRule,
    clear: Option<Password>,
) -> Option<Finding> {
    if rule.method == "reject" || rule.wants_certificate() || !rule.admits_tls() && clear.is_none()
    {
        return None;
    }
    // Debian's own lines: a password of this machine's own users, which nobody else sees.
    let local = rule.address.as_ref().is_some_and(Address::is_local);
    if local && matches!(rule.method.as_str(), "scram-sha-256" | "md5") {
        return None;
    }
    let (kind, method) = (&rule.kind, &rule.method);
    let clear = clear.map_or_else(String::new, |password| {
        format!(" and without TLS: anyone on the way can read {}", password.what())
    });
    // PostgreSQL takes cert and clientcert in hostssl lines alone.
    let hostssl =
        if kind == "hostssl" { String::new() } else { format!("hostssl instead of {kind}, and ") };
    Some(warning(
        Code::HbaWithoutCertificate,
        format!("{place} lets clients in by {method} alone, without a certificate{clear}"),
        format!(
            "in {place} write {hostssl}cert instead of {method}, or clientcert=verify-full beside {method}, then reload; narrow the \
             line if people need it"
        ),
    ))
}

/// What goes over the network where a password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// The password.
    AsItIs,
    /// A proof of it.
    Proof,
}

impl Password {
    /// How a line asks for a password, if it does.
    #[must_use]
    pub fn asked_by(rule: &HbaRule) -> Option<Self> {
        match rule.method.as_str() {
            "password" | "ldap" | "pam" | "radius" | "bsd" => Some(Self::AsItIs),
            "md5" | "scram-sha-256" => Some(Self::Proof),
            _ => None,
        }
    }

    /// What can be read on the way.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::AsItIs => "the password itself",
            Self::Proof => "a proof of the password, by which it can be guessed",
        }
    }
}
