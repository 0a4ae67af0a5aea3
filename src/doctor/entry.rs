//! The remedy for a registration entry that lacks a name: the command that adds it.

use std::net::IpAddr;

use super::finding::Finding;
use crate::entries;
use crate::material::{Material, Policy};

/// Adds the command that adds this machine's name.
pub(super) fn add_own_name(finding: Finding, spiffe_id: &str) -> Finding {
    let finding = finding.fix(
        "add the name that clients connect to to its registration entry; the command has this machine's name, so change it if clients use another",
    );
    finding.command(entries::add_dns_name(spiffe_id, &own_host()))
}

/// The same for any set: a certificate that is not an SVID has no entry.
pub(super) fn add_own_name_to(finding: Finding, material: &Material) -> Finding {
    match (material.policy(), material.spiffe_id()) {
        (Policy::Spiffe, Some(spiffe_id)) => add_own_name(finding, &spiffe_id.to_string()),
        _ => finding.fix("issue the certificate with the DNS name that clients connect to"),
    }
}

/// Adds the command that adds this name. An entry cannot have an IP address as a name.
pub(super) fn add_name(finding: Finding, spiffe_id: Option<&str>, name: &str) -> Finding {
    match spiffe_id {
        Some(spiffe_id) if name.parse::<IpAddr>().is_err() => finding
            .fix("connect by a name that it has, or add this one to its registration entry")
            .command(entries::add_dns_name(spiffe_id, name)),
        _ => finding.fix("connect by a name that it has"),
    }
}

/// This machine's name.
pub(super) fn own_host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
