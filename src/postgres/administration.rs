//! What a superuser sees of a server that is to be set up, or was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::Error;
use super::settings::TlsSettings;
use super::statements::{RESERVE, literal};

/// The four settings that serving a published set takes.
pub const TLS_SETTINGS: [&str; 4] = ["ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl"];

/// Settings with paths, and who else may be in charge of them. A setting that this version lacks has no row.
pub(super) const SERVER: &str = "\
    SELECT name, setting FROM pg_catalog.pg_settings \
     WHERE name IN ('data_directory', 'config_file', 'hba_file', 'ident_file', 'allow_alter_system') \
    UNION ALL SELECT 'is_superuser', pg_catalog.current_setting('is_superuser') \
    UNION ALL \
    SELECT 'started', pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()))::pg_catalog.text \
    UNION ALL \
    SELECT 'recovery', pg_catalog.pg_is_in_recovery()::pg_catalog.text";

/// Two facts in the data directory and in postgresql.conf that give a manager away; for superusers.
pub(super) const MANAGER: &str = "\
    SELECT 'patroni', ((pg_catalog.pg_stat_file('patroni.dynamic.json', true)).size IS NOT NULL \
        OR pg_catalog.position(pg_catalog.pg_read_binary_file(pg_catalog.current_setting('config_file'), 0, 200), \
            'overwritten by Patroni'::pg_catalog.bytea) > 0 \
    )::pg_catalog.text \
    UNION ALL \
    SELECT 'cloudnativepg', EXISTS ( \
        SELECT FROM pg_catalog.pg_file_settings \
         WHERE sourcefile = pg_catalog.current_setting('data_directory') || '/custom.conf')::pg_catalog.text";

/// What ALTER SYSTEM has set, in the order of the file: of equal names the last counts.
pub(super) const ALTERED: &str = "\
    SELECT name, setting FROM pg_catalog.pg_file_settings \
     WHERE sourcefile = pg_catalog.current_setting('data_directory') || '/postgresql.auto.conf' ORDER BY seqno";

/// All roles, and whether they may log in.
pub(super) const ROLES: &str =
    "SELECT rolname, rolcanlogin::pg_catalog.text FROM pg_catalog.pg_roles";

/// Those that may do everything.
pub(super) const SUPERUSERS: &str = "SELECT rolname, '' FROM pg_catalog.pg_roles WHERE rolsuper";

/// Who is in charge of a server's configuration, and would undo what others change there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Patroni, and the operators that build on it.
    Patroni,
    /// `CloudNativePG`.
    CloudNativePg,
    /// `allow_alter_system` is off, so somebody is.
    Somebody,
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
    /// Whether roles can be made: not on a standby.
    pub in_recovery: bool,
    /// Who is in charge of the configuration, if somebody is.
    pub manager: Option<Manager>,
    /// What ALTER SYSTEM has set.
    pub altered: BTreeMap<String, String>,
    /// Every role, and whether it may log in.
    pub roles: BTreeMap<String, bool>,
    /// Those that may do everything.
    pub superusers: BTreeSet<String>,
    /// Whether the role that reloads may do so, in this database.
    pub may_reload: bool,
    /// Whether slots are reserved for it; `None` before PostgreSQL 16.
    pub has_reserve: Option<bool>,
    /// Which of the published files the server sees.
    pub sees: BTreeSet<PathBuf>,
}

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

/// What the role may do; one row, or none if there is no such role.
pub(super) fn role_query(role: &str) -> String {
    format!(
        "SELECT pg_catalog.has_function_privilege(r.oid, 'pg_catalog.pg_reload_conf()', 'EXECUTE'), \
                (SELECT pg_catalog.pg_has_role(r.oid, reserve.oid, 'USAGE') FROM pg_catalog.pg_roles reserve \
                  WHERE reserve.rolname = '{RESERVE}') \
           FROM pg_catalog.pg_roles r WHERE r.rolname = {}",
        literal(role)
    )
}

/// Whether the role for reserved slots exists: 16 and later.
pub(super) fn has_reserve_role(roles: &BTreeMap<String, bool>) -> bool {
    roles.contains_key(RESERVE)
}

/// Which of `files` the server can find.
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
