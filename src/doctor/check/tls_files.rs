//! Whether PostgreSQL's TLS settings and files are in force: by its log, by the settings' values, and by the files' change times.

use std::path::PathBuf;

use crate::consumers::Server;
use crate::diagnose;
use crate::doctor::finding::{Code, Finding, Severity};
use crate::sql::{RoleRights, TlsSettings};
use crate::survey::{self, Loading, Reloaded, State};

/// How many files are named in a finding.
const MOST_FILES: usize = 3;

/// What is known about PostgreSQL's last load of its configuration: at its start, or at a reload.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) settings: &'a TlsSettings,
    pub(super) standing: &'a RoleRights,
    pub(super) loading: &'a Loading,
    pub(super) reloaded: Option<&'a Reloaded>,
}

/// Findings about files whose loaded content no handshake shows: `ssl_crl_file`, and `ssl_ca_file` if it is not the published one.
/// `ssl_crl_dir` is left out: each new connection reads it.
pub(super) fn loaded(server: &Server, load: Load<'_>, files: &survey::Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (lists, authorities) = (&files.revocation_lists, &files.authorities);
    for (setting, facts, harm) in [
        (
            "ssl_crl_file",
            lists,
            "a client whose certificate was revoked after that may still log in",
        ),
        (
            "ssl_ca_file",
            authorities,
            "clients of an authority that was removed after that may still log in",
        ),
    ] {
        let is_ours = setting == "ssl_ca_file" && facts.published;
        let Some(path) = facts.path.clone().filter(|_| !is_ours) else { continue };
        if !matches!(facts.state, State::Present(_)) {
            continue;
        }
        let place = format!("{} ({setting})", path.display());
        let changes = survey::changes(&[path], load.standing.loaded);
        let unknown = |why: String| {
            Finding::skipped(
                Code::TlsFileNotLoaded,
                format!("whether PostgreSQL has loaded the present content of {place}: {why}"),
            )
        };
        let finding = if !changes.files.is_empty() {
            Finding::failure(
                Code::TlsFileNotLoaded,
                format!("{place} changed after PostgreSQL last loaded it: {harm}"),
            )
        } else if load.loading.future.is_some() {
            unknown(
                "its last load has a time in the future, because the clock was set back".to_owned(),
            )
        } else if !changes.directories.is_empty() {
            unknown(directories_changed(&changes.directories))
        } else {
            continue;
        };
        findings.push(
            finding
                .about(place)
                .fix(format!("{}, then check again", reload(server)))
                .command(reload(server)),
        );
    }
    findings
}

/// The reason of a skipped finding: directories above the file changed after the last load, so the load may have failed.
pub(super) fn directories_changed(directories: &[PathBuf]) -> String {
    format!(
        "directories on the path changed since the last load (mode, owner or location): {}; PostgreSQL may have been unable to read the content at that load",
        listed(directories)
    )
}

/// Findings about TLS settings that name no file, and about the result of the last reload.
pub(super) fn other_settings(
    server: &Server,
    load: Load<'_>,
    files: &survey::Files,
) -> Vec<Finding> {
    let uncommon = diagnose::without_clients(load.settings, &server.session);
    let mut findings = refused_or_doubtful(server, load, files);
    if !findings.iter().any(|found| found.code == Code::SslSettingRefused) {
        findings.extend(uncommon);
    }
    findings
}

