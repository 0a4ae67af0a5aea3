//! Why a login over TLS with a certificate is refused, in terms of `pg_hba.conf` and `pg_ident.conf`.

use std::net::IpAddr;

use super::access::{AccessFacts, place};
use super::failure;
use crate::sql::{HbaRule, statements};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::argument;
use pgsvid_material::Certificate;

/// A login attempt.
#[derive(Debug, Clone)]
pub struct Login<'a> {
    /// The role asked for.
    pub role: &'a str,
    /// The database asked for.
    pub database: &'a str,
    /// Our address, as the server sees it.
    pub from: IpAddr,
    /// The certificate that was shown.
    pub leaf: &'a Certificate,
    /// What psql has to be told to reach the server: nothing, or options with a blank before them.
    pub psql: &'a str,
}

/// The cause, and the line to add, of an attempt that PostgreSQL refused with SQLSTATE 28000.
#[must_use]
pub fn refused_login(login: &Login<'_>, access: Option<&AccessFacts>) -> Finding {
    let Login { role, database, from, .. } = login;
    let seen = seen(login.leaf);
    let Some(access) = access else {
        return failure(
            Code::LoginRefused,
            format!(
                "pg_hba.conf or pg_ident.conf does not let it in; as they see it, it is {seen}"
            ),
            format!(
                "{}; run check as PostgreSQL's uid or with --user postgres to see which line decides",
                ways(login)
            ),
        );
    };
    let first = access.rules.iter().find(|rule| matches(rule, login) != Some(false));
    let untold = first.filter(|rule| matches(rule, login).is_none());
    if untold.is_some() || !access.is_certain() {
        return undecided(access, untold, login);
    }
    let Some(rule) = first else {
        return failure(
            Code::LoginLineMissing,
            format!(
                "no line of {} matches role {role}, database {database}, from {from}",
                access.hba
            ),
            format!(
                "add `hostssl {database} {role} {from}/{} cert` to {}, then reload",
                bits(*from),
                access.hba
            ),
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
            format!(
                "put `hostssl {database} {role} {from}/{} cert` above {here}, then reload",
                bits(*from)
            ),
        );
    }
    refused_name(access, rule, login)
}

/// A line of `cert` decides, and the certificate's name does not suit it.
fn refused_name(access: &AccessFacts, rule: &HbaRule, login: &Login<'_>) -> Finding {
    let Login { role, leaf, .. } = *login;
    let here = place(&access.hba, rule);
    let seen = seen(leaf);
    let reload = psql("SELECT pg_reload_conf()", login);
    let by_dn = rule.option("clientname") == Some("DN");
    let name = if by_dn { Some(leaf.distinguished_name()) } else { leaf.common_name() };
    let name = name.filter(|name| !name.is_empty());
    let part = if by_dn { "DN" } else { "CN" };
    let Some(name) = name else {
        return failure(
            Code::LoginNameMissing,
            format!(
                "{here} takes the {part} for the user's name, and the certificate has none: it is {seen}"
            ),
            // Of an empty subject there is no DN, either.
            if leaf.distinguished_name().is_empty() {
                format!("add a DNS name to the entry: spire-server entry update … -dns {role}")
            } else {
                format!(
                    "add a DNS name to the entry (spire-server entry update … -dns {role}), or write \
                     `cert clientname=DN map=spiffe` in {here}"
                )
            },
        );
    };
    let listed = |map: &str| {
        access.mappings.iter().flatten().any(|judged| {
            let mapping = &judged.mapping;
            mapping.map == map && mapping.system_user == name && mapping.role == role
        })
    };
    match rule.map() {
        Some(map) if listed(map) => failure(
            Code::LoginFilesNotLoaded,
            format!(
                "{} lets it in, and PostgreSQL has not read the file since it was changed",
                access.ident
            ),
            reload,
        ),
        None if name == role => failure(
            Code::LoginFilesNotLoaded,
            format!(
                "{here} lets it in: PostgreSQL has not read the file since, or the role may not log in"
            ),
            format!("{reload}; if it stays: {}", psql(&statements::let_log_in(role), login)),
        ),
        None => failure(
            Code::LoginNameDiffers,
            format!(
                "{here} wants a certificate whose name is the role's: it is {name:?}, the role {role:?}"
            ),
            format!(
                "log in as role {name}, or add map=spiffe to {here} and `spiffe \"{name}\" {role}` to {}",
                access.ident
            ),
        ),
        Some(map) => failure(
            Code::LoginMapLineMissing,
            format!(
                "{here} asks map {map} of {}, which does not let {name:?} be role {role}",
                access.ident
            ),
            format!("add `{map} \"{name}\" {role}` to {}, then reload", access.ident),
        ),
    }
}

/// Nobody can say from here which line decided.
fn undecided(access: &AccessFacts, untold: Option<&HbaRule>, login: &Login<'_>) -> Finding {
    let what = match untold {
        None => format!("not all lines of {} and {} can be judged", access.hba, access.ident),
        Some(rule) => format!(
            "whether {} decides cannot be told from here: it names a group, a regular expression or a host",
            place(&access.hba, rule)
        ),
    };
    failure(
        Code::LoginUndecided,
        format!("{what}; as PostgreSQL sees the certificate, it is {}", seen(login.leaf)),
        format!("{}; the server log names the line that decided", ways(login)),
    )
}

/// The command that executes a statement as a superuser, on the server of that login.
fn psql(statement: &str, login: &Login<'_>) -> String {
    format!("psql -U postgres -c {}{}", argument(statement), login.psql)
}

/// The two names that a certificate may go by.
fn seen(leaf: &Certificate) -> String {
    let dn = leaf.distinguished_name();
    match leaf.common_name() {
        Some(name) => format!("CN {name:?}, DN {dn:?}"),
        None => format!("DN {dn:?}, without a CN"),
    }
}

fn ways(login: &Login<'_>) -> String {
    let Login { role, database, from, leaf, .. } = login;
    format!(
        "`hostssl {database} {role} {from}/{} cert clientname=DN map=spiffe` above the general lines of pg_hba.conf, \
         and `spiffe \"{}\" {role}` in pg_ident.conf",
        bits(*from),
        leaf.distinguished_name()
    )
}

/// Whether the line is about such a login; `None` if that cannot be told from here.
fn matches(rule: &HbaRule, login: &Login<'_>) -> Option<bool> {
    if !rule.admits_tls() {
        return Some(false);
    }
    let place = rule.address.as_ref().map_or(Some(false), |address| address.holds(login.from));
    let parts = [rule.is_for(login.database, login.role), rule.is_about(login.role), place];
    if parts.contains(&Some(false)) {
        return Some(false);
    }
    (!parts.contains(&None)).then_some(true)
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
