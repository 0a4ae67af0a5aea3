//! The names of log events at level info and above: the field `event` of each line. Sentences may change, names do not.

/// Every name, and the meaning of its lines. Sorted.
pub const EVENTS: &[(&str, &str)] = &[
    ("agent-connected", "the stream of the agent is open"),
    ("agent-disconnected", "there is no connection to the agent"),
    ("agent-lines-limited", "the agent causes too many lines; the others are at level debug"),
    (
        "agent-not-asked",
        "`fetch` keeps a recent set, because the agent does not answer, or has no identity for it",
    ),
    (
        "agent-overdue",
        "the agent has sent nothing new although the renewal is due; pgsvid reconnects",
    ),
    ("agent-refused", "the agent refuses the request, and waiting does not help"),
    ("agent-replaced", "another socket has replaced the agent's; pgsvid connects to it"),
    (
        "agent-socket-exchangeable",
        "other users of the machine could have replaced the agent's socket with their own: they would choose the certificate and the authorities",
    ),
    ("application-awaited", "`exec` starts its application as soon as a valid set is published"),
    (
        "application-changed",
        "the configuration was changed after `exec` started its application, which keeps its variables",
    ),
    (
        "application-driver",
        "the driver that `exec --env` names may be unable to use the published files",
    ),
    ("application-ended", "the application of `exec` has ended"),
    ("application-not-started", "no process could be started for the application of `exec`"),
    ("application-started", "`exec` has started its application"),
    ("asked-again", "after SIGHUP pgsvid publishes, reloads and verifies again"),
    (
        "attempt-interrupted",
        "a consumer has not answered in time; its attempt is interrupted, so that a set can be published",
    ),
    (
        "authority-left-out",
        "OpenSSL would mistake an authority of the agent's bundle for another one of its name, and refuse the SVID's chain",
    ),
    (
        "authority-order-broken",
        "a new authority has signed the newest leaf, and servers may not have loaded it yet: connections between machines may fail",
    ),
    (
        "certificate-expires",
        "the published certificate expires soon, or has expired, and there is no newer one",
    ),
    ("certificate-names-lost", "the certificate file lacks a host name that the one before had"),
    ("certificate-names-missing", "the certificate file lacks a name of svid.dns_names"),
    ("certificate-read", "the files of [certificates] hold a new set"),
    (
        "certificate-subject-changed",
        "the certificate file has another CN or subject than the one before",
    ),
    ("certificate-warning", "the certificate file is usable, but will cause trouble"),
    ("certificates-accepted", "the files of [certificates] are a set again"),
    (
        "certificates-lines-limited",
        "the files of [certificates] cause too many lines; the others are at level debug",
    ),
    (
        "certificates-moved",
        "a link leads the files of [certificates] to a directory that the sandbox does not permit; another process replaces this one",
    ),
    (
        "certificates-polled",
        "the kernel reports no changes of the files of [certificates]; pgsvid checks them regularly",
    ),
    (
        "certificates-rejected",
        "the files of [certificates] have not been a set for a while; pgsvid does not use them",
    ),
    ("client-admitted", "a login as the client has succeeded with the published set"),
    ("client-unjudged", "pgsvid cannot try a login as the client"),
    (
        "clock-changed",
        "the clock was set, or the machine has slept; pgsvid reconnects to the agent",
    ),
    (
        "daemon-replaced",
        "this process replaces one whose sandbox did not permit the directory of the files of [certificates]",
    ),
    ("daemon-restarted", "the process before this one ended unexpectedly"),
    ("directory-crowded", "another user has filled the published directory with entries"),
    ("directory-shared", "others may write to the published directory"),
    ("ending", "pgsvid was asked to end"),
    ("extra-authorities-changed", "the contents of files.extra_authorities have changed"),
    (
        "extra-authorities-kept",
        "files.extra_authorities cannot be read; pgsvid keeps their old contents",
    ),
    (
        "extra-authorities-without-end",
        "the extra authorities change again and again: their changes are published with pauses",
    ),
    (
        "extra-authority-left-out",
        "an extra authority is left out: OpenSSL could mistake it for another one of its name, or too many have that name",
    ),
    (
        "federated-left-out",
        "federated bundles do not fit or would not be loaded, or authorities of them could be mistaken for others",
    ),
    (
        "federated-unproven",
        "authorities of federated trust domains are left out: pgsvid cannot compare all that share one name within its limit",
    ),
    ("file-taken-over", "a plain file of another helper was replaced by a link"),
    ("files-changed", "somebody else has changed the published files; they are published again"),
    (
        "files-unusable-in-place",
        "the files of [certificates] are no usable set, and PgBouncer opens them at each connection to PostgreSQL",
    ),
    (
        "foreign-files-removed",
        "what others could have put into the published directory was removed",
    ),
    (
        "foreign-files-stay",
        "what others could have put into the published directory cannot be removed",
    ),
    (
        "foreign-set-kept",
        "the published set belongs to root; it stays until pgsvid publishes its own",
    ),
    (
        "handshake-refused",
        "PostgreSQL runs, but has no TLS parameters in common with pgsvid's probe: what it serves is not proven",
    ),
    (
        "hook-changed",
        "a hook was changed after pgsvid was started; it does not run until pgsvid is restarted",
    ),
    ("hook-failed", "a hook has failed; it is tried again"),
    ("hook-succeeded", "a hook has succeeded"),
    (
        "identities-without-end",
        "identities change again and again; the newest is published at intervals",
    ),
    (
        "identity-changed",
        "the SVID has another SPIFFE ID than the one before, or than the set on disk",
    ),
    (
        "identity-names-lost",
        "the SVID lacks a host name that the one before had, or that the set on disk has",
    ),
    ("identity-names-missing", "the SVID lacks a name of svid.dns_names"),
    ("identity-received", "the agent has sent an identity that passed the checks"),
    (
        "identity-subject-changed",
        "the SVID has another CN or subject than the one before, or than the set on disk",
    ),
    ("identity-warning", "the identity is accepted, but something about it may cause trouble"),
    ("identity-withdrawn", "the agent says that this workload no longer has an identity"),
    ("instance-current", "an instance of a `[[served]]` is first seen to serve the published set"),
    ("instance-gone", "an address is no longer one of the name of a `[[served]]`"),
    (
        "jwt-bundle-left-out",
        "the agent's keys of a foreign trust domain are faulty, and are left out of the JWT bundle",
    ),
    ("jwt-bundle-written", "the file of the JWT bundle was written"),
    (
        "leaf-refused-as-client",
        "PostgreSQL refuses the published certificate from a client, so only the names of its authorities are proven",
    ),
    ("lease-acquired", "this replica has the Lease, and writes the Secrets"),
    ("lease-lost", "this replica no longer has the Lease, and writes no Secrets"),
    ("lease-released", "this replica has given the Lease up, so that another one need not wait"),
    ("less-proven", "less is proven of PostgreSQL's authorities than before"),
    (
        "links-changed",
        "somebody else has changed the links of the published set; pgsvid restores them",
    ),
    ("lock-lost", "the lock of the published directory was removed, replaced or opened to others"),
    (
        "lock-of-this-machine",
        "another machine could publish to the same directory: its file system only locks for this machine",
    ),
    ("message-accepted", "the agent's message is accepted after others were rejected"),
    ("message-rejected", "the agent's message breaks a rule; the published files stay"),
    (
        "never-asked",
        "PostgreSQL could not be asked to reload since pgsvid was started: only the names of its authorities are proven",
    ),
    ("no-tcp-listener", "PostgreSQL has no TCP listener, so what it serves cannot be verified"),
    (
        "not-in-force",
        "the published set is not in force, or does not let a client in, and somebody must fix something",
    ),
    ("not-registered", "the agent has no entry for this workload yet"),
    ("notify-failed", "the notification socket accepts nothing"),
    ("notify-restored", "the notification socket accepts messages again"),
    (
        "older-set-kept",
        "the published set may be an older one, because others can rename it: it stays, but does not count until the source has sent a set",
    ),
    (
        "older-set-possible",
        "fetch accepted a set that may not be the newest: the agent did not answer",
    ),
    ("panicked", "pgsvid has a fault: the process ends, and its parent starts another one"),
    (
        "patroni-authorities-pending",
        "authorities were published without another certificate: no handshake shows that Patroni's REST API has them before the next one",
    ),
    (
        "patroni-reloads",
        "PostgreSQL serves the set, so Patroni was asked to read it for its REST API",
    ),
    ("pgbouncer-connected", "PgBouncer answers; with its version and listener"),
    (
        "pgbouncer-reload-failed",
        "PgBouncer's own answer to a reload is an error; the handshake shows what it serves",
    ),
    ("postgresql-connected", "PostgreSQL answers; with its version and listener"),
    ("postgresql-files-error", "an error in a file that a reload reads"),
    ("publication-failed", "the set could not be written; the published files stay"),
    ("published", "a set was published, and no server is configured"),
    (
        "reload-impossible",
        "the set is in force because something else has reloaded PostgreSQL; pgsvid's own reload is refused",
    ),
    ("reload-pending", "the set is published, and the reload is pending; waiting is enough"),
    ("replication-back", "a standby or a subscription receives again"),
    ("replication-lost", "a standby or a subscription no longer receives"),
    ("role-map-unreadable", "PostgreSQL keeps the old role map"),
    (
        "rotated",
        "a set is proven to be loaded, as far as that can be proven; with `generation=0` it is the set of an earlier run",
    ),
    ("sandbox-entered", "what the sandbox forbids, and what the kernel cannot forbid"),
    ("sandbox-off", "sandbox.enabled is false"),
    ("sandbox-open", "the sandbox has to permit more than pgsvid's own files"),
    ("sandbox-path-missing", "a configured path does not exist, so the sandbox keeps it closed"),
    (
        "secret-contested",
        "somebody changes the fields of a Secret again and again; they are restored with pauses",
    ),
    ("secret-created", "a Secret did not exist, and was created"),
    (
        "secret-restored",
        "somebody has changed or deleted a Secret that held the set; it is restored",
    ),
    ("secret-unwatched", "a Secret cannot be watched, so it is read each half a minute"),
    ("secrets-handed-over", "each Secret holds the set"),
    ("secrets-standby", "another replica writes the Secrets"),
    (
        "served-awaited",
        "not every instance of a `[[served]]` serves the published set yet; it still has time (served.within)",
    ),
    ("served-everywhere", "every instance of a `[[served]]` serves the published set"),
    (
        "served-standby",
        "another replica writes the Secrets, so what the instances of a `[[served]]` serve is not compared with this one's set",
    ),
    (
        "served-warning",
        "the name of a `[[served]]`, or the names of the certificate for it, may cause trouble",
    ),
    (
        "server-side-proven",
        "a login through PgBouncer has shown that PostgreSQL sees the published certificate",
    ),
    (
        "server-side-unproven",
        "a login through PgBouncer failed, or has shown that PostgreSQL sees something else; with the state, code, cause and remedy",
    ),
    (
        "session-ended",
        "a session that had outlived the certificate of its client was ended (postgres.end_sessions)",
    ),
    (
        "sessions-not-ended",
        "postgres.end_sessions is set, and the role may not see or end the sessions of others",
    ),
    ("set-adopted", "pgsvid continues with the set that an earlier run has published"),
    ("set-disturbed", "others changed the published set while PostgreSQL may have read it"),
    ("set-expired", "the set of an earlier run has expired, and stays until there is a newer one"),
    ("settings-lead-elsewhere", "PostgreSQL's settings do not name the published files"),
    ("several-identities", "the agent offers several SVIDs that fit, and pgsvid uses one of them"),
    ("started", "the version, and what is configured"),
    ("status-accept-failed", "health.listen cannot accept a connection"),
    ("status-listening", "where health, metrics and status are served"),
    (
        "status-not-listening",
        "another process took the address of health.listen between two daemons; renewals go on without it",
    ),
    ("still-not-in-force", "another set waits for the same reason as the one before"),
    ("token-expires", "a token expires soon, or has expired, and there is no newer one"),
    ("token-failed", "there is no new token, or no new JWT bundle; the file stays as it is"),
    (
        "token-file-changed",
        "somebody else has changed a file with a token or the JWT bundle; it is written again",
    ),
    ("token-unverified", "a token was written, and its signature could not be verified"),
    ("token-written", "a token was written"),
    (
        "unproven",
        "the set is published, but no server has answered: nothing proves that it is served, or that it lets a client in",
    ),
    ("waiting", "fetch waits for the agent"),
    (
        "watches-exhausted",
        "the kernel watches no more directories for the user; timers do the work",
    ),
    ("watches-restored", "the kernel watches all directories again"),
    ("watching-failed", "the kernel gives no inotify instance; timers do the work"),
];
