//! What a role may do, asked without doing it, and the settings that concern whom the server lets in.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::error::Error;

/// The role, and what it may.
pub(super) const ROLE: &str = "\
    SELECT r.rolname, r.rolsuper, pg_catalog.pg_is_in_recovery(), \
           pg_catalog.has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE'), \
           (SELECT pg_catalog.pg_has_role(reserve.oid, 'USAGE') FROM pg_catalog.pg_roles reserve \
             WHERE reserve.rolname = 'pg_use_reserved_connections') \
      FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

/// Settings that the role may see; the others have no row.
pub(super) const SETTINGS: &str = "\
    SELECT name, setting FROM pg_catalog.pg_settings \
     WHERE name IN ('hba_file', 'ident_file', 'ssl_min_protocol_version', 'reserved_connections', 'ssl_sni')";

/// When the settings were last loaded, and when the server has started, in microseconds since 1970; and which of two settings
/// wait for a restart, or have waited.
pub(super) const LOADED: &str = "\
    SELECT 'loaded', (pg_catalog.date_part('epoch', pg_catalog.pg_conf_load_time()) * 1000000)::pg_catalog.int8::pg_catalog.text \
    UNION ALL SELECT 'started', \
        (pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8::pg_catalog.text \
    UNION ALL SELECT 'pending', name FROM pg_catalog.pg_settings \
     WHERE name IN ('hba_file', 'ident_file') AND pending_restart";

/// Which of the two files were changed since they were loaded, or may have been: the server tells whole seconds. For superusers.
pub(super) const CHANGED: &str = "\
    SELECT CASE WHEN change > pg_catalog.pg_conf_load_time() THEN 'changed' ELSE 'perhaps' END, name \
      FROM (SELECT name, (pg_catalog.pg_stat_file(setting, true)).change FROM pg_catalog.pg_settings \
             WHERE name IN ('hba_file', 'ident_file')) AS f \
     WHERE change >= pg_catalog.date_trunc('second', pg_catalog.pg_conf_load_time())";

/// How the role stands in the database that it is connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The role.
    pub role: String,
    /// Whether it may do everything.
    pub superuser: bool,
    /// Whether the server is a standby, or recovers.
    pub in_recovery: bool,
    /// Whether it may call `pg_reload_conf()` here.
    pub may_reload: bool,
    /// Whether connection slots are reserved for it; `None` before PostgreSQL 16.
    pub reserved_slots: Option<bool>,
    /// When the server has last loaded its settings, and with them `pg_hba.conf` and `pg_ident.conf`, if these had no error.
    pub loaded: Option<SystemTime>,
    /// When the server has started: settings such as `hba_file` are read then.
    pub started: Option<SystemTime>,
    /// Of `hba_file` and `ident_file`, those whose files were changed since they were loaded, for a superuser.
    pub changed: Vec<String>,
    /// Those of which that cannot be told.
    pub changed_perhaps: Vec<String>,
    /// Those of the two whose values were changed, or had been for a while, since the server has started.
    pub pending: Vec<String>,
    settings: BTreeMap<String, String>,
}

impl Standing {
    /// The value of `hba_file`, `ident_file`, `ssl_min_protocol_version`, `reserved_connections` or `ssl_sni`, if
    /// this server has it and the role may see it.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }
}

pub(super) fn parse(
    role: &[Vec<Option<String>>],
    settings: &[Vec<Option<String>>],
    loaded: &[Vec<Option<String>>],
) -> Result<Standing, Error> {
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
    Ok(Standing {
        loaded: time("loaded"),
        started: time("started"),
        changed: facts("changed").collect(),
        changed_perhaps: facts("perhaps").collect(),
        pending: facts("pending").collect(),
        role: name.clone(),
        superuser: superuser == "t",
        in_recovery: in_recovery == "t",
        may_reload: may_reload == "t",
        reserved_slots: reserve.as_ref().map(|reserve| reserve == "t"),
        settings,
    })
}
