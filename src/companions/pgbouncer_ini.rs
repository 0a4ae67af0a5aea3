//! A part of PgBouncer's ini, which names one generation by absolute path.
//!
//! PgBouncer opens certificate and key towards PostgreSQL one after the other, at each connection, so published names can mix
//! during a swap; after one such error it admits nobody to the pool for 15 seconds (`server_login_retry`). With a part that
//! names its own generation they cannot mix, because PgBouncer has the paths from its last reload (measured with 1.18:
//! `tests/postgresql/pgbouncer`).

use std::path::Path;

use super::service_file::Names;

/// The part for the generation at `generation`, an absolute path for PgBouncer. It stands in the section `[pgbouncer]`.
#[must_use]
pub fn render(names: &Names, generation: &Path) -> Vec<u8> {
    let file = |name: &str| generation.join(name).display().to_string();
    let (certificate, key, bundle) =
        (file(&names.certificate), file(&names.private_key), file(&names.bundle));
    format!(
        "; Written by pgsvid for each generation. The modes (client_tls_sslmode, server_tls_sslmode) belong in PgBouncer's own ini.\n\
         client_tls_cert_file = {certificate}\n\
         client_tls_key_file = {key}\n\
         client_tls_ca_file = {bundle}\n\
         server_tls_cert_file = {certificate}\n\
         server_tls_key_file = {key}\n\
         server_tls_ca_file = {bundle}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_comment_or_names_a_file_of_the_generation() {
        let names = Names {
            certificate: "svid.pem".to_owned(),
            private_key: "svid_key.pem".to_owned(),
            bundle: "svid_bundle.pem".to_owned(),
        };
        let text = String::from_utf8(render(&names, Path::new("/svids/..v1-a"))).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with(';')).collect();
        assert_eq!(lines.len(), 6);
        for line in lines {
            let (key, path) = line.split_once(" = ").unwrap();
            assert!(key.ends_with("_file"), "{line}");
            assert!(path.starts_with("/svids/..v1-a/svid"), "{line}");
        }
    }
}
