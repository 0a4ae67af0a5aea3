//! Whether clients can find the server by a name in its certificate, as far as this is certain.

use std::net::IpAddr;

use super::postgresql::Sql;
use crate::doctor::entry;
use crate::doctor::finding::{Code, Finding, Section, Severity};
use crate::material::{Details, Material};

/// The finding about a server that other machines can reach and whose certificate has no name: no client can use
/// sslmode=verify-full.
pub(super) fn unreachable(sql: &Sql, material: &Material) -> Option<Finding> {
    let listens = &sql.answers()?.settings.listen_addresses;
    let leaf = material.leaf();
    // libpq compares the host with the CN if there is no other name (`fe-secure-openssl.c`,
    // `pgtls_verify_peer_name_matches_certificate_guts`).
    let has_name = !leaf.dns_names().is_empty()
        || !Details::of(leaf).ip_addresses.is_empty()
        || leaf.common_name().is_some();
    if has_name || !is_for_others(listens) {
        return None;
    }
    let finding = Finding::failure(
        Code::SvidDnsName,
        format!(
            "PostgreSQL accepts connections from other machines (listen_addresses = {listens}), but the SVID has no DNS name, IP address or CN: no client can \
             use sslmode=verify-full"
        ),
    );
    Some(entry::add_own_name_to(finding, material))
}

/// Removes the warnings about missing DNS names, because the failure of [`unreachable`] says more.
pub(super) fn without_warning(sections: &mut [Section]) {
    for section in sections {
        section
            .findings
            .retain(|found| found.code != Code::SvidDnsName || found.severity != Severity::Warning);
    }
}

/// Whether other machines may reach one of these addresses: it is neither `localhost` nor a loopback address.
fn is_for_others(listen_addresses: &str) -> bool {
    let mut addresses = listen_addresses.split(',').map(str::trim).filter(|one| !one.is_empty());
    addresses.any(|address| {
        address != "localhost"
            && !address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::is_for_others;

    #[test]
    fn n10_whether_others_can_reach_the_server_is_distinguished_from_its_addresses() {
        for (addresses, others) in [
            ("", false),
            ("localhost", false),
            ("127.0.0.1, ::1", false),
            ("*", true),
            ("0.0.0.0", true),
            ("localhost, 10.0.0.5", true),
            ("db.example", true),
        ] {
            assert_eq!(is_for_others(addresses), others, "{addresses}");
        }
    }
}
