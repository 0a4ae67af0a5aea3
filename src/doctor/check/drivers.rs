//! Which drivers can use a section of a service file, and a key store: by the format of the key, and by the names of files, from
//! which pgjdbc derives the format (`LibPQFactory`; measured with 42.5.6 to 42.7.14: docs/clients.md).

use crate::companions::service_file;
use crate::config::Config;
use crate::doctor::finding::{Code, Finding};
use crate::doctor::jdbc::{misnamed, reads_pem_from, unknown_keywords};
use crate::material::pkcs12::{PGJDBC_ALIAS, pgjdbc_takes};
use crate::material::{Material, key_kind};
use crate::publish::Content;

/// Keywords of libpq that pgx 5 passes on to the server, which does not know them (measured with 5.13.0).
const PGX_REFUSES: [&str; 14] = [
    "fallback_application_name",
    "gssencmode",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "requirepeer",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
];
/// Keywords of libpq that lib/pq refuses (measured with 1.12.3).
const LIB_PQ_REFUSES: [&str; 12] = [
    "channel_binding",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "require_auth",
    "requirepeer",
    "sslcertmode",
    "sslcrl",
    "sslpassword",
    "tcp_user_timeout",
];

/// The drivers for a section, and what keeps pgjdbc from it.
pub(super) fn of_section(
    config: &Config,
    service: &service_file::Settings,
    on_disk: Option<&Material>,
) -> Vec<Finding> {
    let Some(key) = config.place.files().find(|file| file.name == service.private_key) else {
        return Vec::new();
    };
    let (name, section) = (key.name.as_str(), &service.name);
    let ok = |text: String| Finding::ok(Code::ServiceDrivers, text);
    let mut findings = match &key.content {
        Content::KeyDer => vec![ok(format!(
            "[{section}] serves libpq and pgjdbc, which read the key in DER; pgx, lib/pq and asyncpg need a section with the key in PEM"
        ))],
        Content::KeyStore { .. } => vec![ok(format!(
            "[{section}] serves pgjdbc only, with sslpassword in its URL or properties: libpq reads no PKCS#12"
        ))],
        _ => {
            let kind = on_disk.map(|material| key_kind(material.leaf().public_key()));
            let (readers, refusals) =
                of_pem(service, &config.place.readers_base().display().to_string());
            vec![ok(format!(
                "[{section}] serves {readers}, which read the key in PEM; {}{refusals}",
                pgjdbc_with_pem(name, kind.as_deref())
            ))]
        }
    };
    if !matches!(key.content, Content::KeyDer | Content::KeyStore { .. }) {
        return findings;
    }
    // A store is judged with all others.
    if let Content::KeyDer = key.content {
        findings.extend(misnamed(key));
    }
    findings.extend(unknown_keywords(service));
    findings
}

/// The drivers for a section with a key in PEM, and which others refuse which of its keywords. `directory` is a part of its paths.
fn of_pem(service: &service_file::Settings, directory: &str) -> (String, String) {
    let (mut readers, mut refusals) = (vec!["libpq"], Vec::new());
    for (driver, refused) in [("pgx", &PGX_REFUSES[..]), ("lib/pq", &LIB_PQ_REFUSES)] {
        let given: Vec<&str> =
            refused.iter().copied().filter(|it| service.options.contains_key(*it)).collect();
        if given.is_empty() {
            readers.push(driver);
        } else {
            refusals.push(format!("; {driver} does not connect with {}", given.join(", ")));
        }
    }
    let has_percent = |text: &String| text.contains('%');
    if directory.contains('%') || service.options.values().any(has_percent) {
        refusals.push("; asyncpg cannot read a value or a path with %".to_owned());
    } else {
        readers.push("asyncpg");
    }
    let text = match readers.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    };
    (text, refusals.concat())
}

/// What pgjdbc does with a key in PEM.
fn pgjdbc_with_pem(name: &str, kind: Option<&str>) -> String {
    let der = "a section with the key in DER ([[files.extra]] with content = \"der-key\")";
    let option = match kind {
        Some(kind) if kind.starts_with("EC ") => ", with pemKeyAlgorithm=EC in its URL",
        Some(kind) if kind.starts_with("RSA ") => "",
        _ => return format!("pgjdbc needs {der}"),
    };
    match reads_pem_from(name) {
        Some(version) => {
            format!("pgjdbc reads it from {version} on{option}, and before needs {der}")
        }
        None => format!("pgjdbc takes it for PKCS#12, and needs {der}"),
    }
}

/// Each file of `[[files.extra]]`, and what keeps pgjdbc from a key store.
pub(super) fn formats(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in config.place.files() {
        let kind = match &file.content {
            Content::Combined => "key, leaf and intermediates in PEM".to_owned(),
            Content::KeyDer => "the key in DER".to_owned(),
            Content::ChainDer => "leaf and intermediates in DER".to_owned(),
            Content::KeyStore { alias, .. } => format!("key and chain in PKCS#12, alias {alias}"),
            Content::TrustStore { .. } => "the authorities in PKCS#12, for Java".to_owned(),
            _ => continue,
        };
        let path = config.place.readers_base().join(&file.name);
        findings.push(Finding::ok(Code::Configuration, format!("{}: {kind}", path.display())));
        if let Content::KeyStore { alias, .. } = &file.content {
            // The names of other files matter only where a service file names them.
            findings.extend(misnamed(file));
            if !pgjdbc_takes(alias) {
                let text = format!(
                    "{}: pgjdbc shows only a key with the alias {PGJDBC_ALIAS}, and this one has {alias}",
                    file.name
                );
                let fix =
                    "leave files.extra.alias out, unless the store is for other programs only";
                findings.push(Finding::warning(Code::PgjdbcRefuses, text).fix(fix));
            }
        }
    }
    findings
}

/// Whether clients have a store: Java opens it once, so that it cannot mix two sets.
pub(super) fn has_store(config: &Config) -> bool {
    let mut files = config.place.files();
    files.any(|file| matches!(file.content, Content::KeyStore { .. }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn b154_drivers_that_refuse_a_keyword_are_not_among_those_that_a_section_serves() {
        let readers = |options: &[(&str, &str)], directory: &str| {
            let given =
                options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let options: BTreeMap<String, String> = given.collect();
            let (file, name) = ("pg_service.conf".to_owned(), "products".to_owned());
            let private_key = "svid_key.pem".to_owned();
            let service = service_file::Settings { file, name, private_key, options };
            of_pem(&service, directory)
        };
        let all = ("libpq, pgx, lib/pq and asyncpg".to_owned(), String::new());
        assert_eq!(readers(&[("host", "db"), ("connect_timeout", "3")], "/svids"), all);
        let (some, refusals) = readers(&[("hostaddr", "10.0.0.1")], "/svids");
        assert_eq!(some, "libpq, lib/pq and asyncpg");
        assert!(refusals.contains("pgx") && refusals.contains("hostaddr"), "{refusals}");
        assert_eq!(readers(&[("keepalives", "1")], "/sv%ids").0, "libpq");
        assert_eq!(readers(&[("tcp_user_timeout", "1")], "/svids").0, "libpq, pgx and asyncpg");
    }
}
