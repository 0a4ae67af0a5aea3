//! The views of `pg_hba.conf` and `pg_ident.conf`, which superusers and roles with a grant may read.

use super::access::{BadLine, HbaRule, Mapping};
use super::address::Address;
use super::error::Error;
use super::words::bare;
use pgsvid_base::text::shown;

/// Separates the elements of an array.
const SEPARATOR: char = '\u{1f}';

/// Whether the role may read each of the two views, and whether it is a superuser. Queried first, because PostgreSQL logs each
/// refusal.
pub(super) const ALLOWED: &str = "\
    SELECT pg_catalog.has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT') \
       AND pg_catalog.has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE'), \
           pg_catalog.has_table_privilege(pg_catalog.to_regclass('pg_catalog.pg_ident_file_mappings'), 'SELECT') \
       AND pg_catalog.has_function_privilege( \
               pg_catalog.to_regprocedure('pg_catalog.pg_ident_file_mappings()'), 'EXECUTE'), \
           (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";

/// The rules, in the order in which they apply. The view leaves `clientname=DN` out of the options. Lines of included files
/// (PostgreSQL 16 and later) have their line numbers in these files.
pub(super) const HBA: &str = "\
    SELECT line_number, type, pg_catalog.array_to_string(database, E'\\x1f'), pg_catalog.array_to_string(user_name, E'\\x1f'), \
           address, netmask, auth_method, pg_catalog.array_to_string(options, E'\\x1f'), \
           pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(rule), 'file_name'), \
           (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'hba_file') \
      FROM pg_catalog.pg_hba_file_rules() WITH ORDINALITY AS rule \
     WHERE error IS NULL AND auth_method IS NOT NULL ORDER BY ordinality";

/// The errors in `pg_hba.conf`. For a value that `clientcert` or `clientname` cannot have, the view has neither an error nor
/// a rule (`hba.c`, `parse_hba_auth_opt`).
pub(super) const HBA_ERRORS: &str = "\
    SELECT 'pg_hba.conf', line_number, \
           COALESCE(error, 'PostgreSQL refuses it, and says why in its log only: one of its options has a value that it cannot have. \
                            From version 14 on write clientcert=verify-ca instead of 1, or verify-full, and leave clientcert out instead of 0') \
      FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL OR auth_method IS NULL";

/// Whether a file of rules has a keyword in quotation marks, or a word that names a file (`@`), in which this query does not
/// look. Only superusers can execute it, because it reads the files.
pub(super) const QUOTED: &str = "\
    SELECT pg_catalog.bool_or(pg_catalog.encode(pg_catalog.pg_read_binary_file(path), 'escape') \
               ~ '(?n)^([^#\"]|\"[^\"]*\")*(@|\"(all|replication|same[a-z]+)\")') \
      FROM (SELECT setting AS path FROM pg_catalog.pg_settings WHERE name = 'hba_file' \
            UNION SELECT pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(rule), 'file_name') \
              FROM pg_catalog.pg_hba_file_rules() AS rule) AS f \
     WHERE path IS NOT NULL";

/// The mappings; the view is there since PostgreSQL 15. Lines of included files (PostgreSQL 16 and later) have their line
/// numbers in these files.
pub(super) const IDENT: &str = "\
    SELECT line_number, map_name, sys_name, pg_username, \
           pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(mapping), 'file_name'), \
           (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'ident_file') \
      FROM pg_catalog.pg_ident_file_mappings() WITH ORDINALITY AS mapping WHERE error IS NULL ORDER BY ordinality";

/// The errors in `pg_ident.conf`.
pub(super) const IDENT_ERRORS: &str = "\
    SELECT 'pg_ident.conf', line_number, error FROM pg_catalog.pg_ident_file_mappings \
     WHERE error IS NOT NULL";

/// Rules and mappings, as far as they could be read, and the lines that PostgreSQL reports as wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessViews {
    /// `pg_hba.conf`
    pub rules: Vec<HbaRule>,
    /// `pg_ident.conf`; `None` if this server has no view of it.
    pub mappings: Option<Vec<Mapping>>,
    /// The lines that PostgreSQL reports as wrong.
    pub bad: Vec<BadLine>,
    /// Whether no keyword stands in quotation marks in the files, which the view does not show.
    pub quotes_known: bool,
}

impl HbaRule {
    /// Whether the view's rule is this line of the file. The view has no quotation marks, hides `clientname`, and shows what
    /// `cert` implies. Options that pgsvid does not judge are not compared.
    #[must_use]
    pub fn is_shown_as(&self, shown: &Self) -> bool {
        let words = |ours: &[String], shown: &[String]| {
            ours.iter().map(|word| bare(word)).filter(|word| !word.is_empty()).eq(shown)
        };
        let address = match &self.address {
            Some(Address::Name(name)) => Some(Address::in_view(name, None)),
            address => address.clone(),
        };
        let certificate =
            if self.method == "cert" { Some("verify-full") } else { self.option("clientcert") };
        (self.line, &self.kind, &self.method) == (shown.line, &shown.kind, &shown.method)
            && words(&self.databases, &shown.databases)
            && words(&self.users, &shown.users)
            && address == shown.address
            && self.option("map") == shown.option("map")
            && certificate == shown.option("clientcert")
    }
}

