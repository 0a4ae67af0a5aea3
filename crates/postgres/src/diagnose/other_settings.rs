//! The settings of TLS other than the three files. With a wrong value PostgreSQL refuses each reload and each start, even if
//! the files are right (PostgreSQL: `be-secure-openssl.c`, `be_tls_init`).

use super::files::{readable, refused_files};
use super::openssl::{self, Taken};
use super::{curves, failure};
use crate::sql::{self, Setting, statements};
use crate::survey::{Content, FileFacts, Files, Present, State};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;

/// From this version on `ssl_ecdh_curve` is a list of groups.
const HAS_GROUPS: u32 = 180_000;
/// PostgreSQL reloads without the file of this setting, but does not start without it.
pub const AT_A_START: &str = "ssl_dh_params_file";
/// The protocol versions, from the oldest to the newest.
const PROTOCOLS: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// Why PostgreSQL refuses the files, as far as pgsvid can see: a fault of the files, of other settings of TLS, or at least
/// which of these settings are not at their defaults. Empty if all looks right from here.
#[must_use]
pub fn refused(files: &Files) -> Vec<Finding> {
    let mut findings = refused_files(files);
    findings.extend(refused_settings(files));
    if findings.is_empty() {
        findings.extend(suspects(files));
    }
    findings
}

/// The settings that certainly make PostgreSQL refuse a reload or a start.
#[must_use]
pub fn refused_settings(files: &Files) -> Vec<Finding> {
    let version = files.version;
    let mut findings = Vec::new();
    for (name, setting) in &files.others {
        let value = setting.value.as_str();
        let why = match (name.as_str(), taken(name, value, version)) {
            (_, Taken::Yes | Taken::Perhaps) => continue,
            ("ssl_ciphers", Taken::No) => "OpenSSL finds no cipher in it",
            ("ssl_tls13_ciphers", Taken::No) => "OpenSSL knows none of these cipher suites",
            ("ssl_ecdh_curve", Taken::No) if version < HAS_GROUPS => {
                "OpenSSL has no curve of this name"
            }
            (_, Taken::No) => "OpenSSL has no group of this name",
        };
        let text = format!(
            "{name} is '{}', but {why}: PostgreSQL refuses each reload and each start",
            shown(value)
        );
        findings.push(finding(files, name, setting, text).about(object(name, setting)));
    }
    findings.extend(protocols(files));
    findings.extend(lists(files));
    findings.extend(parameters(files));
    findings
}

/// Whether OpenSSL accepts the value, for settings where pgsvid knows.
fn taken(name: &str, value: &str, version: u32) -> Taken {
    match name {
        "ssl_ciphers" => openssl::ciphers(value),
        "ssl_tls13_ciphers" => openssl::suites(value),
        "ssl_ecdh_curve" if version < HAS_GROUPS => curves::curve(value),
        "ssl_ecdh_curve" | "ssl_groups" => curves::groups(value),
        _ => Taken::Perhaps,
    }
}

/// The settings, each as `name = 'value'`, for which pgsvid cannot tell whether PostgreSQL accepts the value. Protocol
/// versions and revocation lists are left out.
#[must_use]
pub fn doubtful(files: &Files) -> Vec<String> {
    let is_doubtful = |(name, setting): &&(String, Setting)| {
        let by_word = taken(name, &setting.value, files.version) == Taken::Perhaps;
        by_word
            && !matches!(
                name.as_str(),
                "ssl_min_protocol_version"
                    | "ssl_max_protocol_version"
                    | "ssl_crl_dir"
                    | "ssl_crl_file"
            )
    };
    files.others.iter().filter(is_doubtful).map(|(name, setting)| object(name, setting)).collect()
}

/// The finding about the settings that are not at their defaults, for a server that refuses files without a visible fault.
fn suspects(files: &Files) -> Option<Finding> {
    let named: Vec<String> =
        files.others.iter().map(|(name, setting)| object(name, setting)).collect();
    if named.is_empty() {
        return None;
    }
    let named = named.join(", ");
    Some(
        failure(
            Code::SslSettingSuspect,
            format!(
                "the three files look right from here, but these other settings of TLS are not at their defaults: {named}; PostgreSQL \
                 may refuse one of them"
            ),
            "run pgsvid check as PostgreSQL's user, which sees more than the daemon does; or see the line above \"SSL configuration was \
             not reloaded\" in the server log, which names the reason; correct that setting, then reload"
                .to_owned(),
        )
        .about(named),
    )
}

fn object(name: &str, setting: &Setting) -> String {
    format!("{name} = '{}'", shown(&setting.value))
}

