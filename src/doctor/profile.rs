//! What about an SVID will hurt somebody, whether an agent offers it or a file holds it.

use super::finding::{Code, Finding};
use crate::material::Warning;

/// The finding of a warning.
pub(super) fn warned(warning: Warning) -> Finding {
    let code = match warning {
        Warning::NoDnsName => Code::SvidDnsName,
        Warning::SharedSubject => Code::SvidSharedSubject,
        Warning::Ed25519Signature => Code::SvidEd25519,
        Warning::FederatedAuthorities => Code::FederatedAuthorities,
        Warning::AuthorityLeftOut => Code::AuthorityLeftOut,
        Warning::UncheckedSignature => Code::SignatureUnchecked,
    };
    Finding::warning(code, warning.cause()).fix(warning.fix())
}
