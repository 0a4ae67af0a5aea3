//! Which roles are superusers, or have rights that lead to a superuser's rights.

use super::administration::{GRANTED_BY, Membership, Row};
use super::error::Error;
use super::session::Session;
use super::socket::Allowance;

/// How many superusers are examined.
pub const MOST_SUPERUSERS: usize = 100;
/// A role that can log in, and do everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superuser {
    /// The role.
    pub role: String,
    /// Why it can do everything.
    pub by: SuperuserReason,
}

/// Why a role can do everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuperuserReason {
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

impl Session {
    /// Roles that log in and can do everything, or can gain that, and whether there are more.
    pub async fn superusers(&self) -> Result<(Vec<Superuser>, bool), Error> {
        let rows = self.rows(&superusers_query(self.version), Allowance::FEW).await?;
        let mut found = superusers(&rows);
        let more = found.len() > MOST_SUPERUSERS;
        found.truncate(MOST_SUPERUSERS);
        Ok((found, more))
    }

    /// Some foreign servers with a user mapping that this session's role cannot judge, because it may not see its options.
    pub async fn hidden_mappings(&self) -> Result<Vec<String>, Error> {
        let rows = self.rows(&hidden_mappings_query(), Allowance::FEW).await?;
        Ok(rows.into_iter().filter_map(|mut row| row.pop().flatten()).collect())
    }
}

/// C functions that read or write files as the server's user (PostgreSQL: `genfile.c`, `be-fsstubs.c`, `adminpack.c`). They
/// are found by symbol: a superuser can create a function with another name for the same symbol, and PUBLIC may execute that one.
/// Symbols that check for a superuser themselves (`pg_read_file`, `pg_file_write`) are not among them.
const SYMBOLS: &str = "'be_lo_export', 'be_lo_import', 'be_lo_import_with_oid', \
    'pg_read_file_v2', 'pg_read_file_all', 'pg_read_file_all_missing', 'pg_read_file_off_len', 'pg_read_file_off_len_missing', \
    'pg_read_binary_file', 'pg_read_binary_file_all', 'pg_read_binary_file_all_missing', 'pg_read_binary_file_off_len', \
    'pg_read_binary_file_off_len_missing', 'pg_file_write_v1_1', 'pg_file_rename_v1_1', 'pg_file_unlink_v1_1'";

/// Handlers of languages that are not confined (PostgreSQL: "Procedural Languages").
const HANDLERS: &str = "'plperlu_call_handler', 'pltclu_call_handler', 'plpython_call_handler', 'plpython2_call_handler', \
    'plpython3_call_handler', 'plsh_handler', 'plr_call_handler'";

/// Parameters that name programs, libraries, servers to copy from, files that decide who may log in, and files that the server
/// writes, and code of languages (PostgreSQL: "GRANT", ALTER SYSTEM).
const PARAMETERS: &str = "'archive_command', 'archive_cleanup_command', 'restore_command', 'recovery_end_command', \
    'ssl_passphrase_command', 'archive_library', 'shared_preload_libraries', 'session_preload_libraries', 'local_preload_libraries', \
    'jit_provider', 'dynamic_library_path', 'extension_control_path', 'oauth_validator_libraries', 'hba_file', 'ident_file', \
    'config_file', 'data_directory', 'external_pid_file', 'krb_server_keyfile', 'log_directory', 'log_filename', 'log_file_mode', \
    'ssl_ca_file', 'ssl_cert_file', 'ssl_key_file', 'ssl_crl_file', 'ssl_crl_dir', 'ssl_dh_params_file', 'unix_socket_directories', \
    'stats_temp_directory', 'promote_trigger_file', 'primary_conninfo', 'allow_system_table_mods', 'lo_compat_privileges'";

/// Parameters by which a session with SET on them loads code, or can change system tables.
const SESSION_PARAMETERS: &str = "'session_preload_libraries', 'dynamic_library_path', 'extension_control_path', 'jit_provider', \
    'allow_system_table_mods', 'lo_compat_privileges'";

/// Parameters of extensions that hold code, or name programs, libraries or files: an expression about their names, because
/// every extension brings its own (`plperl.on_init`, `pltclu.start_proc`, `pljava.classpath`, …).
const EXTENSIONS_PARAMETERS: &str = "'[.](.*_)?(init|start_proc|proc|command|cmd|program|exec|library|libraries|path|classpath|\
    location|directory|dir|file|filename|vmoptions|host|conninfo)$'";

/// A grantee, as a statement names it.
const GRANTEE: &str = "CASE a.grantee WHEN 0 THEN 'PUBLIC' \
    ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END";

/// A superuser, as a statement names it: the first one, who owns what PostgreSQL ships.
const OWNER: &str = "(SELECT pg_catalog.quote_ident(rolname) FROM pg_catalog.pg_roles WHERE rolsuper ORDER BY oid LIMIT 1)";

