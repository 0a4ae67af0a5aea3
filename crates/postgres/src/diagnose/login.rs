//! Why a login over TLS with a certificate is refused, in terms of `pg_hba.conf` and `pg_ident.conf`.

use std::net::IpAddr;

use super::access::{AccessFacts, place};
use super::failure;
use super::login_rules::{RefusedLogin, deciding};
use super::map_file::{MapFile, add_to_unseen_map};
use crate::sql::statements::identifier;
use crate::sql::{HbaRule, LONGEST_NAME, statements, stored_name, system_user, word};
use pgsvid_base::entries;
use pgsvid_base::finding::{Code, Finding};
use pgsvid_material::Certificate;

/// The cause, and the line to add, of an attempt that PostgreSQL refused with SQLSTATE 28000.
#[must_use]
pub fn refused_login(login: &RefusedLogin<'_>, access: Option<&AccessFacts>) -> Finding {
    let RefusedLogin { role, database, from, .. } = login;
    if let Some(found) = refused_role(login) {
        return found;
    }
    let seen = seen(login.leaf);
    let Some(access) = access else {
        return failure(
            Code::LoginRefused,
            format!("pg_hba.conf or pg_ident.conf does not let it in; PostgreSQL compares {seen}"),
            format!(
                "{}; run check as PostgreSQL's uid or with --user postgres to see which line decides",
                admitting_lines(login, None)
            ),
        );
    };
    let (first, unclear) = deciding(access, login);
    if unclear.is_some() || !access.is_certain() {
        return undecided(access, unclear, login);
    }
    let (method, mapping) = by_certificate(login.leaf, role);
    let first_map =
        mapping.map(|line| format!("{}; then ", access.ident.add(&[&line]))).unwrap_or_default();
    let Some(rule) = first else {
        return failure(
            Code::LoginLineMissing,
            format!(
                "no line of {} matches role {role}, {}, from {from}",
                access.hba,
                if login.replication {
                    "replication".to_owned()
                } else {
                    format!("database {database}")
                }
            ),
            format!("{first_map}add `{} {method}` to {}, and reload", line(login), access.hba),
        );
    };
    let here = place(&access.hba, rule);
    if rule.method != "cert" {
        return failure(
            Code::LoginOtherLine,
            match rule.method.as_str() {
                "reject" => {
                    format!("{here} rejects it: the first line that matches decides")
                }
                method => format!(
                    "{here} decides, and asks for {method} instead of the certificate alone"
                ),
            },
            format!("{first_map}put `{} {method}` above {here}, and reload", line(login)),
        );
    }
    refused_name(access, rule, login)
}

/// PostgreSQL accepted the certificate, but not the role (PostgreSQL: `miscinit.c`, `InitializeSessionUserId`): no line of a
/// file is wrong. In other languages than English the general finding mentions this as a possibility.
fn refused_role(login: &RefusedLogin<'_>) -> Option<Finding> {
    let role = stored_name(login.role);
    let rest = login.message.strip_prefix("role \"")?.strip_prefix(role)?;
    let (code, text, statement) = match rest {
        "\" does not exist" => (
            Code::RoleMissing,
            format!(
                "pg_hba.conf lets the certificate log in as role {role}, but that role does not exist"
            ),
            format!("CREATE ROLE {} LOGIN", statements::identifier(role)),
        ),
        "\" is not permitted to log in" => (
            Code::RoleWithoutLogin,
            format!(
                "pg_hba.conf lets the certificate log in as role {role}, but that role may not log in"
            ),
            statements::let_log_in(role),
        ),
        _ => return None,
    };
    Some(Finding::failure(code, text).command(login.psql.execute(&statement)))
}

/// The method of a line that lets in the certificate as the role, with its options, and the line that `pg_ident.conf` needs
/// where the certificate's name is not the role's.
fn by_certificate(leaf: &Certificate, role: &str) -> (&'static str, Option<String>) {
    let mapping =
        |name: &str| Some(format!("spiffe {} {}", system_user(name), word(stored_name(role))));
    match leaf.common_name().filter(|name| !name.is_empty()) {
        Some(name) if name == role && stored_name(role) == role => ("cert", None),
        Some(name) => ("cert map=spiffe", mapping(&name)),
        None => {
            let name = leaf.distinguished_name();
            if name.is_empty() {
                ("cert", None)
            } else {
                ("cert clientname=DN map=spiffe", mapping(&name))
            }
        }
    }
}

/// What a server whose files are not known here needs to let in the certificate as the role from everywhere: the advice about
/// its map, empty or with `; then ` at the end, and the line of `pg_hba.conf`. `database` is a word of `pg_hba.conf`.
#[must_use]
pub fn line_by_certificate(leaf: &Certificate, role: &str, database: &str) -> (String, String) {
    let (method, mapping) = by_certificate(leaf, role);
    let map = mapping.map(|line| format!("{}; then ", add_to_unseen_map(&line)));
    (map.unwrap_or_default(), format!("hostssl {database} {} all {method}", word(role)))
}

/// What frees a connection for the role (SQLSTATE 53300).
#[must_use]
pub fn more_connections(role: &str, database: &str) -> String {
    format!(
        "end sessions, or raise the limit that the message names: ALTER ROLE {} CONNECTION LIMIT, ALTER DATABASE {} CONNECTION LIMIT, or \
         max_connections (after a restart)",
        identifier(role),
        identifier(database)
    )
}

