//! The problems that an SVID will cause, whether an agent offers it or a file holds it.

use super::entry;
use super::finding::{Code, Finding};
use crate::material::{Certificate, Policy, Warning};

/// The finding for a warning about this leaf.
pub(super) fn warned(warning: Warning, leaf: &Certificate) -> Finding {
    let finding = if warning.is_failure() { Finding::failure } else { Finding::warning };
    let finding = finding(code(warning), warning.cause().to_owned());
    match leaf.uris().first() {
        Some(spiffe_id) if warning == Warning::NoDnsName => entry::add_own_name(finding, spiffe_id),
        _ => finding.fix(warning.fix()),
    }
}

/// The finding for a warning about a leaf that is not an SVID.
pub(super) fn warned_of_any(warning: Warning) -> Finding {
    let finding = if warning.is_failure() { Finding::failure } else { Finding::warning };
    finding(code(warning), warning.cause_of(Policy::X509)).fix(warning.fix_of(Policy::X509))
}

fn code(warning: Warning) -> Code {
    match warning {
        Warning::NoDnsName => Code::SvidDnsName,
        Warning::SharedSubject => Code::SvidSharedSubject,
        Warning::Ed25519Signature => Code::SvidEd25519,
        Warning::FederatedAuthorities => Code::FederatedAuthorities,
        Warning::AuthorityLeftOut => Code::AuthorityLeftOut,
        Warning::NotForServers(_) => Code::SvidNotForServers,
        Warning::NotForClients(_) => Code::SvidNotForClients,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::material::ForbiddenBy;

    #[test]
    fn a_warning_has_the_code_of_its_finding() {
        for warning in [
            Warning::NoDnsName,
            Warning::SharedSubject,
            Warning::Ed25519Signature,
            Warning::FederatedAuthorities,
            Warning::AuthorityLeftOut,
            Warning::NotForServers(ForbiddenBy::Leaf),
            Warning::NotForClients(ForbiddenBy::Authority),
        ] {
            assert_eq!(code(warning).name(), warning.code());
        }
    }
}