/// Functions that do what only a superuser may: those with one of [`SYMBOLS`]; all of the server's own that run with a
/// superuser's rights (SECURITY DEFINER); and those of dblink that do so, such as `dblink_connect_u`, because they log in as the
/// server's user.
fn functions() -> String {
    format!(
        "SELECT p.*, o.rolsuper FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles o ON o.oid = p.proowner \
          WHERE p.prolang IN (12, 13) AND (p.prosrc IN ({SYMBOLS}) \
             OR p.prosecdef AND o.rolsuper AND (p.prolang = 12 OR p.prosrc LIKE 'dblink%'))"
    )
}

/// User mappings by which the server logs in to itself as a superuser: those without a password, whose role may name any user
/// (`ALTER USER MAPPING`), and those with a superuser's name and a password. An address counts as the server's own if it is a socket, a
/// loopback address, unknown, or a number that is not spelled as four plain decimal ones, or if the mapping's role may change it. Rows: the mapping, its role, and its server's.
const MAPPINGS: &str = "\
    SELECT m.umid, m.umuser, m.umoptions, s.oid AS server, s.srvname, s.srvowner, s.srvacl, option.* \
      FROM pg_catalog.pg_user_mappings m JOIN pg_catalog.pg_foreign_server s ON s.oid = m.srvid \
      JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw \
      LEFT JOIN pg_catalog.pg_proc v ON v.oid = w.fdwvalidator, \
      LATERAL (SELECT \
            pg_catalog.max(value) FILTER (WHERE name = 'hostaddr') AS hostaddr, \
            pg_catalog.max(value) FILTER (WHERE name = 'host') AS host, \
            pg_catalog.max(value) FILTER (WHERE name = 'service') AS service \
           FROM pg_catalog.pg_options_to_table(s.srvoptions) AS o (name, value)) place, \
      LATERAL (SELECT \
            COALESCE(pg_catalog.bool_or(name = 'password_required' AND pg_catalog.lower(value) ~ '^(f|n|of|0)'), false) AS free, \
            pg_catalog.max(value) FILTER (WHERE name = 'user') AS login, \
            COALESCE(pg_catalog.bool_or(name = 'password'), false) AS secret \
           FROM pg_catalog.pg_options_to_table(m.umoptions) AS o (name, value)) option \
     WHERE v.prosrc IN ('postgres_fdw_validator', 'dblink_fdw_validator') \
       AND (place.service IS NOT NULL \
            OR COALESCE(place.hostaddr, place.host, '') ~* '(^|,) *($|,|/|@|localhost|ip6-l|127[.]|0[.]0[.]0[.]0|::|0+:)' \
            OR COALESCE(place.hostaddr, place.host, '') ~* '(^|,) *((0x[0-9a-f]+|[0-9]+)[.]?){1,3} *($|,)' \
            OR COALESCE(place.hostaddr, place.host, '') ~* '(^|,) *([0-9a-fx]+[.]){0,3}0[0-9x][0-9a-fx]*([.][0-9a-fx]+){0,3} *($|,)' \
            OR pg_catalog.pg_has_role(NULLIF(m.umuser, 0), s.srvowner, 'USAGE'))";

