//! Settings that only some versions of PostgreSQL have, or whose default differs between them.

use crate::doctor::finding::{Code, Finding};
use crate::sql::{self, RoleRights, TlsSettings, statements};

/// From this version on slots can be reserved for a role.
const RESERVED_CONNECTIONS: u32 = 160_000;

/// What is doubtful about them.
pub(super) fn versions(
    server: &sql::Settings,
    tls: &TlsSettings,
    standing: &RoleRights,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(minimum @ ("" | "TLSv1" | "TLSv1.1")) = standing.setting("ssl_min_protocol_version")
    {
        findings.push(
            Finding::warning(
                Code::SslMinProtocolVersion,
                format!(
                    "ssl_min_protocol_version is {minimum:?}: PostgreSQL accepts old and weak protocols"
                ),
            )
            .fix("put ssl_min_protocol_version = 'TLSv1.2' into postgresql.conf, then reload"),
        );
    }
    if standing.setting("ssl_sni") == Some("on") {
        findings.push(
            Finding::warning(
                Code::SslSni,
                "ssl_sni is on: for the names in pg_hosts.conf PostgreSQL serves other files than the \
                 three settings name",
            )
            .fix("also name the published files in pg_hosts.conf, or set ssl_sni = off"),
        );
    }
    let reserved = standing.setting("reserved_connections").unwrap_or("0") != "0"
        && standing.reserved_slots == Some(true);
    if tls.version_number >= RESERVED_CONNECTIONS && !reserved && !standing.superuser {
        findings.push(
            Finding::ok(
                Code::ReservedConnections,
                "no connection slot is reserved for pgsvid: while clients take all of them, \
                 a reload waits",
            )
            .fix("put reserved_connections = 1 into postgresql.conf, restart PostgreSQL, and run")
            .command(server.psql(&statements::grant_reserve(&standing.role))),
        );
    }
    findings
}
