//! The settings that concern TLS, and where their values come from.

use std::collections::BTreeMap;

use super::error::Error;

/// One row each: name, value, source, file. A plain role sees no file. A row whose name begins with `other ` is a setting
/// that the role can see, and that is not at its default.
pub(super) const QUERY: &str = "\
    SELECT n, pg_catalog.current_setting(n), s.source, s.sourcefile \
    FROM (VALUES ('ssl'), ('ssl_cert_file'), ('ssl_key_file'), ('ssl_ca_file'), ('listen_addresses'), \
                 ('port'), ('server_version'), ('server_version_num'), ('ssl_crl_file'), ('ssl_crl_dir')) AS v (n) \
    LEFT JOIN pg_catalog.pg_settings s ON s.name = n \
    UNION ALL SELECT 'may_read_errors', ( \
        pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT') \
        AND pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE') \
        AND pg_catalog.has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT') \
        AND pg_catalog.has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE') \
    )::pg_catalog.text, NULL, NULL \
    UNION ALL SELECT 'may_read_stats', \
        pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')::pg_catalog.text, NULL, NULL \
    UNION ALL SELECT 'may_end_sessions', \
        pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')::pg_catalog.text, NULL, NULL \
    UNION ALL SELECT 'sees_others', \
        pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')::pg_catalog.text, NULL, NULL \
    UNION ALL SELECT 'other ' || name, pg_catalog.left(setting, 2000), source, sourcefile FROM pg_catalog.pg_settings \
     WHERE name IN ('ssl_ciphers', 'ssl_tls13_ciphers', 'ssl_ecdh_curve', 'ssl_groups', 'ssl_dh_params_file', \
                    'ssl_min_protocol_version', 'ssl_max_protocol_version', 'ssl_crl_file', 'ssl_crl_dir') \
       AND setting IS DISTINCT FROM boot_val";

/// The settings, other than the three files, for which PostgreSQL may refuse to load the files, with their defaults.
pub const OTHER_SETTINGS: [(&str, &str); 9] = [
    ("ssl_ciphers", "HIGH:MEDIUM:+3DES:!aNULL"),
    ("ssl_tls13_ciphers", ""),
    ("ssl_ecdh_curve", "prime256v1"),
    ("ssl_groups", "X25519:prime256v1"),
    ("ssl_dh_params_file", ""),
    ("ssl_min_protocol_version", "TLSv1.2"),
    ("ssl_max_protocol_version", ""),
    ("ssl_crl_file", ""),
    ("ssl_crl_dir", ""),
];

/// The values of the settings of protocol versions, as `SHOW` prints them.
const PROTOCOLS: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// The errors in the files that a reload reads, for roles that may see them: by default only superusers. A file may have as
/// many errors as lines, each as long as its line.
pub(super) const ERRORS: &str = "\
    SELECT pg_catalog.concat(pg_catalog.left(sourcefile, 300), ':', sourceline, ': ', pg_catalog.left(name, 100), ': ', \
                             pg_catalog.left(error, 200)) \
    FROM pg_catalog.pg_file_settings WHERE error IS NOT NULL \
    UNION ALL \
    SELECT pg_catalog.concat(pg_catalog.current_setting('hba_file'), ':', line_number, ': ', pg_catalog.left(error, 200)) \
    FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL \
    LIMIT 50";

/// The errors that keep configuration files from being loaded. A setting that waits for a restart also has an error, which is
/// harmless. Settings that concern TLS never wait for one, so their errors count.
pub(super) const CONFIGURATION_ERRORS: &str = "\
    SELECT pg_catalog.concat(pg_catalog.left(sourcefile, 300), ':', sourceline, ': ', pg_catalog.left(name, 100), ': ', \
                             pg_catalog.left(error, 200)) \
    FROM pg_catalog.pg_file_settings WHERE error IS NOT NULL \
     AND (error <> 'setting could not be applied' OR pg_catalog.lower(name) LIKE 'ssl%') LIMIT 20";

