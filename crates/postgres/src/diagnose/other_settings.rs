//! The settings of TLS beside the three files: with a wrong value PostgreSQL refuses each reload and each start, however right the
//! files are (PostgreSQL: `be-secure-openssl.c`, `be_tls_init`).

use super::failure;
use super::files::{readable, refused_files};
use super::openssl::{self, Taken};
use crate::sql::{self, Setting, statements};
use crate::survey::{Content, FileFacts, Files, Present, State};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;

/// From here on `ssl_ecdh_curve` is a list of groups.
const HAS_GROUPS: u32 = 180_000;
/// The setting without whose file PostgreSQL reloads, and does not start.
pub const AT_A_START: &str = "ssl_dh_params_file";
/// From the oldest to the newest.
const PROTOCOLS: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// Why PostgreSQL refuses them, as far as that can be seen: in the files, in other settings of TLS, or at least which of these are
/// not at their defaults. Empty if all looks right from here.
#[must_use]
pub fn refused(files: &Files) -> Vec<Finding> {
    let mut findings = refused_files(files);
    findings.extend(refused_settings(files));
    if findings.is_empty() {
        findings.extend(suspects(files));
    }
    findings
}

/// The settings by which PostgreSQL certainly refuses a reload or a start.
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
                "OpenSSL has no curve of that name"
            }
            (_, Taken::No) => "OpenSSL has no group of such a name",
        };
        let text = format!(
            "{name} is '{}', and {why}: PostgreSQL refuses each reload and each start",
            shown(value)
        );
        findings.push(finding(files, name, setting, text).about(object(name, setting)));
    }
    findings.extend(protocols(files));
    findings.extend(lists(files));
    findings.extend(parameters(files));
    findings
}

/// Whether OpenSSL takes the value, for the settings of which that is known.
fn taken(name: &str, value: &str, version: u32) -> Taken {
    match name {
        "ssl_ciphers" => openssl::ciphers(value),
        "ssl_tls13_ciphers" => openssl::suites(value),
        "ssl_ecdh_curve" if version < HAS_GROUPS => openssl::curve(value),
        "ssl_ecdh_curve" | "ssl_groups" => openssl::groups(value),
        _ => Taken::Perhaps,
    }
}

/// The settings that are not at their defaults, and of which it is not certain that PostgreSQL takes them.
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

/// What may be wrong where nothing else is, of a server that refuses the files: what is not at its default.
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
                "the three files look right from here, and these other settings of TLS are not at their defaults: {named}; PostgreSQL \
                 may refuse one of them"
            ),
            "see the line above \"SSL configuration was not reloaded\" in the server log, which names the reason; correct that \
             setting, then reload"
                .to_owned(),
        )
        .about(named),
    )
}

fn object(name: &str, setting: &Setting) -> String {
    format!("{name} = '{}'", shown(&setting.value))
}

/// The finding, with what sets the setting back to its default.
fn finding(files: &Files, name: &str, setting: &Setting, text: String) -> Finding {
    let found = Finding::failure(Code::SslSettingRefused, text);
    match setting.overridden_by() {
        Some(sql::Override::CommandLine) => {
            found.fix(format!("start PostgreSQL without -c {name}"))
        }
        Some(sql::Override::AlterSystem) => {
            let command = files.psql.execute(&statements::alter_system_reset(name));
            found
                .fix(format!("ALTER SYSTEM has set it (postgresql.auto.conf); set it back: {command}, then reload"))
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
            format!("{object}: the least version is higher than the highest, and PostgreSQL refuses each reload and each start");
        finding(files, "ssl_max_protocol_version", high, text).about(object)
    })
}

/// `ssl_crl_file`, without which no reload succeeds where it is set.
fn lists(files: &Files) -> Option<Finding> {
    let why = unreadable(&files.revocation_lists, files).or_else(|| {
        match &files.revocation_lists.state {
            State::Present(Present {
                content: Content::Empty | Content::NoPem | Content::Parameters,
                ..
            }) => Some("holds no revocation list (X509 CRL)".to_owned()),
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

/// `ssl_dh_params_file`: a reload goes on without it, and a start does not (`load_dh_file`).
fn parameters(files: &Files) -> Option<Finding> {
    let why = unreadable(&files.parameters, files).or_else(|| match &files.parameters.state {
        State::Present(Present { content, .. }) => {
            let may_hold_them =
                matches!(content, Content::Parameters | Content::Unreadable | Content::Withheld);
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

/// Why the server cannot read a file, as far as that can be seen.
fn unreadable(facts: &FileFacts, files: &Files) -> Option<String> {
    match &facts.state {
        State::Missing => Some("does not exist, or leads to nothing".to_owned()),
        State::NotRegular => Some("is not a regular file".to_owned()),
        State::Present(present) if !readable(present, files.server_uid) => Some(format!(
            "has mode {:04o} and belongs to uid {}: PostgreSQL cannot read it",
            present.mode, present.uid
        )),
        _ => None,
    }
}
