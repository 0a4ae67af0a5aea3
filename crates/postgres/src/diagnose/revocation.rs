//! What stands where revocation lists should be.

use std::path::PathBuf;

use super::failure;
use crate::survey::Revocation;
use pgsvid_base::finding::{Code, Finding};

/// Certificates where revocation lists should be.
#[must_use]
pub fn revocation(found: &Revocation) -> Vec<Finding> {
    let finding = |(setting, path): &(&str, PathBuf)| {
        failure(
            Code::CrlHoldsCertificate,
            format!(
                "{} ({setting}) holds a certificate: OpenSSL takes it for an authority, as if it were in ssl_ca_file, and PostgreSQL \
             lets in the clients that it has signed",
                path.display()
            ),
            if *setting == "ssl_crl_dir" {
                format!(
                    "remove {} from the directory, where lists are called <hash>.r<number>",
                    path.display()
                )
            } else {
                format!(
                    "remove the certificates from {}, and leave the lists (X509 CRL), then reload",
                    path.display()
                )
            },
        )
    };
    found.authorities.iter().map(finding).collect()
}