/// The values of TLS settings in the files that the next reload reads, the last one of each name; for a role that may see them.
pub(super) const IN_FILES: &str = "\
    SELECT DISTINCT ON (pg_catalog.lower(name)) pg_catalog.lower(name), pg_catalog.left(setting, 2000), 'configuration file', sourcefile \
      FROM pg_catalog.pg_file_settings \
     WHERE pg_catalog.lower(name) LIKE 'ssl%' AND setting IS NOT NULL ORDER BY pg_catalog.lower(name), seqno DESC";

/// A setting's value, and what set it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setting {
    /// The value, as `SHOW` prints it.
    pub value: String,
    /// `configuration file`, `command line`, `default` … if the role may see it.
    pub source: Option<String>,
    /// The file, if the role may see it: ALTER SYSTEM writes `postgresql.auto.conf`.
    pub file: Option<String>,
}

impl Setting {
    /// What overrides postgresql.conf for this setting, as far as the role may see.
    #[must_use]
    pub fn overridden_by(&self) -> Option<Override> {
        if self.source.as_deref() == Some("command line") {
            return Some(Override::CommandLine);
        }
        let file = self.file.as_deref()?;
        file.ends_with("postgresql.auto.conf").then_some(Override::AlterSystem)
    }

    /// The file that sets it, if it is not postgresql.conf itself.
    #[must_use]
    pub fn other_file(&self) -> Option<&str> {
        let file = self.file.as_deref()?;
        (self.is_set_in_a_file() && !file.ends_with("/postgresql.conf")).then_some(file)
    }

    fn is_set_in_a_file(&self) -> bool {
        self.source.as_deref() == Some("configuration file")
    }

    /// Whether it comes from a file that the role may not see, which may be ALTER SYSTEM's.
    #[must_use]
    pub fn may_be_overridden(&self) -> bool {
        self.is_set_in_a_file() && self.file.is_none()
    }
}

/// What overrides postgresql.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    /// `-c` on the postmaster's command line.
    CommandLine,
    /// ALTER SYSTEM, which writes `postgresql.auto.conf`.
    AlterSystem,
}

/// Those of [`OTHER_SETTINGS`] that are not at their defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherSettings {
    /// Name and setting, if the role may see them.
    pub values: Vec<(String, Setting)>,
    /// Whether these are all.
    pub complete: bool,
}

/// The settings that the postmaster has read. Only a handshake shows what it has *loaded*.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each right of the role is one of its own")]
pub struct TlsSettings {
    /// `ssl`
    pub ssl: Setting,
    /// `ssl_cert_file`
    pub certificate: Setting,
    /// `ssl_key_file`
    pub private_key: Setting,
    /// `ssl_ca_file`; empty if the server asks for no client certificates.
    pub authorities: Setting,
    /// `listen_addresses`
    pub listen_addresses: String,
    /// `port`
    pub port: u16,
    /// `server_version`, for people.
    pub version: String,
    /// `server_version_num`: 150018 is 15.18.
    pub version_number: u32,
    /// Whether there are revocation lists: `ssl_crl_file` or `ssl_crl_dir` is set.
    pub revocation: bool,
    /// `ssl_crl_file`
    pub revocation_file: String,
    /// `ssl_crl_dir`
    pub revocation_directory: String,
    /// The other settings of TLS.
    pub others: OtherSettings,
    /// Whether the role may see the errors in the server's files.
    pub may_read_errors: bool,
    /// Whether the role sees the sessions of others (`pg_read_all_stats`).
    pub may_read_stats: bool,
    /// Whether the role may end the sessions of others, except superusers' (`pg_signal_backend`).
    pub may_end_sessions: bool,
}

impl TlsSettings {
    /// The value of one of [`OTHER_SETTINGS`]; empty if it is at its default, or unknown.
    #[must_use]
    pub fn other(&self, name: &str) -> &str {
        self.others
            .values
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, setting)| &setting.value)
    }
}