type Row = Vec<Option<String>>;

pub(super) fn rules(rows: &[Row]) -> Result<Vec<HbaRule>, Error> {
    rows.iter().map(|row| rule(row).ok_or(Error::Unexpected)).collect()
}

fn rule(row: &Row) -> Option<HbaRule> {
    let [
        line,
        Some(kind),
        databases,
        users,
        address,
        netmask,
        Some(method),
        options,
        file,
        main_file,
    ] = row.as_slice()
    else {
        return None;
    };
    let list = |text: &Option<String>| -> Vec<String> {
        let text = text.as_deref().unwrap_or_default();
        text.split(SEPARATOR).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    Some(HbaRule {
        line: number(line.as_deref()),
        file: file.clone().filter(|_| file != main_file),
        kind: kind.clone(),
        databases: list(databases),
        users: list(users),
        address: address.as_ref().map(|text| Address::in_view(text, netmask.as_deref())),
        method: method.clone(),
        options: list(options),
        quotes_known: true,
    })
}

pub(super) fn mappings(rows: &[Row]) -> Result<Vec<Mapping>, Error> {
    let mapping = |row: &Row| match row.as_slice() {
        [line, Some(map), Some(system_user), Some(role), file, main_file] => Some(Mapping {
            line: number(line.as_deref()),
            file: file.clone().filter(|_| file != main_file),
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
            error: shown(without_secret(error)),
        }),
        _ => None,
    };
    rows.iter().filter_map(bad).collect()
}

/// PostgreSQL's message without what it repeats of an option: a line for LDAP or RADIUS that is wrong may have a part of a
/// password in that place (`hba.c`, `parse_hba_line` and `parse_hba_auth_opt`).
fn without_secret(message: &str) -> &str {
    const OPTION: &str = "authentication option not in name=value format";
    if message.starts_with(OPTION) {
        return OPTION;
    }
    // An address of LDAP or a list of secrets, in quotation marks.
    match message.find('"') {
        Some(quoted) if message.starts_with("could not parse ") => {
            message.get(..quoted).unwrap_or_default().trim_end()
        }
        _ => message,
    }
}

fn number(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Line, parse_hba};

    #[test]
    fn b114_no_part_of_a_password_is_repeated() {
        let bad = |message: &str| {
            let row = vec![
                Some("pg_hba.conf".to_owned()),
                Some("3".to_owned()),
                Some(message.to_owned()),
            ];
            bad_lines(&[row]).remove(0).error
        };
        let secret = |message: &str| assert!(!bad(message).contains("SECRET"), "{}", bad(message));
        secret("authentication option not in name=value format: SECRET");
        secret("could not parse LDAP URL \"ldap://u:SECRET@h/dc=x\": bad");
        secret("could not parse RADIUS secrets list \"SECRET\"");
        assert_eq!(
            bad("invalid authentication method \"foo\""),
            "invalid authentication method \"foo\""
        );
    }

    #[test]
    fn a79_a_rule_that_the_view_shows_otherwise_is_seen() {
        let of = |text: &str| match parse_hba(text).remove(0) {
            Line::Entry(rule) => rule,
            line => panic!("{line:?}"),
        };
        let ours = of("hostssl app,\"all\" svc 10.0.0.0/8 cert map=m clientname=DN");
        let shown = HbaRule {
            databases: vec!["app".to_owned(), "all".to_owned()],
            options: vec!["map=m".to_owned(), "clientcert=verify-full".to_owned()],
            ..ours.clone()
        };
        assert!(ours.is_shown_as(&shown));
        for other in [
            HbaRule { line: 2, ..shown.clone() },
            HbaRule { kind: "host".to_owned(), ..shown.clone() },
            HbaRule { databases: vec!["app".to_owned()], ..shown.clone() },
            HbaRule { users: vec!["all".to_owned()], ..shown.clone() },
            HbaRule { address: Some(Address::All), ..shown.clone() },
            HbaRule { address: Some(Address::network([10, 0, 0, 0].into(), 9)), ..shown.clone() },
            HbaRule { method: "trust".to_owned(), ..shown.clone() },
            HbaRule { options: vec!["clientcert=verify-full".to_owned()], ..shown.clone() },
            HbaRule { options: vec!["map=m".to_owned()], ..shown.clone() },
        ] {
            assert!(!ours.is_shown_as(&other), "{other:?}");
        }
    }
}
