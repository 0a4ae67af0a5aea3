//! What is said of a PostgreSQL: each change once, its repetition at the debug level.

use std::time::Duration;

use rustls::AlertDescription;
use tracing::{debug, error, info, warn};

use super::Attempt;
use crate::diagnose;
use crate::finding::Finding;
use crate::material::Material;
use crate::sql::{self, Retry, TlsSettings};
use crate::text::{ascii, shown};
use crate::timing;
use crate::verify::{Proof, Target};

/// The line of a rotation that came to its end.
pub(super) fn rotated(
    consumer: Option<&str>,
    attempt: &Attempt,
    session: &sql::Settings,
    material: &Material,
    generation: u64,
    took: Option<Duration>,
    routine: bool,
) {
    if routine {
        debug!(generation, verdict = %attempt.verdict, "verified again");
        return;
    }
    // A reload that was not possible is no fault once the handshake has shown the new certificate.
    let authorities_by = attempt.facts.proof().map(Proof::name);
    let without_reload = attempt.sql.as_ref().map(ToString::to_string);
    info!(event = "rotated", consumer,
        generation,
        verdict = %attempt.verdict,
        spiffe_id = ascii(&material.spiffe_id().to_string()),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        publish_ms = took.map(timing::milliseconds),
        reload_ms = attempt.reload.map(timing::milliseconds),
        verify_ms = timing::milliseconds(attempt.verify),
        authorities_by,
        without_reload,
        "rotated"
    );
    // Somebody else's reload, or PostgreSQL's start, has done our work; it will not do so at the next renewal.
    if let Some(error) = &attempt.sql
        && error.retry() == Retry::Slowly
    {
        let Finding { code, text, fix, .. } = diagnose::session(error, session);
        warn!(
            event = "reload-impossible", consumer,
            generation, %code, cause = text, fix, "PostgreSQL cannot be asked to reload at the next renewal"
        );
    }
}

/// What is not proven until the server was asked.
pub(super) const UNASKED: &str = "PostgreSQL could not be asked to reload since pgsvid was started: its authorities are proven by their names";

/// The handshake shows what it should, and would show the same of a set that only looks alike.
pub(super) fn unasked(consumer: Option<&str>, attempt: &Attempt, session: &sql::Settings) {
    let cause = attempt.sql.as_ref().map(|error| error.cause(session));
    let fix = attempt.sql.as_ref().and_then(|error| error.remedy(session));
    warn!(event = "never-asked", consumer, cause, fix, "{UNASKED}");
}

/// What is known of the server, once.
pub(super) fn server(consumer: Option<&str>, settings: &TlsSettings, target: &Target) {
    if *target == Target::Auto && settings.listen_addresses.is_empty() {
        warn!(
            event = "no-tcp-listener",
            consumer,
            version = shown(&settings.version),
            fix = "let it listen on 127.0.0.1 (listen_addresses) to have every rotation proven",
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
    for Finding { code, text, fix, .. } in concerns {
        warn!(
            event = "settings-lead-elsewhere", consumer,
            %code, cause = text, fix, "PostgreSQL's settings do not lead to the published files"
        );
    }
}

/// PostgreSQL will not read the published map: a workload that was taken out of it keeps its role.
pub(super) fn unreadable_map(consumer: Option<&str>, expression: &str, error: &sql::Error) {
    error!(
        event = "role-map-unreadable",
        consumer,
        cause = format!("/{expression}: {error}"),
        fix = "mend files.ident_lines, and restart pgsvid",
        "PostgreSQL cannot read the published map, and goes on with the one that it had"
    );
}

/// Errors in files that a reload reads. They hinder neither the certificates nor one another, but somebody's edit.
pub(super) fn file_errors(consumer: Option<&str>, errors: &[String]) {
    for error in errors {
        warn!(
            event = "postgresql-files-error",
            consumer,
            cause = error,
            fix = "mend the line, then reload",
            "PostgreSQL's files have an error"
        );
    }
}

/// The authorities were proven before, and are not any more, or by their names alone.
pub(super) fn less_is_proven(consumer: Option<&str>, proof: Proof, address: &str) {
    let (cause, fix) = match proof {
        Proof::Nothing => (
            "it asks for no client certificate any more: ssl_ca_file is empty",
            "if that is not meant, set ssl_ca_file to the published bundle, then reload",
        ),
        Proof::Names | Proof::Key => (
            "it does not say any more whether it takes the published certificate from a client, or something between \
             here and there keeps that back",
            "look for \"could not accept SSL connection\" in the server log, and see that nothing relays the connection",
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

/// The server refuses the published leaf as a client's, and not for its authority.
pub(super) fn unwelcome(consumer: Option<&str>, alert: AlertDescription) {
    warn!(
        event = "leaf-refused-as-client",
        consumer,
        ?alert,
        fix = "look for \"could not accept SSL connection\" in the server log: the line names the reason",
        "PostgreSQL does not take the published certificate from a client, so its authorities are proven by their names alone"
    );
}