impl TlsSettings {
    /// These settings with the values that files have, by name; a setting that they do not have gets its default. What the command
    /// line sets stays.
    #[must_use]
    pub fn with(&self, mut found: BTreeMap<String, Setting>) -> Self {
        let mut next = self.clone();
        let mut take = |name: &str, default: &str, now: &Setting| {
            if now.overridden_by() == Some(Override::CommandLine) {
                return now.clone();
            }
            let unset = || Setting { value: default.to_owned(), ..Setting::default() };
            found.remove(name).unwrap_or_else(unset)
        };
        next.ssl = take("ssl", "off", &self.ssl);
        let on = is_true(&next.ssl.value);
        next.ssl.value = String::from(if on { "on" } else { "off" });
        next.certificate = take("ssl_cert_file", "server.crt", &self.certificate);
        next.private_key = take("ssl_key_file", "server.key", &self.private_key);
        next.authorities = take("ssl_ca_file", "", &self.authorities);
        next.others = OtherSettings { values: Vec::new(), complete: true };
        for (name, default) in OTHER_SETTINGS {
            let now = self.others.values.iter().find(|(known, _)| known == name);
            let now = now.map(|(_, setting)| setting.clone()).unwrap_or_default();
            let mut then = take(name, default, &now);
            if name.ends_with("_protocol_version") {
                let known = PROTOCOLS.iter().find(|known| known.eq_ignore_ascii_case(&then.value));
                if let Some(known) = known {
                    then.value = String::from(*known);
                }
            }
            match name {
                "ssl_crl_file" => next.revocation_file.clone_from(&then.value),
                "ssl_crl_dir" => next.revocation_directory.clone_from(&then.value),
                _ => {}
            }
            if then.value != default {
                next.others.values.push((name.to_owned(), then));
            }
        }
        next.revocation = !next.revocation_file.is_empty() || !next.revocation_directory.is_empty();
        next
    }
}

/// Whether a file's text means yes (PostgreSQL: `bool.c`, `parse_bool_with_len`).
fn is_true(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    let begins = |whole: &str, least: usize| text.len() >= least && whole.starts_with(&text);
    begins("true", 1) || begins("yes", 1) || text == "on" || text == "1"
}

/// The rows of [`IN_FILES`].
pub(super) fn in_files(rows: &[Vec<Option<String>>]) -> BTreeMap<String, Setting> {
    let setting = |row: &Vec<Option<String>>| match row.as_slice() {
        [Some(name), Some(value), source, file] => Some((
            name.clone(),
            Setting { value: value.clone(), source: source.clone(), file: file.clone() },
        )),
        _ => None,
    };
    rows.iter().filter_map(setting).collect()
}

pub(super) fn parse(rows: &[Vec<Option<String>>]) -> Result<TlsSettings, Error> {
    let mut settings = TlsSettings::default();
    for row in rows {
        let [Some(name), Some(value), source, file] = row.as_slice() else {
            return Err(Error::Unexpected);
        };
        let setting =
            || Setting { value: value.clone(), source: source.clone(), file: file.clone() };
        match name.as_str() {
            "ssl" => settings.ssl = setting(),
            "ssl_cert_file" => settings.certificate = setting(),
            "ssl_key_file" => settings.private_key = setting(),
            "ssl_ca_file" => settings.authorities = setting(),
            "listen_addresses" => settings.listen_addresses.clone_from(value),
            "port" => settings.port = value.parse().map_err(|_| Error::Unexpected)?,
            "server_version" => settings.version.clone_from(value),
            "ssl_crl_file" => settings.revocation_file.clone_from(value),
            "ssl_crl_dir" => settings.revocation_directory.clone_from(value),
            "may_read_errors" => settings.may_read_errors = value == "true",
            "may_read_stats" => settings.may_read_stats = value == "true",
            "may_end_sessions" => settings.may_end_sessions = value == "true",
            "server_version_num" => {
                settings.version_number = value.parse().map_err(|_| Error::Unexpected)?;
            }
            "sees_others" => settings.others.complete = value == "true",
            name => {
                let other = name.strip_prefix("other ").map(str::to_owned);
                settings.others.values.extend(other.map(|name| (name, setting())));
            }
        }
    }
    settings.revocation =
        !settings.revocation_file.is_empty() || !settings.revocation_directory.is_empty();
    if settings.port == 0 {
        return Err(Error::Unexpected);
    }
    Ok(settings)
}
