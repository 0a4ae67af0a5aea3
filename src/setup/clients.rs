//! What setup leaves to the administrator, because it depends on the clients: where PostgreSQL listens, and which clients it
//! lets in.

use std::net::IpAddr;

use super::Settings;
use crate::sql::{Line, TlsSettings, parse_hba, statements};

/// What clients still need, for people. `hba` is `pg_hba.conf` as it will be, if it can be read.
pub(super) fn missing(settings: &Settings, tls: &TlsSettings, hba: Option<&str>) -> Vec<String> {
    let mut notes = Vec::new();
    let addresses = &tls.listen_addresses;
    if !addresses.is_empty() && addresses.split(',').map(str::trim).all(is_own) {
        notes.push(format!(
            "PostgreSQL only listens for clients of this machine (listen_addresses = {addresses}); changing that is left to you, and needs a \
             restart: {}",
            settings.server.session.psql(&statements::alter_system("listen_addresses", "*"))
        ));
    }
    let by_certificate =
        |line: &Line<_>| matches!(line, Line::Entry(rule) if is_by_certificate(rule));
    if hba.is_some_and(|hba| !parse_hba(hba).iter().any(by_certificate)) {
        notes.push(
            "no line of pg_hba.conf lets a client in by its certificate; you decide who your clients are: add \
             `hostssl <database> <role> all cert` above the general lines"
                .to_owned(),
        );
    }
    notes
}

fn is_own(address: &str) -> bool {
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_by_certificate(rule: &crate::sql::HbaRule) -> bool {
    rule.matches_tls() && rule.wants_certificate()
}
