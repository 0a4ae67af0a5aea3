//! PgBouncer's settings that concern TLS and logins, as its console reports them, and the files that they name.

use std::collections::BTreeMap;
use std::path::Path;

use crate::survey::{Lead, PublishedPaths, Viewpoint, lead};
use crate::verify::ClientSettings;

/// The settings that are kept.
const KEPT: [&str; 20] = [
    "admin_users",
    "auth_file",
    "auth_hba_file",
    "auth_ident_file",
    "auth_type",
    "client_tls_ca_file",
    "client_tls_cert_file",
    "client_tls_key_file",
    "client_tls_sslmode",
    "conffile",
    "listen_addr",
    "listen_port",
    "server_login_retry",
    "server_tls_ca_file",
    "server_tls_cert_file",
    "server_tls_key_file",
    "server_tls_sslmode",
    "so_reuseport",
    "stats_users",
    "unix_socket_dir",
];

/// PgBouncer's settings that concern TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `1.18.0`
    pub version: String,
    values: BTreeMap<&'static str, String>,
    port: u16,
}

/// What PgBouncer asks of its clients (`client_tls_sslmode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTls {
    /// No TLS.
    Off,
    /// TLS, and no client certificate is asked for.
    On,
    /// TLS, and each client must show a certificate.
    WithCertificate,
}

impl Settings {
    /// Parses the answer to `SHOW CONFIG`: name and value, and more columns in later versions. `None` if the answer is not
    /// PgBouncer's.
    pub(super) fn parse(version: String, rows: &[Vec<Option<String>>]) -> Option<Self> {
        let mut values = BTreeMap::new();
        for row in rows {
            let [Some(name), value, ..] = &row[..] else { continue };
            if let Some(name) = KEPT.into_iter().find(|kept| kept == name) {
                values.insert(name, value.clone().unwrap_or_default());
            }
        }
        let port = values.get("listen_port")?.parse().ok()?;
        values.contains_key("client_tls_sslmode").then_some(Self { version, values, port })
    }

    /// The value of a setting that is kept; empty if this version does not have it.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// The addresses that it listens on, in the form of PostgreSQL's `listen_addresses`, and the port.
    #[must_use]
    pub fn listens_on(&self) -> (&str, u16) {
        (self.value("listen_addr"), self.port)
    }

    /// The path of its ini, as given at its start: it may be relative.
    #[must_use]
    pub fn ini(&self) -> &Path {
        Path::new(self.value("conffile"))
    }

    /// Whether several processes may listen on the same port.
    #[must_use]
    pub fn shares_its_port(&self) -> bool {
        self.value("so_reuseport") == "1"
    }

    /// What it asks of its clients.
    #[must_use]
    pub fn client_tls(&self) -> ClientTls {
        match self.value("client_tls_sslmode") {
            "disable" => ClientTls::Off,
            "verify-ca" | "verify-full" => ClientTls::WithCertificate,
            _ => ClientTls::On,
        }
    }

    /// What it asks of its clients, in the form that the judgement of a handshake needs. PgBouncer may send no names of
    /// authorities: 1.18 never does.
    #[must_use]
    pub fn clients(known: Option<&Self>) -> ClientSettings {
        let asks = known.is_some_and(|known| known.client_tls() == ClientTls::WithCertificate);
        ClientSettings { asks, revocation: false, nameless: true }
    }

    /// For how long it admits nobody to a pool after it could not connect to PostgreSQL, for people.
    #[must_use]
    pub fn login_retry(&self) -> String {
        match self.value("server_login_retry") {
            "" => "15 s by default".to_owned(),
            "1" => "1 s".to_owned(),
            seconds => format!("{} s", pgsvid_base::text::shown(seconds)),
        }
    }

    /// Whether it shows a certificate to PostgreSQL.
    #[must_use]
    pub fn shows_a_certificate(&self) -> bool {
        self.value("server_tls_sslmode") != "disable"
            && !self.value("server_tls_cert_file").is_empty()
    }
}

/// A file that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    /// The setting.
    pub setting: &'static str,
    /// The path, as PgBouncer has it; empty if it is not set.
    pub named: String,
    /// The published path that it should be, for PgBouncer.
    pub wanted: String,
    /// Where the path leads.
    pub lead: Lead,
}

/// The files towards clients and towards PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate, key and CA towards clients.
    pub client: [TlsFile; 3],
    /// Certificate, key and CA towards PostgreSQL.
    pub server: [TlsFile; 3],
}

impl TlsFiles {
    /// Whether PgBouncer's paths towards PostgreSQL are the same in each set, so that a reload shows it no change.
    #[must_use]
    pub fn keep_paths_towards_postgresql(&self) -> bool {
        self.server.iter().any(|file| file.lead == Lead::Published)
    }
}

/// Looks at the files that the settings name.
#[must_use]
pub fn tls_files(
    settings: &Settings,
    published: &PublishedPaths,
    viewpoint: &Viewpoint,
) -> TlsFiles {
    let look = |setting: &'static str, published: &Path| {
        let named = settings.value(setting).to_owned();
        let lead = lead(&named, published, viewpoint);
        TlsFile { setting, named, wanted: published.display().to_string(), lead }
    };
    let PublishedPaths { certificate, private_key, bundle } = published;
    TlsFiles {
        client: [
            look("client_tls_cert_file", certificate),
            look("client_tls_key_file", private_key),
            look("client_tls_ca_file", bundle),
        ],
        server: [
            look("server_tls_cert_file", certificate),
            look("server_tls_key_file", private_key),
            look("server_tls_ca_file", bundle),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pairs: &[(&str, &str)]) -> Vec<Vec<Option<String>>> {
        let text = |text: &str| Some(text.to_owned());
        pairs.iter().map(|(name, value)| vec![text(name), text(value), None, text("yes")]).collect()
    }

    #[test]
    fn settings_of_another_program_are_none_of_pgbouncers() {
        let parse = |pairs: &[(&str, &str)]| Settings::parse("1.18.0".to_owned(), &rows(pairs));
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[("listen_port", "6432")]), None);
        assert_eq!(parse(&[("listen_port", "x"), ("client_tls_sslmode", "require")]), None);
        let found = parse(&[("listen_port", "6432"), ("client_tls_sslmode", "require")]).unwrap();
        assert_eq!(found.listens_on(), ("", 6432));
        assert_eq!(found.client_tls(), ClientTls::On);
        assert!(!found.shares_its_port() && !found.shows_a_certificate());
    }

    #[test]
    fn the_modes_say_whether_a_client_must_show_a_certificate() {
        for (mode, wanted) in [
            ("disable", ClientTls::Off),
            ("allow", ClientTls::On),
            ("prefer", ClientTls::On),
            ("require", ClientTls::On),
            ("verify-ca", ClientTls::WithCertificate),
            ("verify-full", ClientTls::WithCertificate),
        ] {
            let pairs = rows(&[("listen_port", "6432"), ("client_tls_sslmode", mode)]);
            let settings = Settings::parse(String::new(), &pairs).unwrap();
            assert_eq!(settings.client_tls(), wanted, "{mode}");
        }
    }
}
