//! The SQL that sets a server up, for printing and for executing. Each function only returns the text of one statement, except
//! [`role_script`]: ALTER SYSTEM can run neither in a transaction nor in a batch.

use postgres_protocol::escape;

/// Connections that the role may have: a rotation needs one, `check` another one, and one is spare.
const CONNECTIONS: u32 = 3;
/// The role whose members may use the slots of `reserved_connections` (PostgreSQL 16 and later).
pub(super) const RESERVE: &str = "pg_use_reserved_connections";

/// Words that cannot be names without quotes (PostgreSQL 18: the reserved ones of `kwlist.h`).
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

/// A role's name in SQL.
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

/// A text in SQL, independent of `standard_conforming_strings`.
#[must_use]
pub fn literal(text: &str) -> String {
    // `escape_literal` puts a blank before the E of a text with backslashes.
    escape::escape_literal(text).trim_start().to_owned()
}

/// A text in postgresql.conf.
#[must_use]
pub fn configuration_value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Creates the role that reloads.
#[must_use]
pub fn create_role(role: &str) -> String {
    format!("CREATE ROLE {} LOGIN CONNECTION LIMIT {CONNECTIONS}", identifier(role))
}

/// Sets the role's connection limit to what it needs.
#[must_use]
pub fn limit_connections(role: &str) -> String {
    format!("ALTER ROLE {} CONNECTION LIMIT {CONNECTIONS}", identifier(role))
}

/// Removes the expiry of the role's password.
#[must_use]
pub fn remove_password_expiry(role: &str) -> String {
    format!("ALTER ROLE {} VALID UNTIL 'infinity'", identifier(role))
}

/// Lets the role connect to the database.
#[must_use]
pub fn grant_connect(database: &str, role: &str) -> String {
    format!("GRANT CONNECT ON DATABASE {} TO {}", identifier(database), identifier(role))
}

/// Removes the connection limit of the database.
#[must_use]
pub fn remove_connection_limit(database: &str) -> String {
    format!("ALTER DATABASE {} CONNECTION LIMIT -1", identifier(database))
}

/// Allows connections to the database.
#[must_use]
pub fn allow_connections(database: &str) -> String {
    format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(database))
}

/// Lets the role log in.
#[must_use]
pub fn let_log_in(role: &str) -> String {
    format!("ALTER ROLE {} LOGIN", identifier(role))
}

/// Forbids the role to log in.
#[must_use]
pub fn forbid_login(role: &str) -> String {
    format!("ALTER ROLE {} NOLOGIN", identifier(role))
}

/// Revokes the role's rights in one database, and removes what it owns there.
#[must_use]
pub fn drop_owned(role: &str) -> String {
    format!("DROP OWNED BY {}", identifier(role))
}

/// Removes the role.
#[must_use]
pub fn drop_role(role: &str) -> String {
    format!("DROP ROLE IF EXISTS {}", identifier(role))
}

/// Lets the role reload, from the database in which this is executed.
#[must_use]
pub fn grant_reload(role: &str) -> String {
    format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {}", identifier(role))
}

/// Lets a role see every setting. From 16 on a role that does not inherit needs the option.
#[must_use]
pub fn grant_settings(role: &str, version: u32) -> String {
    let inherit = if version >= 160_000 { " WITH INHERIT TRUE" } else { "" };
    format!("GRANT pg_read_all_settings TO {}{inherit}", identifier(role))
}

/// Revokes the right to reload.
#[must_use]
pub fn revoke_reload(role: &str) -> String {
    format!("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() FROM {}", identifier(role))
}

/// Lets the role use the slots of `reserved_connections`; 16 and later. A NOINHERIT role needs the option (measured on
/// 16.14).
#[must_use]
pub fn grant_reserve(role: &str) -> String {
    format!("GRANT {RESERVE} TO {} WITH INHERIT TRUE", identifier(role))
}

/// Revokes the use of these slots.
#[must_use]
pub fn revoke_reserve(role: &str) -> String {
    format!("REVOKE {RESERVE} FROM {}", identifier(role))
}

/// Revokes a membership. From PostgreSQL 16 on the statement must name the grantor, and also revokes what depends on it.
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

/// Returns a setting to its value in `postgresql.conf`.
#[must_use]
pub fn alter_system_reset(name: &str) -> String {
    format!("ALTER SYSTEM RESET {name}")
}

/// Whether a statement can run event triggers: statements about roles and about the server's settings run none (PostgreSQL:
/// "Overview of Event Trigger Behavior").
pub(super) fn fires_event_triggers(statement: &str) -> bool {
    statement.contains(" ON FUNCTION ")
}

/// The beginning of a script that a superuser runs. The script must not depend on the database owner's settings: encoding,
/// `search_path`, role, event triggers.
pub const SCRIPT_HEAD: &str = "\
\\set ON_ERROR_STOP on

-- Names are looked up only in pg_catalog, and the session acts as a superuser, whatever this database's settings say. Event
-- triggers that are enabled normally do not run.
SET client_encoding = UTF8;
SET standard_conforming_strings = on;
SET search_path = '';
SET role = none;
SET default_transaction_read_only = off;
SET session_replication_role = replica;
SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'event_triggers')
            THEN pg_catalog.set_config('event_triggers', 'off', false) END \\g /dev/null
";

/// The role and its grants as a script that can be run again, on any version.
#[must_use]
pub fn role_script(role: &str) -> String {
    let name = literal(role);
    format!(
        "\
{SCRIPT_HEAD}
-- The role that requests reloads.
DO $pgsvid$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN
    {create};
  END IF;
END $pgsvid$;

-- The only right that it needs. The grant applies only in the database where it is made.
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
    fn a84_a_membership_is_taken_back_in_the_name_of_its_grantor() {
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
