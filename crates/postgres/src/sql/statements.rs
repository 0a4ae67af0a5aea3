//! The SQL that sets a server up, for printing and for executing. Each is one statement: ALTER SYSTEM runs in no
//! transaction and no batch.

use postgres_protocol::escape;

/// Connections that the role may have: a rotation needs one, and `check` another.
const CONNECTIONS: u32 = 3;
/// The role whose members may use the slots of `reserved_connections` (PostgreSQL 16 and later).
pub(super) const RESERVE: &str = "pg_use_reserved_connections";

/// Words that name nothing without quotes (PostgreSQL 18: the reserved ones of `kwlist.h`).
const RESERVED: [&str; 87] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "some",
    "symmetric",
    "system_user",
    "table",
    "then",
    "to",
    "union",
    "unique",
    "user",
    "using",
    "with",
];

/// A role's name as SQL wants it.
#[must_use]
pub fn identifier(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) {
        name.to_owned()
    } else {
        escape::escape_identifier(name)
    }
}

/// A text as SQL wants it, whatever `standard_conforming_strings` is.
#[must_use]
pub fn literal(text: &str) -> String {
    // With a blank before the E of a text with backslashes.
    escape::escape_literal(text).trim_start().to_owned()
}

/// A text as postgresql.conf wants it.
#[must_use]
pub fn configuration_value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Makes the role that reloads.
#[must_use]
pub fn create_role(role: &str) -> String {
    format!("CREATE ROLE {} LOGIN CONNECTION LIMIT {CONNECTIONS}", identifier(role))
}

/// Lets the role log in.
#[must_use]
pub fn let_log_in(role: &str) -> String {
    format!("ALTER ROLE {} LOGIN", identifier(role))
}

/// Takes that back.
#[must_use]
pub fn let_not_log_in(role: &str) -> String {
    format!("ALTER ROLE {} NOLOGIN", identifier(role))
}

/// Removes the role.
#[must_use]
pub fn drop_role(role: &str) -> String {
    format!("DROP ROLE IF EXISTS {}", identifier(role))
}

/// Lets the role reload, from the database where this is executed.
#[must_use]
pub fn grant_reload(role: &str) -> String {
    format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {}", identifier(role))
}

/// Takes that back.
#[must_use]
pub fn revoke_reload(role: &str) -> String {
    format!("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() FROM {}", identifier(role))
}

/// Lets the role use the slots of `reserved_connections`; 16 and later. A NOINHERIT role needs the option (measured
/// on 16.14).
#[must_use]
pub fn grant_reserve(role: &str) -> String {
    format!("GRANT {RESERVE} TO {} WITH INHERIT TRUE", identifier(role))
}

/// Takes that back.
#[must_use]
pub fn revoke_reserve(role: &str) -> String {
    format!("REVOKE {RESERVE} FROM {}", identifier(role))
}

/// Takes a membership back. From PostgreSQL 16 on that has to name who granted it, and what hangs on it goes with it.
#[must_use]
pub fn revoke_membership(role: &str, member: &str, granted_by: Option<&str>) -> String {
    let statement = format!("REVOKE {} FROM {}", identifier(role), identifier(member));
    match granted_by {
        Some(grantor) => format!("{statement} GRANTED BY {} CASCADE", identifier(grantor)),
        None => statement,
    }
}

/// Sets a setting for the whole server, in `postgresql.auto.conf`.
#[must_use]
pub fn alter_system(name: &str, value: &str) -> String {
    format!("ALTER SYSTEM SET {name} = {}", literal(value))
}

/// Leaves a setting to `postgresql.conf` again.
#[must_use]
pub fn alter_system_reset(name: &str) -> String {
    format!("ALTER SYSTEM RESET {name}")
}

/// Whether event triggers can run by a statement: those about roles and about the server's settings set off none
/// (PostgreSQL: "Overview of Event Trigger Behavior").
pub(super) fn fires_event_triggers(statement: &str) -> bool {
    statement.contains(" ON FUNCTION ")
}

/// The role and its grants as a script that may be executed again, on any version.
#[must_use]
pub fn role_script(role: &str) -> String {
    let name = literal(role);
    format!(
        "\
\\set ON_ERROR_STOP on

-- Names are looked up in pg_catalog alone, and it is a superuser who acts, whatever this database's settings say. No event
-- trigger runs that is enabled as usual.
SET search_path = '';
SET role = none;
SET default_transaction_read_only = off;
SET session_replication_role = replica;
SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'event_triggers')
            THEN pg_catalog.set_config('event_triggers', 'off', false) END \\g /dev/null

-- The role that asks for reloads.
DO $pgsvid$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN
    {create};
  END IF;
END $pgsvid$;

-- All that it may do. The grant counts in the database where it is made.
{grant};

-- PostgreSQL 16 and later: it may use the slots that reserved_connections keeps back.
DO $pgsvid$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{RESERVE}') THEN
    EXECUTE pg_catalog.format('GRANT {RESERVE} TO %I WITH INHERIT TRUE', {name});
  END IF;
END $pgsvid$;
",
        create = create_role(role),
        grant = grant_reload(role),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a84_a_membership_is_taken_back_from_whoever_has_granted_it() {
        assert_eq!(revoke_membership("Dba", "pgsvid", None), "REVOKE \"Dba\" FROM pgsvid");
        let from_16_on = "REVOKE dba FROM pgsvid GRANTED BY \"user\" CASCADE";
        assert_eq!(revoke_membership("dba", "pgsvid", Some("user")), from_16_on);
    }

    #[test]
    fn names_and_texts_are_quoted_where_they_must_be() {
        for (name, quoted) in [
            ("pgsvid", "pgsvid"),
            ("pg_svid2", "pg_svid2"),
            ("2nd", "\"2nd\""),
            ("Pg-Svid", "\"Pg-Svid\""),
            ("a\"b", "\"a\"\"b\""),
            ("", "\"\""),
            ("user", "\"user\""),
            ("select", "\"select\""),
        ] {
            assert_eq!(identifier(name), quoted);
        }
        assert_eq!(literal("/svids/o'neill"), "'/svids/o''neill'");
        assert_eq!(literal("a\\b"), "E'a\\\\b'");
        assert_eq!(configuration_value("a\\b"), "'a\\\\b'");
    }
}