/// The finding, with a remedy that sets the setting back to its default.
fn finding(files: &Files, name: &str, setting: &Setting, text: String) -> Finding {
    let found = Finding::failure(Code::SslSettingRefused, text);
    let back = || files.psql.execute_and_reload(&statements::alter_system_reset(name));
    match setting.overridden_by() {
        Some(sql::Override::CommandLine) => {
            found.fix(format!("start PostgreSQL without -c {name}"))
        }
        Some(sql::Override::AlterSystem) => {
            let command = back();
            let or = if name.starts_with("ssl_crl") {
                "correct the list, or, if revoked certificates may be accepted, set it back"
            } else {
                "set it back"
            };
            found
                .fix(format!("ALTER SYSTEM has set it (postgresql.auto.conf); {or}: {command}"))
                .command(command)
        }
        // The role sees that a file sets it, but not which file.
        None if setting.may_be_overridden() => {
            let command = back();
            found
                .fix(format!(
                    "if postgresql.conf has {name}, correct it there, or remove it, then reload; if it does not, ALTER SYSTEM has set it: {command}"
                ))
                .command(command)
        }
        None => {
            found.fix(format!("correct {name} in postgresql.conf, or remove it there, then reload"))
        }
    }
}

fn other<'a>(files: &'a Files, wanted: &str) -> Option<&'a Setting> {
    files.others.iter().find(|(name, _)| name == wanted).map(|(_, setting)| setting)
}

fn protocols(files: &Files) -> Option<Finding> {
    let rank = |value: &str| PROTOCOLS.iter().position(|protocol| *protocol == value);
    let (low, high) =
        (other(files, "ssl_min_protocol_version"), other(files, "ssl_max_protocol_version")?);
    let least = low.map_or("TLSv1.2", |low| low.value.as_str());
    (rank(least)? > rank(&high.value)?).then(|| {
        let object = format!("ssl_min_protocol_version = '{least}', ssl_max_protocol_version = '{}'", high.value);
        let text =
            format!("{object}: the minimum version is higher than the maximum, so PostgreSQL refuses each reload and each start");
        finding(files, "ssl_max_protocol_version", high, text).about(object)
    })
}

/// `ssl_crl_file`: if it is set, every reload needs its file.
fn lists(files: &Files) -> Option<Finding> {
    let why = unreadable(&files.revocation_lists, files).or_else(|| {
        match &files.revocation_lists.state {
            State::Present(Present {
                content: Content::Empty | Content::NoPem | Content::Parameters,
                ..
            }) => Some("holds no revocation list (X509 CRL)".to_owned()),
            State::Present(Present { content: Content::Broken, .. }) => {
                Some("is cut short or damaged".to_owned())
            }
            _ => None,
        }
    })?;
    Some(of_file(
        files,
        "ssl_crl_file",
        &files.revocation_lists,
        &why,
        "refuses each reload and each start",
    ))
}

/// `ssl_dh_params_file`: a reload succeeds without its file, but a start does not (`load_dh_file`).
fn parameters(files: &Files) -> Option<Finding> {
    let why = unreadable(&files.parameters, files).or_else(|| match &files.parameters.state {
        State::Present(Present { content, .. }) => {
            let may_hold_them = matches!(
                content,
                Content::Parameters | Content::Unreadable | Content::OutsideSandbox
            );
            (!may_hold_them).then(|| "holds no DH parameters".to_owned())
        }
        _ => None,
    })?;
    let what = "does not start again with it";
    Some(of_file(files, AT_A_START, &files.parameters, &why, what))
}

fn of_file(files: &Files, name: &str, facts: &FileFacts, why: &str, what: &str) -> Finding {
    let setting = other(files, name).cloned().unwrap_or_default();
    let path =
        facts.path.as_ref().map_or_else(|| facts.named.clone(), |path| path.display().to_string());
    let text = format!("{path} ({name}) {why}: PostgreSQL {what}");
    finding(files, name, &setting, text).about(format!("{name} = '{}'", shown(&facts.named)))
}

/// Why the server cannot read a file, as far as pgsvid can see.
fn unreadable(facts: &FileFacts, files: &Files) -> Option<String> {
    match &facts.state {
        State::Missing => Some("does not exist, or is a link to nothing".to_owned()),
        State::NotRegular => Some("is not a regular file".to_owned()),
        State::Present(present) if !readable(present, files.server_uid) => Some(format!(
            "has mode {:04o} and belongs to uid {}: PostgreSQL cannot read it",
            present.mode, present.uid
        )),
        _ => None,
    }
}
