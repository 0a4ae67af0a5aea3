//! The log lines about a PgBouncer: each change once.

use std::time::Duration;

use tracing::{error, info, warn};

use crate::consumers::{Attempt, Publication};
use crate::finding::{Code, Finding};
use crate::pgbouncer::{self, ServerSide, Settings};
use crate::sql::{self, Retry};
use crate::text::shown;
use crate::timing;

/// Logs PgBouncer's version and addresses, once.
pub(super) fn connected(consumer: Option<&str>, settings: &Settings) {
    let (listen_addresses, port) = settings.listens_on();
    info!(
        event = "pgbouncer-connected",
        consumer,
        version = settings.version,
        listen_addresses = shown(listen_addresses),
        port,
        "connected to PgBouncer"
    );
}

/// The settings that keep it from using the published files.
pub(super) fn concerns(consumer: Option<&str>, concerns: &[Finding]) {
    for found in concerns {
        let (code, fix) = (found.code, found.advice());
        warn!(
            event = "settings-lead-elsewhere", consumer,
            %code, cause = found.text, fix, "PgBouncer's settings do not lead to the published files"
        );
    }
}

/// Logs PgBouncer's complaint about a reload. The handshake shows whether the complaint concerns the certificate.
pub(super) fn complaint(consumer: Option<&str>, complaint: &str) {
    warn!(
        event = "pgbouncer-reload-failed",
        consumer,
        code = %Code::PgbouncerReloadFailed,
        cause = complaint,
        fix = "read PgBouncer's log: the lines above name the setting or the file",
        "PgBouncer reports an error in its files"
    );
}

/// Another reload, or its start, has loaded the set. Nothing ensures that this happens at the next renewal, too.
pub(super) fn reload_impossible(
    consumer: Option<&str>,
    attempt: &Attempt,
    console: &sql::Settings,
    generation: u64,
) {
    if let Some(error) = attempt.console_error()
        && error.retry() == Retry::Slowly
    {
        let found = pgbouncer::session(error, console);
        let (code, fix) = (found.code, found.advice());
        warn!(
            event = "reload-impossible", consumer,
            generation, %code, cause = found.why(), fix, "PgBouncer cannot be asked to reload at the next renewal"
        );
    }
}

/// The problem until PgBouncer has been asked to reload.
pub(super) const UNASKED: &str = "PgBouncer could not be asked to reload since pgsvid was started: it may have read an earlier set that looks the same";

/// The handshake shows the right set, but would show the same for a set that only looks alike.
pub(super) fn unasked(consumer: Option<&str>, attempt: &Attempt, console: &sql::Settings) {
    let found = attempt.console_error().map(|error| pgbouncer::session(error, console));
    let code = found.as_ref().map(|found| found.code.name());
    let cause = found.as_ref().map(Finding::why);
    let fix = found.as_ref().and_then(Finding::advice);
    warn!(event = "never-asked", consumer, code, cause, fix, "{UNASKED}");
}

/// A login through PgBouncer has shown that PostgreSQL sees the published certificate.
pub(super) fn shows_the_set(consumer: Option<&str>, publication: &Publication, took: Duration) {
    let Publication { material, generation, .. } = publication;
    info!(
        event = "server-side-proven",
        consumer,
        generation,
        serial = material.leaf().serial().short(),
        login_ms = timing::milliseconds(took),
        "PostgreSQL sees the published certificate from PgBouncer"
    );
}

/// A login through PgBouncer has shown something else, or failed.
pub(super) fn does_not_show_the_set(
    consumer: Option<&str>,
    publication: &Publication,
    state: &ServerSide,
    found: &Finding,
) {
    let (generation, state) = (publication.generation, state.name());
    let (code, cause, fix) = (found.code, found.cause.as_deref(), found.advice());
    error!(
        event = "server-side-unproven", consumer, generation, state, %code, cause, fix, "{}", found.text
    );
}
