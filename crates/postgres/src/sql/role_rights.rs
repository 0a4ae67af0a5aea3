//! What a role may do, queried without trying it, and the settings that decide which clients the server lets in.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::error::Error;

/// The role, and its rights.
pub(super) const ROLE: &str = "\
    SELECT r.rolname, r.rolsuper, pg_catalog.pg_is_in_recovery(), \
           pg_catalog.has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE'), \
           (SELECT pg_catalog.pg_has_role(reserve.oid, 'USAGE') FROM pg_catalog.pg_roles reserve \
             WHERE reserve.rolname = 'pg_use_reserved_connections') \
      FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

/// Settings that the role may see; the others have no row. One of an extension that is not loaded is not in the view.
/// `lc_messages` is the postmaster's, unless the role or the database has its own.
pub(super) const SETTINGS: &str = "\
    SELECT name, setting FROM pg_catalog.pg_settings \
     WHERE name IN ('hba_file', 'ident_file', 'ssl_min_protocol_version', 'reserved_connections', 'ssl_sni', \
                    'primary_conninfo', 'log_line_prefix') \
    UNION ALL SELECT 'citus.node_conninfo', v FROM ( \
        SELECT CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') \
                    THEN pg_catalog.current_setting('citus.node_conninfo', true) END AS v \
    ) AS citus WHERE v IS NOT NULL \
    UNION ALL SELECT name, setting FROM pg_catalog.pg_settings \
     WHERE name = 'lc_messages' AND source IN ('default', 'environment variable', 'configuration file', 'command line')";

/// When the settings were last loaded, also by the clock of the server's log, and when the server has started, in microseconds since
/// 1970; and which of two settings wait for a restart, or have waited.
pub(super) const LOADED: &str = "\
    SELECT 'loaded', (pg_catalog.date_part('epoch', pg_catalog.pg_conf_load_time()) * 1000000)::pg_catalog.int8::pg_catalog.text \
    UNION ALL SELECT 'logged', (pg_catalog.date_part('epoch', pg_catalog.timezone( \
        pg_catalog.current_setting('log_timezone'), pg_catalog.pg_conf_load_time())) * 1000000)::pg_catalog.int8::pg_catalog.text \
    UNION ALL SELECT 'started', \
        (pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8::pg_catalog.text \
    UNION ALL SELECT 'pending', name FROM pg_catalog.pg_settings \
     WHERE name IN ('hba_file', 'ident_file') AND pending_restart";

/// Which of the two files have changed since they were loaded, or may have: the server reports whole seconds. For superusers.
pub(super) const CHANGED: &str = "\
    SELECT CASE WHEN change > pg_catalog.pg_conf_load_time() THEN 'changed' ELSE 'perhaps' END, name \
      FROM (SELECT name, (pg_catalog.pg_stat_file(setting, true)).change FROM pg_catalog.pg_settings \
             WHERE name IN ('hba_file', 'ident_file')) AS f \
     WHERE change >= pg_catalog.date_trunc('second', pg_catalog.pg_conf_load_time())";

/// The directories above the two files whose owner, mode or place was changed after the files were loaded, at most ten. Their
/// time of change (ctime) differs from their time of modification (mtime) then; a new entry sets both to the same time. The
/// server reports whole seconds. For superusers.
pub(super) const WAYS: &str = "\
    SELECT DISTINCT 'way', way FROM ( \
        SELECT COALESCE(NULLIF(pg_catalog.array_to_string(steps[1:n], '/'), ''), '/') AS way \
          FROM (SELECT pg_catalog.string_to_array(setting, '/') AS steps FROM pg_catalog.pg_settings \
                 WHERE name IN ('hba_file', 'ident_file') AND setting LIKE '/%') AS f, \
               pg_catalog.generate_series(1, 100) AS n WHERE n < pg_catalog.cardinality(steps)) AS w, \
        pg_catalog.pg_stat_file(way, true) AS s \
     WHERE s.change <> s.modification AND s.change > pg_catalog.pg_conf_load_time() LIMIT 10";

/// What the role may do in the database that it is connected to, and which settings and files the server has loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleRights {
    /// The role.
    pub role: String,
    /// Whether it may do everything.
    pub superuser: bool,
    /// Whether the server is a standby, or in recovery.
    pub in_recovery: bool,
    /// Whether it may call `pg_reload_conf()` here.
    pub may_reload: bool,
    /// Whether connection slots are reserved for it; `None` before PostgreSQL 16.
    pub reserved_slots: Option<bool>,
    /// When the server last loaded its settings, and with them `pg_hba.conf` and `pg_ident.conf`, unless these had an error.
    pub loaded: Option<SystemTime>,
    /// When the server last loaded them, by the clock of `log_timezone`, in microseconds since 1970.
    pub logged: Option<i64>,
    /// When the server has started: settings such as `hba_file` are read then.
    pub started: Option<SystemTime>,
    /// Those of `hba_file` and `ident_file` whose files have changed since they were loaded, for a superuser.
    pub changed: Vec<String>,
    /// Those of the two files for which it is unknown whether they have changed.
    pub changed_perhaps: Vec<String>,
    /// Directories above these files whose owner, mode or place was changed after the files were loaded; empty for a role
    /// that is no superuser.
    pub directories: Vec<String>,
    /// Those of `hba_file` and `ident_file` with `pending_restart`: the configuration files have, or had since the start, a
    /// value other than the one in force.
    pub pending: Vec<String>,
    settings: BTreeMap<String, String>,
}

impl RoleRights {
    /// The value of `hba_file`, `ident_file`, `ssl_min_protocol_version`, `reserved_connections`, `ssl_sni`, `log_line_prefix`,
    /// `lc_messages`, `primary_conninfo` or `citus.node_conninfo`, if this server has it and the role may see it. The last two may hold
    /// a password.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }
}

pub(super) fn parse(
    role: &[Vec<Option<String>>],
    settings: &[Vec<Option<String>>],
    loaded: &[Vec<Option<String>>],
) -> Result<RoleRights, Error> {
    let [row] = role else { return Err(Error::Unexpected) };
    let [Some(name), Some(superuser), Some(in_recovery), Some(may_reload), reserve] =
        row.as_slice()
    else {
        return Err(Error::Unexpected);
    };
    let settings = settings
        .iter()
        .filter_map(|row| match row.as_slice() {
            [Some(name), Some(value)] => Some((name.clone(), value.clone())),
            _ => None,
        })
        .collect();
    let facts = |wanted: &'static str| {
        loaded.iter().filter_map(move |row| match row.as_slice() {
            [Some(fact), Some(value)] if fact == wanted => Some(value.clone()),
            _ => None,
        })
    };
    let time = |fact| {
        let microseconds = facts(fact).next()?.parse().ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(microseconds))
    };
    Ok(RoleRights {
        loaded: time("loaded"),
        logged: facts("logged").next().and_then(|micros| micros.parse().ok()),
        started: time("started"),
        changed: facts("changed").collect(),
        changed_perhaps: facts("perhaps").collect(),
        directories: facts("way").collect(),
        pending: facts("pending").collect(),
        role: name.clone(),
        superuser: superuser == "t",
        in_recovery: in_recovery == "t",
        may_reload: may_reload == "t",
        reserved_slots: reserve.as_ref().map(|reserve| reserve == "t"),
        settings,
    })
}
