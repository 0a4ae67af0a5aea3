//! Whether PostgreSQL's settings lead to the published files at all.

use std::path::Path;

use super::Finding;
use crate::sql::{self, Setting, TlsSettings, statements};
use crate::survey::{FileFacts, Files, PublishedPaths};
use pgsvid_base::text::argument;

/// What in the settings will keep the published files from being served. `socket` is where psql reaches the server.
#[must_use]
pub fn concerns(
    settings: &TlsSettings,
    files: &Files,
    paths: &PublishedPaths,
    socket: &sql::Settings,
) -> Vec<Finding> {
    let at = socket.psql_options();
    let mut findings = Vec::new();
    if settings.ssl.value != "on" {
        let by = settings.ssl.overridden_by();
        findings.push(Finding {
            cause: format!("ssl is {}{}", settings.ssl.value, set_by(by)),
            fix: mend("ssl", "on", by, &at),
        });
    }
    for (name, setting, facts, path) in [
        ("ssl_cert_file", &settings.certificate, &files.certificate, &paths.certificate),
        ("ssl_key_file", &settings.private_key, &files.private_key, &paths.private_key),
        ("ssl_ca_file", &settings.authorities, &files.authorities, &paths.bundle),
    ] {
        findings.extend(concern(name, setting, facts, path, &at));
    }
    findings
}

fn concern(
    name: &str,
    setting: &Setting,
    facts: &FileFacts,
    path: &Path,
    at: &str,
) -> Option<Finding> {
    // Another path may lead to the same file.
    if Path::new(&setting.value) == path || facts.published {
        return None;
    }
    let by = setting.overridden_by();
    let wanted = path.display().to_string();
    let cause = if setting.value.is_empty() {
        format!(
            "{name} is empty{}: the published bundle is unused, and no client certificate is asked for",
            set_by(by)
        )
    } else {
        format!("{name} is {}{}, not {wanted}", setting.value, set_by(by))
    };
    Some(Finding { cause, fix: mend(name, &wanted, by, at) })
}

fn set_by(by: Option<&str>) -> String {
    by.map(|by| format!(", set by {by}")).unwrap_or_default()
}

fn mend(name: &str, value: &str, overridden_by: Option<&str>, at: &str) -> String {
    let quote = |quoted: fn(&str) -> String| {
        if value == "on" { value.to_owned() } else { quoted(value) }
    };
    match overridden_by {
        Some(by) if by.contains("command line") => {
            let option = format!("{name}={}", quote(|value| argument(value)));
            format!("start PostgreSQL with -c {option}, or without -c {name}")
        }
        Some(_) => {
            let statement = format!("ALTER SYSTEM SET {name} = {}", quote(statements::literal));
            format!("psql -U postgres -c {}{at}, then reload", argument(statement))
        }
        None => {
            let value = quote(statements::configuration_value);
            format!("put {name} = {value} into postgresql.conf, then reload")
        }
    }
}
