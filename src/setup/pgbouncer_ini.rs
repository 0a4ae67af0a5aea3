//! What PgBouncer needs in its ini, as text to paste.

use std::fmt::Write as _;

use crate::consumers::Pooler;

/// The lines for the section `[pgbouncer]` of a PgBouncer's ini, with a final newline.
#[must_use]
pub fn pgbouncer_ini(pooler: &Pooler) -> String {
    let (host, port) = (pooler.console.host.display(), pooler.console.port);
    let mut text = format!(
        "\
; For the section [pgbouncer] of the ini of PgBouncer {name}, which has to run as pgsvid's user; then reload it once.
unix_socket_dir = {host}
listen_port = {port}

; Clients log in with a certificate whose CN is their role.
client_tls_sslmode = verify-full
auth_type = cert

; It shows its own certificate to PostgreSQL. A reload drops a login that is under way; the next one comes after a second.
server_tls_sslmode = verify-full
server_login_retry = 1

",
        name = pooler.name
    );
    if pooler.is_beside_another {
        text.push_str("; Several processes listen on this port.\nso_reuseport = 1\n\n");
    }
    // Writing to a String does not fail.
    if let Some(path) = &pooler.part {
        let _ = writeln!(
            text,
            "; Certificate, key and CA for both sides: all of one set.\n%include {}",
            path.display()
        );
        return text;
    }
    let paths = &pooler.paths;
    let _ = writeln!(
        text,
        "; Without files.pgbouncer in pgsvid's configuration, certificate and key towards PostgreSQL may not fit together in a rotation."
    );
    for side in ["client", "server"] {
        let _ = writeln!(
            text,
            "{side}_tls_cert_file = {}\n{side}_tls_key_file = {}\n{side}_tls_ca_file = {}",
            paths.certificate.display(),
            paths.private_key.display(),
            paths.bundle.display()
        );
    }
    text
}

/// What has to be done at a PgBouncer before a set-up is reverted, for people: it stays as it is.
#[must_use]
pub fn before_pooler(pooler: &Pooler) -> String {
    format!(
        "  before   PgBouncer {name} is not changed: first set client_tls_sslmode and server_tls_sslmode in its ini back, and reload it; \
         while it demands TLS, it reaches no PostgreSQL without TLS",
        name = pooler.name
    )
}