/// Rights that are equivalent to a superuser's: who has them, what they are, and how to revoke them. Functions, languages and
/// user mappings are those of this database only.
fn grants(version: u32) -> String {
    let functions = functions();
    let everywhere = format!(
        "SELECT a.grantee, 'EXECUTE on ' || p.proname AS what, \
                'REVOKE EXECUTE ON FUNCTION ' || p.oid::pg_catalog.regprocedure::pg_catalog.text || ' FROM ' || {GRANTEE} || ' CASCADE' \
                AS revoke \
           FROM ({functions}) p, LATERAL pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) a \
          WHERE a.grantee <> p.proowner \
         UNION ALL \
         SELECT p.proowner, 'ownership of ' || p.proname, \
                'ALTER FUNCTION ' || p.oid::pg_catalog.regprocedure::pg_catalog.text || ' SECURITY INVOKER; ALTER FUNCTION ' \
                || p.oid::pg_catalog.regprocedure::pg_catalog.text || ' OWNER TO ' || {OWNER} \
           FROM ({functions}) p WHERE NOT p.rolsuper \
         UNION ALL \
         SELECT a.grantee, 'CREATE on schema pg_catalog', 'REVOKE CREATE ON SCHEMA pg_catalog FROM ' || {GRANTEE} || ' CASCADE' \
           FROM pg_catalog.pg_namespace n, LATERAL pg_catalog.aclexplode(n.nspacl) a \
          WHERE n.nspname = 'pg_catalog' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner \
         UNION ALL \
         SELECT n.nspowner, 'ownership of schema pg_catalog', 'ALTER SCHEMA pg_catalog OWNER TO ' || {OWNER} \
           FROM pg_catalog.pg_namespace n WHERE n.nspname = 'pg_catalog' \
         UNION ALL \
         SELECT a.grantee, 'USAGE on language ' || l.lanname, \
                'REVOKE USAGE ON LANGUAGE ' || pg_catalog.quote_ident(l.lanname) || ' FROM ' || {GRANTEE} || ' CASCADE' \
           FROM pg_catalog.pg_language l LEFT JOIN pg_catalog.pg_proc h ON h.oid = l.lanplcallfoid, \
                LATERAL pg_catalog.aclexplode(COALESCE(l.lanacl, pg_catalog.acldefault('l', l.lanowner))) a \
          WHERE l.lanpltrusted AND (l.oid IN (12, 13) OR h.prosrc IN ({HANDLERS})) \
         UNION ALL \
         SELECT a.grantee, 'the user mapping for server ' || m.srvname, \
                CASE WHEN m.free THEN 'ALTER' ELSE 'DROP' END || ' USER MAPPING FOR ' \
                || CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(m.umuser)) END \
                || ' SERVER ' || pg_catalog.quote_ident(m.srvname) \
                || CASE WHEN m.free THEN ' OPTIONS (DROP password_required)' ELSE '' END \
           FROM ({MAPPINGS}) m, \
                LATERAL (SELECT m.umuser AS grantee WHERE m.umuser <> 0 \
                         UNION SELECT e.grantee FROM pg_catalog.aclexplode( \
                             COALESCE(m.srvacl, pg_catalog.acldefault('S', m.srvowner))) e WHERE m.umuser = 0) a \
          WHERE m.free OR m.secret AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolsuper AND rolname = m.login)"
    );
    if version < HAS_PARAMETER_GRANTS {
        return everywhere;
    }
    format!(
        "{everywhere} UNION ALL \
         SELECT a.grantee, a.privilege_type || ' on ' || p.parname, \
                'REVOKE ' || a.privilege_type || ' ON PARAMETER ' || p.parname || ' FROM ' || {GRANTEE} || ' CASCADE' \
           FROM pg_catalog.pg_parameter_acl p, LATERAL pg_catalog.aclexplode(p.paracl) a \
          WHERE a.grantee <> 10 \
            AND (a.privilege_type = 'ALTER SYSTEM' AND p.parname IN ({PARAMETERS}) \
                 OR a.privilege_type = 'SET' AND p.parname IN ({SESSION_PARAMETERS}) \
                 OR p.parname ~ {EXTENSIONS_PARAMETERS})"
    )
}

/// From this version on parameters can be granted.
const HAS_PARAMETER_GRANTS: u32 = 15;

/// The query for the names of foreign servers with a user mapping whose options this session may not see, and that would count
/// if it has no password. A mapping without options looks the same.
fn hidden_mappings_query() -> String {
    format!(
        "SELECT DISTINCT m.srvname FROM ({MAPPINGS}) m \
          WHERE m.umoptions IS NULL AND pg_catalog.current_setting('is_superuser') <> 'on' \
            AND CASE WHEN m.umuser = 0 THEN NOT pg_catalog.pg_has_role(m.srvowner, 'USAGE') \
                ELSE pg_catalog.pg_has_role(m.umuser, 'MEMBER') \
                     AND NOT (m.umuser = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user) \
                              AND pg_catalog.has_server_privilege(m.server, 'USAGE')) END \
          ORDER BY m.srvname LIMIT {MOST_HIDDEN}"
    )
}

/// How many foreign servers are named.
const MOST_HIDDEN: usize = 3;

/// The query for the roles that can log in, and that are superusers or can get a superuser's rights. The session's role comes
/// first, then superusers, then the others, each group by OID. It returns [`MOST_SUPERUSERS`] + 1 rows at most, so that the
/// caller sees whether there are more. A member of a role may SET ROLE to it. A role with CREATEROLE before PostgreSQL 16 may
/// grant the three predefined roles, which lead to a superuser's rights (PostgreSQL: "Predefined Roles"). With
/// `wal_level = logical` a role with REPLICATION can name any library, which the server loads.
fn superusers_query(version: u32) -> String {
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
         SELECT r.rolname, r.rolsuper, way.role, way.granted_by, own.what, own.revoke, \
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

fn superusers(rows: &[Row]) -> Vec<Superuser> {
    let superuser = |row: &Row| match row.as_slice() {
        [Some(role), Some(is_superuser), member_of, granted_by, what, revoke, replicates] => {
            Some(Superuser {
                role: role.clone(),
                by: match (what, revoke, member_of) {
                    _ if is_superuser == "t" => SuperuserReason::Attribute,
                    (Some(what), Some(revoke), _) => {
                        SuperuserReason::Grant(Grant { what: what.clone(), revoke: revoke.clone() })
                    }
                    (_, _, Some(role)) => SuperuserReason::Membership(Membership {
                        role: role.clone(),
                        granted_by: granted_by.clone(),
                    }),
                    _ if replicates.as_deref() == Some("t") => SuperuserReason::Replication,
                    _ => SuperuserReason::CreateRole,
                },
            })
        }
        _ => None,
    };
    rows.iter().filter_map(superuser).collect()
}
