//! Chains that pgsvid cannot verify.

use super::finding::{Code, Finding};

/// The finding about a chain with an algorithm that pgsvid cannot check. It is a failure, because an attacker who forges a chain
/// chooses its algorithms. `command` runs OpenSSL, which knows more of them.
pub(super) fn unchecked(why: &str, command: &str) -> Finding {
    Finding::failure(
        Code::SignatureUnchecked,
        format!("pgsvid cannot tell whether an authority of the bundle has signed it: {why}"),
    )
    .cause("pgsvid does not trust a signature that it cannot check; OpenSSL may know it")
    .fix(command)
}
