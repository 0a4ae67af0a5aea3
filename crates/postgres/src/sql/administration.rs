//! What a superuser sees of a server before setup, or after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::Error;
use super::settings::TlsSettings;
use super::statements::{RESERVE, literal};

/// The four settings that make PostgreSQL serve a published set.
pub const TLS_SETTINGS: [&str; 4] = ["ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl"];

/// Settings with paths, and signs of another manager. A setting that this version lacks has no row.
pub(super) const SERVER: &str = "\
    SELECT name, setting FROM pg_catalog.pg_settings \
     WHERE name IN ('data_directory', 'config_file', 'hba_file', 'ident_file', 'allow_alter_system') \
    UNION ALL SELECT 'is_superuser', pg_catalog.current_setting('is_superuser') \
    UNION ALL \
    SELECT 'started', pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()))::pg_catalog.text \
    UNION ALL \
    SELECT 'recovery', pg_catalog.pg_is_in_recovery()::pg_catalog.text";

/// Two facts in the data directory and in postgresql.conf that reveal a manager; for superusers.
pub(super) const MANAGER: &str = "\
    SELECT 'patroni', ((pg_catalog.pg_stat_file('patroni.dynamic.json', true)).size IS NOT NULL \
        OR pg_catalog.position(pg_catalog.pg_read_binary_file(pg_catalog.current_setting('config_file'), 0, 200), \
            'overwritten by Patroni'::pg_catalog.bytea) > 0 \
    )::pg_catalog.text \
    UNION ALL \
    SELECT 'cloudnativepg', EXISTS ( \
        SELECT FROM pg_catalog.pg_file_settings \
         WHERE sourcefile = pg_catalog.current_setting('data_directory') || '/custom.conf')::pg_catalog.text";

/// What ALTER SYSTEM has set, in the order of the file: of equal names the last one is in force.
pub(super) const ALTERED: &str = "\
    SELECT name, setting FROM pg_catalog.pg_file_settings \
     WHERE sourcefile = pg_catalog.current_setting('data_directory') || '/postgresql.auto.conf' ORDER BY seqno";

/// How many related roles of one kind are examined.
pub const MOST_RELATED: usize = 20;

/// What manages a server's configuration, and would undo changes by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Patroni, and the operators that build on it.
    Patroni,
    /// `CloudNativePG`.
    CloudNativePg,
    /// Another manager: `allow_alter_system` is off.
    Somebody,
}

/// What setup needs to know of a role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Role {
    /// Whether it may log in.
    pub can_log_in: bool,
    /// Whether it may do everything.
    pub superuser: bool,
}

/// A membership between the examined role and another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The other role.
    pub role: String,
    /// The grantor, if a REVOKE must name it: from PostgreSQL 16 on there can be several grants.
    pub granted_by: Option<String>,
}

/// Rights of a role that may be unintended, and the roles that can act as it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Related {
    /// Its attributes, as ALTER ROLE names them: SUPERUSER, CREATEROLE, CREATEDB, REPLICATION, BYPASSRLS.
    pub attributes: Vec<String>,
    /// Whether it has a password.
    pub password: bool,
    /// Roles whose rights it has, at most [`MOST_RELATED`].
    pub member_of: Vec<Membership>,
    /// Roles that have its rights, can act as it, or can let others do so, at most [`MOST_RELATED`].
    pub members: Vec<Membership>,
}

/// The server, as a superuser sees it.
#[derive(Debug, Clone)]
pub struct Administration {
    /// The settings that concern TLS.
    pub tls: TlsSettings,
    /// `data_directory`, as the server sees it.
    pub data_directory: PathBuf,
    /// `hba_file`, as the server sees it.
    pub hba_file: PathBuf,
    /// `ident_file`, as the server sees it.
    pub ident_file: PathBuf,
    /// When the postmaster started, in seconds since 1970.
    pub started: u64,
    /// Whether it is in recovery; then roles cannot be created.
    pub in_recovery: bool,
    /// What manages the configuration, if anything.
    pub manager: Option<Manager>,
    /// The settings that ALTER SYSTEM has set.
    pub altered: BTreeMap<String, String>,
    /// The requested roles that exist.
    pub roles: BTreeMap<String, Role>,
    /// The rights of the role that reloads, and the roles that can act as it.
    pub related: Related,
    /// Whether the role that reloads may call `pg_reload_conf()` in this database.
    pub may_reload: bool,
    /// Whether slots are reserved for it; `None` before PostgreSQL 16.
    pub has_reserve: Option<bool>,
    /// Which of the published files the server sees.
    pub sees: BTreeSet<PathBuf>,
}

/// The grantor of a membership, if a REVOKE must name it.
pub(super) const GRANTED_BY: &str = "CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000 THEN g.rolname END";

pub(super) type Row = Vec<Option<String>>;

