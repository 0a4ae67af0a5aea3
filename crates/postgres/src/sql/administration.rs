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

/// How many superusers are examined.
pub const MOST_SUPERUSERS: usize = 100;
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

/// A role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Role {
    /// Whether it may log in.
    pub can_log_in: bool,
    /// Whether it may do everything.
    pub superuser: bool,
}

/// A role that can log in, and do everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superuser {
    /// The role.
    pub role: String,
    /// Why it can do everything.
    pub by: Might,
}

/// Why a role can do everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Might {
    /// It is a superuser.
    Attribute,
    /// It is a member of this role, which can do everything for one of these reasons, or is a predefined role that reads or
    /// writes files or runs programs as the server (PostgreSQL: "Predefined Roles").
    Membership(Membership),
    /// It may replicate, and a logical slot loads any library as its plugin (PostgreSQL: `LoadOutputPlugin`).
    Replication,
    /// It has CREATEROLE, and so can grant itself the predefined roles for files and programs (before PostgreSQL 16).
    CreateRole,
    /// It has a grant that leads to a superuser's rights.
    Grant(Grant),
}

/// A right on a function or a parameter that is equivalent to a superuser's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The right: `EXECUTE on lo_export`.
    pub what: String,
    /// The statement that revokes it.
    pub revoke: String,
}

/// A membership.
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
const GRANTED_BY: &str = "CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000 THEN g.rolname END";

type Row = Vec<Option<String>>;

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

/// Functions that read or write files as the server's user, or log in as it (PostgreSQL: "Generic File Access Functions",
/// "Server-side large object functions", `adminpack`, `dblink`). Only superusers may call them, unless EXECUTE is granted.
const FUNCTIONS: &str = "'lo_export', 'lo_import', 'pg_read_file', 'pg_read_binary_file', 'pg_file_write', 'pg_file_rename', \
    'pg_file_unlink', 'dblink_connect_u'";

/// Parameters that name programs, libraries, files that decide who may log in, and files that the server writes (PostgreSQL:
/// "GRANT", ALTER SYSTEM).
const PARAMETERS: &str = "'archive_command', 'archive_cleanup_command', 'restore_command', 'recovery_end_command', \
    'ssl_passphrase_command', 'archive_library', 'shared_preload_libraries', 'session_preload_libraries', 'local_preload_libraries', \
    'jit_provider', 'dynamic_library_path', 'extension_control_path', 'oauth_validator_libraries', 'hba_file', 'ident_file', \
    'config_file', 'data_directory', 'external_pid_file', 'krb_server_keyfile', 'log_directory', 'log_filename', 'log_file_mode', \
    'ssl_ca_file', 'ssl_cert_file', 'ssl_key_file', 'ssl_crl_file', 'ssl_crl_dir', 'unix_socket_directories', \
    'allow_system_table_mods'";

/// Parameters by which a session with SET on them loads code, or can change system tables.
const SESSION_PARAMETERS: &str = "'session_preload_libraries', 'dynamic_library_path', 'jit_provider', 'allow_system_table_mods', \
    'plperl.on_plperl_init', 'plperl.on_plperlu_init', 'plperl.on_init', 'pltclu.start_proc', 'lo_compat_privileges'";

/// Rights that are equivalent to a superuser's: who has them, what they are, and how to revoke them. Functions are those of
/// this database only.
fn grants(version: u32) -> String {
    let functions = format!(
        "SELECT a.grantee, 'EXECUTE on ' || p.proname AS what, \
                'REVOKE EXECUTE ON FUNCTION ' || p.oid::pg_catalog.regprocedure::pg_catalog.text AS revoke \
           FROM pg_catalog.pg_proc p, \
                LATERAL pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) a \
          WHERE p.proname IN ({FUNCTIONS}) AND a.grantee <> p.proowner \
            AND p.prolang IN (SELECT oid FROM pg_catalog.pg_language WHERE lanname IN ('c', 'internal')) \
         UNION ALL \
         SELECT a.grantee, 'CREATE on schema pg_catalog', 'REVOKE CREATE ON SCHEMA pg_catalog' \
           FROM pg_catalog.pg_namespace n, LATERAL pg_catalog.aclexplode(n.nspacl) a \
          WHERE n.nspname = 'pg_catalog' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner"
    );
    if version < HAS_PARAMETER_GRANTS {
        return functions;
    }
    format!(
        "{functions} UNION ALL \
         SELECT a.grantee, a.privilege_type || ' on ' || p.parname, \
                'REVOKE ' || a.privilege_type || ' ON PARAMETER ' || p.parname \
           FROM pg_catalog.pg_parameter_acl p, LATERAL pg_catalog.aclexplode(p.paracl) a \
          WHERE a.grantee <> 10 \
            AND (a.privilege_type = 'ALTER SYSTEM' AND p.parname IN ({PARAMETERS}) \
                 OR a.privilege_type = 'SET' AND p.parname IN ({SESSION_PARAMETERS}))"
    )
}