/// The start of a line for this login.
fn line(login: &RefusedLogin<'_>) -> String {
    let RefusedLogin { role, database, from, replication, .. } = login;
    let database = if *replication { "replication".to_owned() } else { word(database) };
    format!("hostssl {database} {} {from}/{}", word(role), bits(*from))
}

/// A line of `cert` decides, but the certificate's name does not match.
fn refused_name(access: &AccessFacts, rule: &HbaRule, login: &RefusedLogin<'_>) -> Finding {
    let asked_for = login.role;
    let RefusedLogin { role, leaf, .. } =
        RefusedLogin { role: stored_name(asked_for), ..login.clone() };
    let here = place(&access.hba, rule);
    let seen = seen(leaf);
    let reload = login.psql.execute("SELECT pg_catalog.pg_reload_conf()");
    let by_dn = rule.option("clientname") == Some("DN");
    let name = if by_dn { Some(leaf.distinguished_name()) } else { leaf.common_name() };
    let name = name.filter(|name| !name.is_empty());
    let part = if by_dn { "DN" } else { "CN" };
    let Some(name) = name else {
        return failure(
            Code::LoginNameMissing,
            format!(
                "{here} uses the {part} as the user's name, but the certificate has none: it has {seen}"
            ),
            // An empty subject has no DN, either.
            if leaf.distinguished_name().is_empty() {
                "add a DNS name to its registration entry".to_owned()
            } else {
                format!(
                    "write `cert clientname=DN map=spiffe` in {here}, or add a DNS name to its registration entry"
                )
            },
        )
        .command(entries::add_dns_name(&spiffe_id(leaf), role));
    };
    let listed = |map: &str| {
        access.mappings.iter().flatten().any(|judged| {
            let mapping = &judged.mapping;
            mapping.map == map && mapping.system_user == name && mapping.role == role
        })
    };
    let mapping = |map: &str| format!("{map} {} {}", system_user(&name), word(role));
    match rule.map() {
        Some(map) if listed(map) => failure(
            Code::LoginFilesNotLoaded,
            format!(
                "{} lets it in: PostgreSQL has not loaded the file since it was changed, or the role may not log in",
                access.ident
            ),
            format!("{reload}; if it stays: {}", login.psql.execute(&statements::let_log_in(role))),
        )
        .command(reload),
        None if name == asked_for && asked_for != role => failure(
            Code::LoginNameDiffers,
            format!(
                "PostgreSQL cuts the role's name to {LONGEST_NAME} bytes, {role}, but {here} compares it with the whole CN, which has \
                 {} bytes",
                name.len()
            ),
            format!(
                "{}; then add map=spiffe to {here}, and reload; or give the workload a shorter DNS name",
                access.ident.add(&[&mapping("spiffe")])
            ),
        ),
        None if name == role => failure(
            Code::LoginFilesNotLoaded,
            format!(
                "{here} lets it in: PostgreSQL has not loaded the file since it was changed, or the role may not log in"
            ),
            format!("{reload}; if it stays: {}", login.psql.execute(&statements::let_log_in(role))),
        )
        .command(reload),
        None => failure(
            Code::LoginNameDiffers,
            format!(
                "{here} requires a certificate with the role's name: the certificate's is {name:?}, the role's is {role:?}"
            ),
            format!(
                "log in as role {name}; or {}, then add map=spiffe to {here}, and reload",
                access.ident.add(&[&mapping("spiffe")])
            ),
        ),
        Some(map) => failure(
            Code::LoginMapLineMissing,
            format!(
                "{here} uses map {map} of {}, which does not let {name:?} log in as role {role}",
                access.ident
            ),
            format!("{}, then reload", access.ident.add(&[&mapping(&word(map))])),
        ),
    }
}

/// The SPIFFE ID by which the operator can find the registration entry.
fn spiffe_id(leaf: &Certificate) -> String {
    leaf.uris().first().cloned().unwrap_or_default()
}

/// The finding where pgsvid cannot tell which line decided.
fn undecided(access: &AccessFacts, unclear: Option<&HbaRule>, login: &RefusedLogin<'_>) -> Finding {
    let what = match unclear {
        None => format!("pgsvid cannot judge all lines of {} and {}", access.hba, access.ident),
        Some(rule) => format!(
            "pgsvid cannot tell whether {} decides: it names a group, a regular expression or a host",
            place(&access.hba, rule)
        ),
    };
    failure(
        Code::LoginUndecided,
        format!("{what}; PostgreSQL compares {}", seen(login.leaf)),
        format!(
            "{}; the server log names the line that decided",
            admitting_lines(login, Some(&access.ident))
        ),
    )
}

/// The two names of a certificate that PostgreSQL can compare.
fn seen(leaf: &Certificate) -> String {
    let dn = leaf.distinguished_name();
    match leaf.common_name() {
        Some(name) => format!("CN {name:?}, DN {dn:?}"),
        None => format!("DN {dn:?}, without a CN"),
    }
}

/// The advice which lines let this login in.
fn admitting_lines(login: &RefusedLogin<'_>, ident: Option<&MapFile>) -> String {
    let mapping = format!(
        "spiffe {} {}",
        system_user(&login.leaf.distinguished_name()),
        word(stored_name(login.role))
    );
    let map = match ident {
        Some(ident) => ident.add(&[&mapping]),
        None => add_to_unseen_map(&mapping),
    };
    format!(
        "{map}; then put `{} cert clientname=DN map=spiffe` above the general lines of pg_hba.conf, and reload",
        line(login)
    )
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
