//! The settings that every session begins with, whatever the settings of the database and of the role are.
//!
//! The owner of a database can set its `search_path` and everything else that a role may set, and creates functions,
//! operators, casts and types in its schemas. A session that looks there runs the owner's code with the session's rights,
//! which are a superuser's in `setup` and often in `check`. Options of the start-up packet override ALTER DATABASE and ALTER
//! ROLE. Before they apply, the only code of the database that runs is a login event trigger.

use std::fmt::Write as _;

/// Settings that every role may set, on every version from 14 on.
const ALWAYS: [(&str, &str); 27] = [
    // Names are looked up only in pg_catalog, which comes first unless it is named.
    ("search_path", ""),
    // ALTER ROLE … SET role would switch to another role.
    ("role", "none"),
    ("default_transaction_read_only", "on"),
    // A serializable read-only transaction that is deferrable waits for others to end.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("statement_timeout", "5s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "5s"),
    // `setup` waits for a person to confirm.
    ("idle_session_timeout", "0"),
    // Libraries of the server's `plugins` directory.
    ("local_preload_libraries", ""),
    // How statements are parsed.
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("escape_string_warning", "off"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    // How values are formatted.
    ("quote_all_identifiers", "off"),
    ("bytea_output", "hex"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("client_min_messages", "error"),
    // Limits on the cost of a statement.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("work_mem", "4MB"),
    // What happens on errors, and when a change counts as committed.
    ("exit_on_error", "off"),
    ("synchronous_commit", "on"),
];

/// Further settings of a superuser's session, on 17 and later: triggers that the database has for logins and for statements
/// such as GRANT run functions that may belong to somebody else.
const FROM_17: [(&str, &str); 2] = [("event_triggers", "off"), ("transaction_timeout", "0")];

/// The setting with this effect before 17, where no trigger runs at a login: triggers that are enabled normally do not run.
pub(super) const AS_A_REPLICA: &str = "SET session_replication_role = replica";

/// From this version on, `event_triggers` and `transaction_timeout` exist.
pub(super) const HAS_EVENT_TRIGGERS: u32 = 17;

/// A limit that only 17 and later have, so that it cannot be among the options.
pub(super) const NO_TRANSACTION_TIMEOUT: &str = "SET transaction_timeout = 0";

/// Whether the role is a superuser, and whether event triggers run in the session, from 17 on.
pub(super) const EVENT_TRIGGERS: &str = "\
    SELECT pg_catalog.current_setting('is_superuser'), pg_catalog.current_setting('event_triggers')";

/// The event triggers that still run before 17: those that are enabled for replicas.
pub(super) const TRIGGERS_LEFT: &str = "\
    SELECT evtname FROM pg_catalog.pg_event_trigger WHERE evtenabled IN ('A', 'R') ORDER BY evtname";

/// The first function or operator in `pg_catalog` that was created after `initdb` by a role that is no superuser. PostgreSQL
/// prefers a function for exactly the types of its arguments to its own function for any type. This query is safe, because
/// PostgreSQL itself has each of its operators for exactly these types.
pub(super) const PLANTED: &str = "\
    SELECT 'FUNCTION', p.oid::pg_catalog.regprocedure::pg_catalog.text, r.rolname \
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner \
     WHERE p.pronamespace = '11'::pg_catalog.oid AND p.oid >= '16384'::pg_catalog.oid AND NOT r.rolsuper \
    UNION ALL \
    SELECT 'OPERATOR', o.oid::pg_catalog.regoperator::pg_catalog.text, r.rolname \
      FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_roles r ON r.oid = o.oprowner \
     WHERE o.oprnamespace = '11'::pg_catalog.oid AND o.oid >= '16384'::pg_catalog.oid AND NOT r.rolsuper \
     LIMIT 1";

/// Shows by the token whether the options have arrived, because a pooler may drop them; and the server's port.
pub(super) const IN_FORCE: &str = "\
    SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_setting('role'), \
           pg_catalog.current_setting('pgsvid.session', true), pg_catalog.current_setting('is_superuser'), \
           pg_catalog.current_setting('port')";

/// The options of the start-up packet (PostgreSQL: `process_postgres_switches`). A backslash escapes a blank.
pub(super) fn options(token: &str) -> String {
    listed(&ALWAYS) + &listed(&[("pgsvid.session", token)])
}

/// The options of the start-up packet for a superuser of a server of version 17 or later; other servers refuse them.
pub(super) fn options_from_17(token: &str) -> String {
    options(token) + &listed(&FROM_17)
}

fn listed(settings: &[(&str, &str)]) -> String {
    let mut options = String::new();
    for (name, value) in settings {
        let _ = write!(options, "-c {name}={} ", value.replace(' ', "\\ "));
    }
    options
}
