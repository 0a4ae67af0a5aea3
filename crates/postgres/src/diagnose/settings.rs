//! Whether PostgreSQL's settings lead to the published files at all.

use std::path::Path;

use crate::sql::{self, Override, Setting, TlsSettings, statements};
use crate::survey::{FileFacts, Files, PublishedPaths};
use pgsvid_base::finding::{Code, Finding, Severity};
use pgsvid_base::text::argument;

/// The setting whose file is needed for client certificates alone.
const AUTHORITIES: &str = "ssl_ca_file";

/// What in the settings will keep the published files from being served. `socket` is where psql reaches the server.
#[must_use]
pub fn concerns(
    settings: &TlsSettings,
    files: &Files,
    paths: &PublishedPaths,
    socket: &sql::Settings,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.ssl.value != "on" {
        let by = settings.ssl.overridden_by();
        let found =
            Finding::failure(Code::SslOff, format!("ssl is {}{}", settings.ssl.value, set_by(by)))
                .about(format!("ssl = {}{}", settings.ssl.value, set_by(by)));
        findings.push(with_remedy(found, "ssl", "on", by, socket));
    }
    for (name, setting, facts, path) in [
        ("ssl_cert_file", &settings.certificate, &files.certificate, &paths.certificate),
        ("ssl_key_file", &settings.private_key, &files.private_key, &paths.private_key),
        (AUTHORITIES, &settings.authorities, &files.authorities, &paths.bundle),
    ] {
        findings.extend(concern(name, setting, facts, path, socket));
    }
    findings
}

fn concern(
    name: &str,
    setting: &Setting,
    facts: &FileFacts,
    path: &Path,
    socket: &sql::Settings,
) -> Option<Finding> {
    // Another path may lead to the same file.
    if Path::new(&setting.value) == path || facts.published {
        return None;
    }
    let by = setting.overridden_by();
    let wanted = path.display().to_string();
    let (code, text) = if setting.value.is_empty() {
        let text = format!(
            "{name} is empty{}: the published bundle is unused, and no client certificate is asked for",
            set_by(by)
        );
        (Code::SslSettingEmpty, text)
    } else {
        let text = format!("{name} is {}{}, not {wanted}", setting.value, set_by(by));
        (Code::SslSettingElsewhere, text)
    };
    let object = format!("{name} = {}{}", setting.value, set_by(by));
    let found = Finding::failure(code, text).about(object);
    let mut found = with_remedy(found, name, &wanted, by, socket);
    // TLS works without: only clients cannot be asked for certificates.
    if name == AUTHORITIES && setting.value.is_empty() {
        found.severity = Severity::Warning;
    }
    Some(found)
}

fn set_by(by: Option<Override>) -> String {
    match by {
        Some(Override::CommandLine) => ", set by the postmaster's command line (-c)".to_owned(),
        Some(Override::AlterSystem) => ", set by ALTER SYSTEM (postgresql.auto.conf)".to_owned(),
        None => String::new(),
    }
}

fn with_remedy(
    found: Finding,
    name: &str,
    value: &str,
    overridden_by: Option<Override>,
    socket: &sql::Settings,
) -> Finding {
    let quote = |quoted: fn(&str) -> String| {
        if value == "on" { value.to_owned() } else { quoted(value) }
    };
    match overridden_by {
        Some(Override::CommandLine) => {
            let option = format!("{name}={}", quote(|value| argument(value)));
            found.fix(format!("start PostgreSQL with -c {option}, or without -c {name}"))
        }
        Some(Override::AlterSystem) => {
            let statement = format!("ALTER SYSTEM SET {name} = {}", quote(statements::literal));
            let command = socket.psql(&statement);
            found.fix(format!("{command}, then reload")).command(command)
        }
        None => {
            let value = quote(statements::configuration_value);
            found.fix(format!("put {name} = {value} into postgresql.conf, then reload"))
        }
    }
}