/// Rows of a name and a value.
pub(super) fn pairs(rows: &[Row]) -> BTreeMap<String, String> {
    rows.iter()
        .filter_map(|row| match row.as_slice() {
            [Some(name), Some(value), ..] => Some((name.clone(), value.clone())),
            _ => None,
        })
        .collect()
}

/// The rights of the role; one row, or none if the role does not exist.
pub(super) fn role_query(role: &str) -> String {
    format!(
        "SELECT pg_catalog.has_function_privilege(r.oid, 'pg_catalog.pg_reload_conf()', 'EXECUTE'), \
                (SELECT pg_catalog.pg_has_role(r.oid, reserve.oid, 'USAGE') FROM pg_catalog.pg_roles reserve \
                  WHERE reserve.rolname = '{RESERVE}') \
           FROM pg_catalog.pg_roles r WHERE r.rolname = {}",
        literal(role)
    )
}

/// The query for those of the named roles that exist. Listing all roles of a server would be too much.
pub(super) fn roles_query(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    format!(
        "SELECT rolname, rolcanlogin, rolsuper FROM pg_catalog.pg_roles WHERE rolname IN ({})",
        names.join(", ")
    )
}

pub(super) fn roles(rows: &[Row]) -> BTreeMap<String, Role> {
    let is = |value: &str| value == "t";
    rows.iter()
        .filter_map(|row| match row.as_slice() {
            [Some(name), Some(can_log_in), Some(superuser)] => {
                Some((name.clone(), Role { can_log_in: is(can_log_in), superuser: is(superuser) }))
            }
            _ => None,
        })
        .collect()
}

/// The query for a role's attributes and memberships, and for its members: rows of a kind, a name, and the grantor if a REVOKE
/// must name it. Only a superuser can execute it, because it reads `pg_authid` to see whether the role has a password.
pub(super) fn related_query(role: &str) -> String {
    let role = literal(role);
    format!(
        "SELECT 'attribute', a.name, NULL FROM pg_catalog.pg_authid r, \
                LATERAL (VALUES ('SUPERUSER', r.rolsuper), ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb), \
                                ('REPLICATION', r.rolreplication), ('BYPASSRLS', r.rolbypassrls), \
                                ('PASSWORD', r.rolpassword IS NOT NULL)) AS a (name, has) \
          WHERE r.rolname = {role} AND a.has \
         UNION ALL \
         (SELECT DISTINCT 'member of', other.rolname, {GRANTED_BY} FROM pg_catalog.pg_auth_members m \
            LEFT JOIN pg_catalog.pg_authid g ON g.oid = m.grantor \
            JOIN pg_catalog.pg_authid r ON r.oid = m.member JOIN pg_catalog.pg_authid other ON other.oid = m.roleid \
           WHERE r.rolname = {role} AND other.rolname <> '{RESERVE}' ORDER BY 2, 3 LIMIT {MOST_RELATED}) \
         UNION ALL \
         (SELECT DISTINCT 'member', other.rolname, {GRANTED_BY} FROM pg_catalog.pg_auth_members m \
            LEFT JOIN pg_catalog.pg_authid g ON g.oid = m.grantor \
            JOIN pg_catalog.pg_authid r ON r.oid = m.roleid JOIN pg_catalog.pg_authid other ON other.oid = m.member \
           WHERE r.rolname = {role} ORDER BY 2, 3 LIMIT {MOST_RELATED})"
    )
}

pub(super) fn related(rows: &[Row]) -> Related {
    let mut related = Related::default();
    for row in rows {
        let [Some(kind), Some(name), granted_by] = row.as_slice() else { continue };
        let membership = || Membership { role: name.clone(), granted_by: granted_by.clone() };
        match (kind.as_str(), name.as_str()) {
            ("attribute", "PASSWORD") => related.password = true,
            ("attribute", _) => related.attributes.push(name.clone()),
            ("member of", _) => related.member_of.push(membership()),
            _ => related.members.push(membership()),
        }
    }
    related
}

/// Which of `files` the server can see.
pub(super) fn sees_query(files: &[&Path]) -> String {
    let values: Vec<String> =
        files.iter().map(|file| format!("({})", literal(&file.display().to_string()))).collect();
    format!(
        "SELECT file, ((pg_catalog.pg_stat_file(file, true)).size IS NOT NULL)::pg_catalog.text \
           FROM (VALUES {}) AS v (file)",
        values.join(", ")
    )
}

pub(super) fn manager(
    server: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Option<Manager> {
    let is = |map: &BTreeMap<String, String>, name: &str, value: &str| {
        map.get(name).is_some_and(|found| found == value)
    };
    if is(found, "patroni", "true") {
        Some(Manager::Patroni)
    } else if is(found, "cloudnativepg", "true") {
        Some(Manager::CloudNativePg)
    } else {
        is(server, "allow_alter_system", "off").then_some(Manager::Somebody)
    }
}

pub(super) fn path(server: &BTreeMap<String, String>, name: &str) -> Result<PathBuf, Error> {
    server.get(name).map(PathBuf::from).ok_or(Error::Unexpected)
}
