//! The log lines about Patroni: each change once.

use tracing::info;

use crate::finding::Finding;

/// Patroni has accepted the request to reload.
pub(super) fn reloads(consumer: Option<&str>, generation: u64) {
    info!(
        event = "patroni-reloads",
        consumer, generation, "PostgreSQL serves the set; Patroni reads it in its next loop"
    );
}

/// Authorities have changed, and the certificate has not.
pub(super) fn pending(consumer: Option<&str>, generation: u64, found: &Finding) {
    let Finding { code, text, cause, fix, .. } = found;
    info!(
        event = "patroni-authorities-pending",
        consumer, generation, %code, cause, fix, "{text}"
    );
}
