//! The names of what is logged at level info and above: the field `event` of each line. Sentences may change, names do not.

use std::fmt::Write as _;

/// Every name, and what such a line says. Sorted.
pub const EVENTS: &[(&str, &str)] = &[
    ("agent-connected", "the stream of the agent is open"),
    ("agent-disconnected", "there is no connection to the agent"),
    (
        "agent-lines-limited",
        "the agent causes more lines than are written; the others are at level debug",
    ),
    ("agent-overdue", "the agent has sent nothing new though the SVID is due; it is dialled anew"),
    ("agent-refused", "the agent refuses the request, and waiting does not help"),
    ("agent-replaced", "there is another socket in the place of the agent's; it is dialled"),
    ("asked-again", "SIGHUP: everything is done again"),
    ("attempt-interrupted", "PostgreSQL answers slowly, and a newer set is published first"),
    (
        "authority-left-out",
        "OpenSSL would take an authority of the agent's bundle for another one of its name, and refuse our chain",
    ),
    (
        "certificate-expires",
        "the published certificate nears its end, or has passed it, and there is no newer one",
    ),
    ("clock-changed", "the clock was set, or the machine has slept; the agent is dialled anew"),
    ("daemon-restarted", "the process before this one ended without being asked to"),
    ("directory-shared", "others may write to the published directory"),
    ("ending", "the end was asked for"),
    ("extra-authorities-changed", "files.extra_authorities hold something else"),
    (
        "extra-authorities-kept",
        "files.extra_authorities cannot be read; what they held before stays",
    ),
    (
        "extra-authority-left-out",
        "OpenSSL could take an extra authority for another one of its name",
    ),
    (
        "federated-left-out",
        "federated bundles do not fit or would not be loaded, or authorities of them could be taken for others",
    ),
    ("file-taken-over", "a plain file of another helper is a link now"),
    ("files-changed", "somebody else has changed the published files; they are published again"),
    (
        "foreign-files-removed",
        "what others could have put into the published directory was removed",
    ),
    (
        "foreign-files-stay",
        "what others could have put into the published directory cannot be removed",
    ),
    ("foreign-set-kept", "a set of root's stays until there is one of our own"),
    (
        "identities-without-end",
        "identities change without end; the newest is published now and then",
    ),
    ("identity-received", "the agent has sent an identity that passed the checks"),
    ("identity-warning", "the identity is accepted, and something about it is worth a thought"),
    ("identity-withdrawn", "the agent says that this workload has no identity any more"),
    ("leaf-refused-as-client", "the authorities are proven by their names alone"),
    ("less-proven", "less is proven of PostgreSQL's authorities than before"),
    (
        "links-changed",
        "somebody else has changed the links of the published set; they are made again",
    ),
    ("lock-lost", "the lock of the published directory was removed, replaced or opened to others"),
    (
        "lock-of-this-machine",
        "another machine could publish to the same directory: its file system locks for this one alone",
    ),
    ("message-accepted", "the agent's message is accepted after others were rejected"),
    ("message-rejected", "the agent's message breaks a rule; what is published stays"),
    (
        "never-asked",
        "PostgreSQL could not be asked to reload since pgsvid was started: its authorities are proven by their names",
    ),
    ("no-tcp-listener", "what PostgreSQL serves cannot be verified"),
    ("not-in-force", "the published set is not in force, and somebody has to fix something"),
    ("not-registered", "the agent has no entry for this workload yet"),
    ("notify-failed", "the notification socket takes nothing"),
    ("notify-restored", "the notification socket takes messages again"),
    ("older-set-kept", "a set that was renamed counts for nothing until the agent has sent one"),
    ("older-set-possible", "fetch took a set that may not be the newest: the agent did not answer"),
    ("panicked", "pgsvid has a fault: the process ends, and its parent starts another one"),
    ("postgresql-connected", "PostgreSQL's version and listener"),
    ("postgresql-files-error", "an error in a file that a reload reads"),
    ("publication-failed", "the set could not be written; what was published stays"),
    ("published", "a set was published where no server takes part"),
    ("reload-impossible", "the set is in force by somebody else's reload, and ours is refused"),
    ("reload-pending", "the set is published, and the reload will come by itself"),
    ("role-map-unreadable", "PostgreSQL goes on with the role map that it had"),
    ("rotated", "a set was published and is proven to be in force, or all that can be proven is"),
    ("sandbox-entered", "what the process has denied itself, and what is lacking"),
    ("sandbox-off", "sandbox.enabled is false"),
    ("sandbox-path-missing", "a configured path is not there, so the sandbox stays closed to it"),
    ("set-adopted", "the set of an earlier run counts at once"),
    ("set-disturbed", "others were at the published set while PostgreSQL may have read it"),
    ("set-expired", "the set of an earlier run has expired, and stays until there is a newer one"),
    ("settings-lead-elsewhere", "PostgreSQL's settings do not name the published files"),
    ("started", "the version, and what it is configured for"),
    ("status-accept-failed", "health.listen cannot accept"),
    ("status-listening", "where health, metrics and status are served"),
    ("still-not-in-force", "another set waits for the same reason as the one before"),
    ("unproven", "the set is published, and nothing could be proven of it"),
    ("waiting", "fetch waits for the agent"),
    (
        "watches-exhausted",
        "the kernel watches no more directories for the user; timers do the work",
    ),
    ("watches-restored", "the kernel watches all directories again"),
    ("watching-failed", "the kernel gives no inotify instance; timers do the work"),
];

/// All of them as the table of `docs/log.md`.
#[must_use]
pub fn reference() -> String {
    let mut table = String::new();
    for (name, says) in EVENTS {
        // Writing to a String does not fail.
        let _ = writeln!(table, "| `{name}` | {says} |");
    }
    table
}
