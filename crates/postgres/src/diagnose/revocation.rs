//! Certificates in the place of revocation lists, and lists that make PostgreSQL refuse clients.

use std::path::PathBuf;

use rustls::AlertDescription;

use super::failure;
use crate::sql::TlsSettings;
use crate::survey::Revocation;
use crate::verify;
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;
use pgsvid_material::{Certificate, Details};

/// Certificates in the place of revocation lists.
#[must_use]
pub fn revocation(found: &Revocation) -> Vec<Finding> {
    let finding = |(setting, path): &(&str, PathBuf)| {
        failure(
            Code::CrlHoldsCertificate,
            format!(
                "{} ({setting}) holds a certificate: OpenSSL trusts it as an authority, as if it were in ssl_ca_file, so PostgreSQL \
             lets in clients whose certificates it signed",
                path.display()
            ),
            if *setting == "ssl_crl_dir" {
                format!(
                    "remove {} from the directory, where lists are named <hash>.r<number>",
                    path.display()
                )
            } else {
                format!(
                    "remove the certificates from {}, keep the lists (X509 CRL), then reload",
                    path.display()
                )
            },
        )
    };
    found.authorities.iter().map(finding).collect()
}

/// The finding about a server that refuses the leaf from a client because of its revocation lists. The alert shows the reason
/// (OpenSSL: `ssl_x509err2alert`). Without a list of each authority it refuses every client (`X509_V_FLAG_CRL_CHECK_ALL`).
#[must_use]
pub fn refused_by_lists(
    settings: &TlsSettings,
    alert: AlertDescription,
    leaf: &Certificate,
) -> Finding {
    let named = [
        ("ssl_crl_file", &settings.revocation_file),
        ("ssl_crl_dir", &settings.revocation_directory),
    ];
    let set: Vec<String> = named
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} = '{}'", shown(value)))
        .collect();
    let set = set.join(", ");
    let authority = shown(&Details::of(leaf).issuer);
    let cause = match alert {
        AlertDescription::CertificateRevoked => {
            format!("with {set} the certificate is on a revocation list")
        }
        AlertDescription::CertificateExpired => {
            format!("with {set} a revocation list of {authority} is past its nextUpdate")
        }
        _ => format!(
            "with {set} it requires a valid revocation list of each authority up to the root, such as {authority}"
        ),
    };
    Finding::failure(
        Code::ClientCertificatesRefused,
        format!(
            "PostgreSQL refuses the published certificate from a client ({}), and so every client of its authority",
            verify::alert_name(alert)
        ),
    )
    .about(set)
    .cause(cause)
    .fix(
        "put a list of each authority there (in a directory as <hash>.r0, the hash from `openssl crl -noout -hash`), or set both \
         settings to '', then reload",
    )
}
