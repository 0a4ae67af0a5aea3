//! The views of `pg_hba.conf` and `pg_ident.conf`. A superuser may read them, and whoever it was granted to.

use super::access::{self, BadLine, HbaRule, Mapping};
use super::error::Error;
use pgsvid_base::text::shown;

/// Parts the elements of an array.
const SEPARATOR: char = '\u{1f}';

/// Whether the role may read the one view and the other: asked first, since a refusal would show in the server's log.
pub(super) const ALLOWED: &str = "\
    SELECT pg_catalog.has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT') \
       AND pg_catalog.has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE'), \
           pg_catalog.has_table_privilege(pg_catalog.to_regclass('pg_catalog.pg_ident_file_mappings'), 'SELECT') \
       AND pg_catalog.has_function_privilege( \
               pg_catalog.to_regprocedure('pg_catalog.pg_ident_file_mappings()'), 'EXECUTE')";

/// The rules. PostgreSQL 15 leaves `clientname=DN` out of the options.
pub(super) const HBA: &str = "\
    SELECT line_number, type, pg_catalog.array_to_string(database, E'\\x1f'), pg_catalog.array_to_string(user_name, E'\\x1f'), \
           address, netmask, auth_method, pg_catalog.array_to_string(options, E'\\x1f') \
      FROM pg_catalog.pg_hba_file_rules WHERE error IS NULL ORDER BY line_number";

/// What is wrong in `pg_hba.conf`.
pub(super) const HBA_ERRORS: &str = "\
    SELECT 'pg_hba.conf', line_number, error FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL";

/// The mappings; the view is there since PostgreSQL 15.
pub(super) const IDENT: &str = "\
    SELECT line_number, map_name, sys_name, pg_username \
      FROM pg_catalog.pg_ident_file_mappings WHERE error IS NULL ORDER BY line_number";

/// What is wrong in `pg_ident.conf`.
pub(super) const IDENT_ERRORS: &str = "\
    SELECT 'pg_ident.conf', line_number, error FROM pg_catalog.pg_ident_file_mappings \
     WHERE error IS NOT NULL";

/// Rules and mappings, as far as they could be read, and the lines that PostgreSQL objects to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessViews {
    /// `pg_hba.conf`
    pub rules: Vec<HbaRule>,
    /// `pg_ident.conf`; `None` where this server has no view of it.
    pub mappings: Option<Vec<Mapping>>,
    /// The lines that PostgreSQL objects to.
    pub bad: Vec<BadLine>,
}

type Row = Vec<Option<String>>;

pub(super) fn rules(rows: &[Row]) -> Result<Vec<HbaRule>, Error> {
    rows.iter().map(|row| rule(row).ok_or(Error::Unexpected)).collect()
}

fn rule(row: &Row) -> Option<HbaRule> {
    let [line, Some(kind), databases, users, address, netmask, Some(method), options] =
        row.as_slice()
    else {
        return None;
    };
    let list = |text: &Option<String>| -> Vec<String> {
        let text = text.as_deref().unwrap_or_default();
        text.split(SEPARATOR).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    Some(HbaRule {
        line: number(line.as_deref()),
        file: None,
        kind: kind.clone(),
        databases: list(databases),
        users: list(users),
        address: address.as_ref().map(|text| access::address(text, netmask.as_deref())),
        method: method.clone(),
        options: list(options),
    })
}

pub(super) fn mappings(rows: &[Row]) -> Result<Vec<Mapping>, Error> {
    let mapping = |row: &Row| match row.as_slice() {
        [line, Some(map), Some(system_user), Some(role)] => Some(Mapping {
            line: number(line.as_deref()),
            map: map.clone(),
            system_user: system_user.clone(),
            role: role.clone(),
        }),
        _ => None,
    };
    rows.iter().map(|row| mapping(row).ok_or(Error::Unexpected)).collect()
}

pub(super) fn bad_lines(rows: &[Row]) -> Vec<BadLine> {
    let bad = |row: &Row| match row.as_slice() {
        [Some(file), line, Some(error)] => Some(BadLine {
            file: if file == "pg_ident.conf" { "pg_ident.conf" } else { "pg_hba.conf" },
            line: number(line.as_deref()),
            error: shown(error),
        }),
        _ => None,
    };
    rows.iter().filter_map(bad).collect()
}

fn number(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
