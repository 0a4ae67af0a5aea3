//! The log lines about a PostgreSQL: each change once, its repetition at the debug level.

use rustls::AlertDescription;
use tracing::{error, info, warn};

use super::Attempt;
use crate::finding::Finding;
use crate::sql::{self, Retry, TlsSettings};
use crate::text::shown;
use crate::verify::{Proof, Target, alert_name};

/// Another reload, or PostgreSQL's start, has loaded the set. Nothing ensures that this happens at the next renewal, too.
pub(super) fn reload_impossible(
    consumer: Option<&str>,
    attempt: &Attempt,
    session: &sql::Settings,
    generation: u64,
) {
    if let Some(error) = attempt.session_error()
        && error.retry() == Retry::Slowly
    {
        let found = super::explain::no_session(error, session);
        let (code, fix, command) = (found.code, found.advice(), found.command.as_deref());
        warn!(
            event = "reload-impossible", consumer,
            generation, %code, cause = found.why(), fix, command, "PostgreSQL cannot be asked to reload at the next renewal"
        );
    }
}

/// The problem until the server has been asked to reload.
pub(super) const UNASKED: &str = "PostgreSQL could not be asked to reload since pgsvid was started: only the names of its authorities are proven";

/// The handshake shows the right set, but would show the same for a set that only looks alike.
pub(super) fn unasked(consumer: Option<&str>, attempt: &Attempt, session: &sql::Settings) {
    let found = attempt.session_error().map(|error| super::explain::no_session(error, session));
    let cause = found.as_ref().map(Finding::why);
    let fix = found.as_ref().and_then(Finding::advice);
    let command = found.as_ref().and_then(|found| found.command.as_deref());
    warn!(event = "never-asked", consumer, cause, fix, command, "{UNASKED}");
}

/// The problem while the server has no TLS parameters in common with the probe.
pub(super) const UNSPOKEN: &str =
    "PostgreSQL ends the TLS handshake before it shows a certificate: what it serves is not proven";

/// The set was handed over, but no handshake can show the result.
pub(super) fn no_common_tls(consumer: Option<&str>, no_common_tls: &Finding) {
    let (code, cause) = (no_common_tls.code, no_common_tls.cause.as_deref());
    let (fix, command) = (no_common_tls.advice(), no_common_tls.command.as_deref());
    warn!(event = "handshake-refused", consumer, %code, cause, fix, command, "{UNSPOKEN}");
}

/// Logs the server's version and addresses, once.
pub(super) fn server(consumer: Option<&str>, settings: &TlsSettings, target: &Target) {
    if *target == Target::Auto && settings.listen_addresses.is_empty() {
        warn!(
            event = "no-tcp-listener",
            consumer,
            version = shown(&settings.version),
            fix = "let it listen on 127.0.0.1 (listen_addresses), so that pgsvid can verify every rotation",
            "PostgreSQL has no TCP listener: what it serves cannot be verified"
        );
    } else {
        info!(
            event = "postgresql-connected",
            consumer,
            version = shown(&settings.version),
            listen_addresses = shown(&settings.listen_addresses),
            port = settings.port,
            "connected to PostgreSQL"
        );
    }
}

pub(super) fn concerns(consumer: Option<&str>, concerns: &[Finding]) {
    for found in concerns {
        let (code, fix, command) = (found.code, found.advice(), found.command.as_deref());
        warn!(
            event = "settings-lead-elsewhere", consumer,
            %code, cause = found.text, fix, command, "PostgreSQL's settings do not lead to the published files"
        );
    }
}

/// PostgreSQL does not load the published map: a workload that was removed from it keeps its role.
pub(super) fn unreadable_map(consumer: Option<&str>, expression: &str, error: &sql::Error) {
    error!(
        event = "role-map-unreadable",
        consumer,
        cause = format!("/{expression}: {error}"),
        fix = "fix files.ident_lines, and restart pgsvid",
        "PostgreSQL cannot read the published map, and keeps the old one"
    );
}

/// Errors in files that a reload reads. They do not affect the certificates, but keep somebody's edit from taking effect.
pub(super) fn file_errors(consumer: Option<&str>, errors: &[String]) {
    for error in errors {
        warn!(
            event = "postgresql-files-error",
            consumer,
            cause = error,
            fix = "fix the line, then reload",
            "PostgreSQL's files have an error"
        );
    }
}

/// The authorities were proven before, but now nothing is proven, or only their names.
pub(super) fn less_is_proven(consumer: Option<&str>, proof: Proof, address: &str) {
    let (cause, fix) = match proof {
        Proof::Nothing => (
            "it no longer asks for a client certificate: ssl_ca_file is empty",
            "if that is not intended, set ssl_ca_file to the published bundle, then reload",
        ),
        Proof::Names | Proof::Issuer | Proof::Key => (
            "it no longer answers whether it accepts the published certificate from a client, or something between \
             pgsvid and the server drops the answer",
            "look for \"could not accept SSL connection\" in the server log, and check that nothing relays the connection",
        ),
    };
    warn!(
        event = "less-proven",
        consumer,
        address,
        authorities_by = proof.name(),
        cause,
        fix,
        "less is proven of PostgreSQL's authorities than before"
    );
}

/// The server refuses the published leaf as a client's certificate, but not because of its authority.
pub(super) fn log_certificate_refused(consumer: Option<&str>, alert: AlertDescription) {
    warn!(
        event = "leaf-refused-as-client",
        consumer,
        alert = alert_name(alert),
        fix = "look for \"could not accept SSL connection\" in the server log: the line names the reason",
        "PostgreSQL does not accept the published certificate from a client, so only the names of its authorities are proven"
    );
}
