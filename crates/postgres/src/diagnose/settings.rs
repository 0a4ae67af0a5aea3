//! Whether PostgreSQL's settings name the published files.

use std::path::Path;

use crate::sql::{self, Override, Setting, TlsSettings, statements};
use crate::survey::{FileFacts, Files, PublishedPaths};
use pgsvid_base::finding::{Code, Finding, Severity};
use pgsvid_base::text::{argument, shown};

/// The setting whose file is needed only for client certificates.
const AUTHORITIES: &str = "ssl_ca_file";

/// The settings that keep PostgreSQL from serving the published files. `socket` is where psql reaches the server.
#[must_use]
pub fn concerns(
    settings: &TlsSettings,
    files: &Files,
    paths: &PublishedPaths,
    socket: &sql::Settings,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, setting, facts, path) in [
        ("ssl_cert_file", &settings.certificate, &files.certificate, &paths.certificate),
        ("ssl_key_file", &settings.private_key, &files.private_key, &paths.private_key),
        (AUTHORITIES, &settings.authorities, &files.authorities, &paths.bundle),
    ] {
        findings.extend(concern(name, setting, facts, path, socket));
    }
    // Last: with TLS on, and files that do not exist or do not fit together, PostgreSQL does not start.
    if settings.ssl.value != "on" {
        let by = settings.ssl.overridden_by();
        let found =
            Finding::failure(Code::SslOff, format!("ssl is {}{}", settings.ssl.value, set_by(by)))
                .about(format!("ssl = {}{}", settings.ssl.value, set_by(by)));
        let found = with_remedy(found, "ssl", "on", &settings.ssl, socket);
        findings.push(if findings.is_empty() {
            found
        } else {
            found.cause("follow the remedies about the files first: with ssl on and files that do not fit PostgreSQL does not start")
        });
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
            "{name} is empty{}: the published bundle is unused, and PostgreSQL asks for no client certificate",
            set_by(by)
        );
        (Code::SslSettingEmpty, text)
    } else {
        let text = format!("{name} is {}{}, not {wanted}", setting.value, set_by(by));
        (Code::SslSettingElsewhere, text)
    };
    let object = format!("{name} = {}{}", setting.value, set_by(by));
    let found = Finding::failure(code, text).about(object);
    let mut found = with_remedy(found, name, &wanted, setting, socket);
    // TLS works without it; only client certificates do not.
    if name == AUTHORITIES && setting.value.is_empty() {
        found.severity = Severity::Warning;
    }
    Some(found)
}

/// The finding about an empty `ssl_ca_file` if a line of `pg_hba.conf` lets nobody in without a certificate.
#[must_use]
pub fn unasked(empty: &Finding, line: u32) -> Finding {
    let text = format!(
        "PostgreSQL asks clients for no certificate, because {AUTHORITIES} is empty, and line {line} of pg_hba.conf lets nobody in \
         without one"
    );
    let empty = empty.clone();
    Finding { code: Code::ClientCertificatesUnasked, severity: Severity::Failure, text, ..empty }
}

fn set_by(by: Option<Override>) -> String {
    match by {
        Some(Override::CommandLine) => ", set by the postmaster's command line (-c)".to_owned(),
        Some(Override::AlterSystem) => ", set by ALTER SYSTEM (postgresql.auto.conf)".to_owned(),
        None => String::new(),
    }
}

/// The finding, with a remedy that sets the setting to this value.
pub(super) fn with_remedy(
    found: Finding,
    name: &str,
    value: &str,
    setting: &Setting,
    socket: &sql::Settings,
) -> Finding {
    let quote = |quoted: fn(&str) -> String| {
        if value == "on" { value.to_owned() } else { quoted(value) }
    };
    match setting.overridden_by() {
        Some(Override::CommandLine) => {
            let option = format!("{name}={}", quote(|value| argument(value)));
            found.fix(format!("start PostgreSQL with -c {option}, or without -c {name}"))
        }
        Some(Override::AlterSystem) => {
            found.command(alter_system(socket, name, &quote(statements::literal)))
        }
        None => {
            let command = alter_system(socket, name, &quote(statements::literal));
            let value = quote(statements::configuration_value);
            let file = setting.other_file().map(shown);
            let file = file.as_deref().unwrap_or("postgresql.conf");
            let otherwise = if setting.may_be_overridden() {
                "if it is there already, ALTER SYSTEM overrides it"
            } else {
                "or run a command, which overrides the files"
            };
            let fix = format!("put {name} = {value} into {file}, then reload; {otherwise}");
            found.fix(fix).command(command)
        }
    }
}

/// The command that sets a setting by ALTER SYSTEM, which overrides postgresql.conf, and that reloads.
fn alter_system(socket: &sql::Settings, name: &str, value: &str) -> String {
    socket.psql_with_reload(&format!("ALTER SYSTEM SET {name} = {value}"))
}
