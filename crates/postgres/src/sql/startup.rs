//! What every session begins with, whatever the settings of the database and of the role say.
//!
//! The owner of a database sets its `search_path` and whatever else a role may set, and creates functions, operators, casts
//! and types in its schemas. A session that would look there runs the owner's code with our rights, which are a superuser's in
//! `setup` and often in `check`. Options of the start-up packet go before ALTER DATABASE and ALTER ROLE, and no code of
//! the database has run by then but that of a login event trigger.

use std::fmt::Write as _;

/// Settings that every role may set, on every version from 14 on.
const ALWAYS: [(&str, &str); 27] = [
    // Names are looked up in pg_catalog alone, which comes first when it is not named.
    ("search_path", ""),
    // ALTER ROLE … SET role would turn us into another one.
    ("role", "none"),
    ("default_transaction_read_only", "on"),
    // A serializable read-only transaction that is deferrable waits for others to end.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("statement_timeout", "5s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "5s"),
    // `setup` waits for a person to say yes.
    ("idle_session_timeout", "0"),
    // Libraries of the server's `plugins` directory.
    ("local_preload_libraries", ""),
    // How statements are read.
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("escape_string_warning", "off"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    // How values are written.
    ("quote_all_identifiers", "off"),
    ("bytea_output", "hex"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("client_min_messages", "error"),
    // What a statement costs.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("work_mem", "4MB"),
    // What is done when something fails, and when a change counts as made.
    ("exit_on_error", "off"),
    ("synchronous_commit", "on"),
];

/// What a superuser's session begins with besides, on 17 and later: triggers that the database has for logins and for
/// statements such as GRANT run functions that may be somebody else's.
const FROM_17: [(&str, &str); 2] = [("event_triggers", "off"), ("transaction_timeout", "0")];

/// The same before 17, where no trigger runs at a login: those that are enabled as usual do not run.
pub(super) const AS_A_REPLICA: &str = "SET session_replication_role = replica";

/// From this version on there are `event_triggers` and `transaction_timeout`.
pub(super) const HAS_EVENT_TRIGGERS: u32 = 17;

/// A limit that only versions from 17 on know, so that it cannot be among the options.
pub(super) const NO_TRANSACTION_TIMEOUT: &str = "SET transaction_timeout = 0";

/// The event triggers that run all the same before 17: those that are enabled for replicas.
pub(super) const TRIGGERS_LEFT: &str = "\
    SELECT evtname FROM pg_catalog.pg_event_trigger WHERE evtenabled IN ('A', 'R') ORDER BY evtname";

/// Shows whether the options have arrived, by the token among them: a pooler may have dropped them. And whose port it is.
pub(super) const IN_FORCE: &str = "\
    SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_setting('role'), \
           pg_catalog.current_setting('pgsvid.session', true), pg_catalog.current_setting('is_superuser'), \
           pg_catalog.current_setting('port')";

/// The options of the start-up packet (PostgreSQL: `process_postgres_switches`). A backslash keeps a blank.
pub(super) fn options(token: &str) -> String {
    listed(&ALWAYS) + &listed(&[("pgsvid.session", token)])
}

/// The same for a superuser of a server of version 17 or later; others refuse them.
pub(super) fn options_from_17(token: &str) -> String {
    options(token) + &listed(&FROM_17)
}

fn listed(settings: &[(&str, &str)]) -> String {
    let mut options = String::new();
    for (name, value) in settings {
        // Writing to a String does not fail.
        let _ = write!(options, "-c {name}={} ", value.replace(' ', "\\ "));
    }
    options
}