/// Findings about TLS settings that PostgreSQL has refused, or that it may refuse at its next reload.
fn refused_or_doubtful(server: &Server, load: Load<'_>, files: &survey::Files) -> Vec<Finding> {
    let mut findings = diagnose::refused_settings(files);
    let log = load.reloaded;
    let is_taken = log.is_some_and(|log| log.is_taken) && load.loading.configuration.is_empty();
    if is_taken {
        // OpenSSL 1.1.1 accepts a list that has no cipher for TLS 1.2.
        let by_words = |found: &&mut Finding| {
            found.object.as_ref().is_some_and(|object| object.starts_with("ssl_ciphers"))
        };
        for found in findings.iter_mut().filter(by_words) {
            found.severity = Severity::Warning;
            found.cause = Some(
                "according to its log PostgreSQL accepted this list at its last reload; a newer OpenSSL will refuse it"
                    .to_owned(),
            );
        }
    }
    if let Some((log, reason)) = log.and_then(|log| Some((log, log.tls.as_deref()?))) {
        findings.push(refused(log, reason, files).command(reload(server)));
    }
    if !findings.is_empty() {
        return findings;
    }
    if !load.settings.others.complete && !is_taken {
        findings.push(
            Finding::skipped(
                Code::SslSettingUnknown,
                format!(
                    "whether PostgreSQL accepts its TLS settings, such as ssl_ciphers: role {} may not see them, and pgsvid can read neither \
                     the configuration files nor the log",
                    server.session.user
                ),
            )
            .fix("run check as PostgreSQL's uid, or as a superuser: --user postgres"),
        );
    }
    let doubtful = diagnose::doubtful(files);
    if !doubtful.is_empty() && !is_taken {
        let why = if log.is_some_and(|log| log.is_forgeable) {
            "the server's log is no proof, because clients can forge its lines; one in the form jsonlog is"
        } else {
            "the server's log cannot be read from here, or does not say it"
        };
        findings.push(
            Finding::skipped(
                Code::SslSettingUnknown,
                format!(
                    "whether PostgreSQL's OpenSSL accepts {}: that depends on how it was built, and {why}",
                    doubtful.join(", ")
                ),
            )
            .fix("reload, then check that the server log does not say \"SSL configuration was not reloaded\""),
        );
    }
    findings
}

/// The failure if PostgreSQL refused its last reload, according to its log.
fn refused(log: &Reloaded, reason: &str, files: &survey::Files) -> Finding {
    let what = "TLS files or settings at its last reload";
    let goes_on = "it continues with the certificate, authorities and settings that it loaded before, and its next start may fail";
    let then = before_next_reload(reason, files);
    if log.is_forgeable {
        return Finding::failure(
            Code::SslReloadRefused,
            format!("according to its log PostgreSQL refused {what}; see {}", log.log.display()),
        )
        .cause(format!(
            "if so, {goes_on}. {FORGEABLE}. After another reload pgsvid ignores these lines"
        ))
        .fix(format!(
            "in that log read the line before \"SSL configuration was not reloaded\"; {then}"
        ));
    }
    let reason = if reason.is_empty() { "the reason is not in its log any more" } else { reason };
    Finding::failure(Code::SslReloadRefused, format!("PostgreSQL refused {what}: {reason}"))
        .cause(format!("according to its log; {goes_on}"))
        .fix(then)
}

/// The command that has PostgreSQL read its files.
pub(super) fn reload(server: &Server) -> String {
    server.session.psql("SELECT pg_catalog.pg_reload_conf()")
}

/// The first files, and how many more there are.
pub(super) fn listed(paths: &[PathBuf]) -> String {
    let named: Vec<String> =
        paths.iter().take(MOST_FILES).map(|path| path.display().to_string()).collect();
    let more = paths.len().saturating_sub(MOST_FILES);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

/// Why lines of a log are no proof.
pub(super) const FORGEABLE: &str = "Clients can forge lines of this log: by names in log_line_prefix, and by what a library in a \
    session, such as dblink's, writes to standard error; a log of PostgreSQL 15 or later is proof with logging_collector = on and \
    log_destination = 'jsonlog'";

/// What to fix before the next reload. The command for it follows this text.
fn before_next_reload(reason: &str, files: &survey::Files) -> &'static str {
    let looks_right = || {
        diagnose::refused_files(files).is_empty() && diagnose::refused_settings(files).is_empty()
    };
    if reason.contains("Permission denied") && looks_right() {
        "owner and mode now let PostgreSQL read its files. If it refuses the next reload, too, something else denies the access: an \
         access control list (getfacl), SELinux (`ls -Z` shows the label; `restorecon -Rv` with the directory gives it the usual one), \
         or AppArmor (`aa-status` lists the profiles). The kernel's log says which: `dmesg | grep -iE 'avc|apparmor'`. Then"
    } else {
        "correct what the reason names, then"
    }
}