/// From this version on parameters can be granted.
const HAS_PARAMETER_GRANTS: u32 = 15;

/// The query for the roles that can log in, and that are superusers or can get a superuser's rights. The session's role comes
/// first, then superusers, then the others, each group by OID. It returns [`MOST_SUPERUSERS`] + 1 rows at most, so that the
/// caller sees whether there are more. A member of a role may SET ROLE to it. A role with CREATEROLE before PostgreSQL 16 may
/// grant the three predefined roles, which lead to a superuser's rights (PostgreSQL: "Predefined Roles"). With
/// `wal_level = logical` a role with REPLICATION can name any library, which the server loads.
pub(super) fn superusers_query(version: u32) -> String {
    let grants = grants(version);
    format!(
        "WITH RECURSIVE granted (grantee, what, revoke) AS ({grants}), mighty (oid) AS ( \
             (SELECT oid FROM pg_catalog.pg_roles \
               WHERE rolsuper \
                  OR rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files') \
                  OR (rolcreaterole AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 160000) \
                  OR (rolreplication AND pg_catalog.current_setting('wal_level') = 'logical') \
              UNION \
              SELECT r.oid FROM granted g JOIN pg_catalog.pg_roles r ON g.grantee IN (0, r.oid)) \
             UNION \
             SELECT m.member FROM mighty JOIN pg_catalog.pg_auth_members m ON m.roleid = mighty.oid) \
         SELECT r.rolname, r.rolsuper, way.role, way.granted_by, own.what, \
                own.revoke || ' FROM ' || CASE own.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END || ' CASCADE', \
                r.rolreplication AND pg_catalog.current_setting('wal_level') = 'logical' \
           FROM mighty JOIN pg_catalog.pg_roles r ON r.oid = mighty.oid \
           LEFT JOIN LATERAL ( \
                SELECT other.rolname AS role, {GRANTED_BY} AS granted_by FROM pg_catalog.pg_auth_members m \
                  JOIN mighty ON mighty.oid = m.roleid JOIN pg_catalog.pg_roles other ON other.oid = m.roleid \
                  LEFT JOIN pg_catalog.pg_roles g ON g.oid = m.grantor \
                 WHERE m.member = r.oid ORDER BY other.oid LIMIT 1) way ON true \
           LEFT JOIN LATERAL ( \
                SELECT granted.* FROM granted WHERE granted.grantee IN (0, r.oid) \
                 ORDER BY granted.grantee DESC, granted.what LIMIT 1) own ON true \
          WHERE r.rolcanlogin ORDER BY r.rolname <> current_user, NOT r.rolsuper, r.oid LIMIT {}",
        MOST_SUPERUSERS + 1
    )
}

pub(super) fn superusers(rows: &[Row]) -> Vec<Superuser> {
    let superuser = |row: &Row| match row.as_slice() {
        [Some(role), Some(is_superuser), member_of, granted_by, what, revoke, replicates] => {
            Some(Superuser {
                role: role.clone(),
                by: match (what, revoke, member_of) {
                    _ if is_superuser == "t" => Might::Attribute,
                    (Some(what), Some(revoke), _) => {
                        Might::Grant(Grant { what: what.clone(), revoke: revoke.clone() })
                    }
                    (_, _, Some(role)) => Might::Membership(Membership {
                        role: role.clone(),
                        granted_by: granted_by.clone(),
                    }),
                    _ if replicates.as_deref() == Some("t") => Might::Replication,
                    _ => Might::CreateRole,
                },
            })
        }
        _ => None,
    };
    rows.iter().filter_map(superuser).collect()
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
