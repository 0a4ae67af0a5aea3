//! What a role may do, asked without doing it, and the settings that concern whom the server lets in.

use std::collections::BTreeMap;

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
    Ok(Standing {
        role: name.clone(),
        superuser: superuser == "t",
        in_recovery: in_recovery == "t",
        may_reload: may_reload == "t",
        reserved_slots: reserve.as_ref().map(|reserve| reserve == "t"),
        settings,
    })
}
