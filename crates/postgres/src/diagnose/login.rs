//! Why a login over TLS with a certificate is refused, in terms of `pg_hba.conf` and `pg_ident.conf`.

use std::net::IpAddr;

use super::Finding;
use super::access::{AccessFacts, place};
use crate::sql::{HbaRule, statements};
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
    let reload = psql("SELECT pg_reload_conf()", login);
    let seen = seen(login.leaf);
    let Some(access) = access else {
        return Finding {
            cause: format!(
                "pg_hba.conf or pg_ident.conf does not let it in; as they see it, it is {seen}"
            ),
            fix: format!(
                "{}; run check as PostgreSQL's uid or with --user postgres to see which line decides",
                ways(login)
            ),
        };
    };
    let first = access.rules.iter().find(|rule| matches(rule, login) != Some(false));
    let untold = first.filter(|rule| matches(rule, login).is_none());
    if untold.is_some() || !access.is_certain() {
        return undecided(access, untold, login);
    }
    let Some(rule) = first else {
        return Finding {
            cause: format!(
                "no line of {} matches role {role}, database {database}, from {from}",
                access.hba
            ),
            fix: format!(
                "add `hostssl {database} {role} {from}/{} cert` to {}, then reload",
                bits(*from),
                access.hba
            ),
        };
    };
    let here = place(&access.hba, rule);
    if rule.method != "cert" {
        return Finding {
            cause: match rule.method.as_str() {
                "reject" => {
                    format!("{here} rejects it: the first line that matches decides")
                }
                method => format!(
                    "{here} decides, and asks for {method} instead of the certificate alone"
                ),
            },
            fix: format!(
                "put `hostssl {database} {role} {from}/{} cert` above {here}, then reload",
                bits(*from)
            ),
        };
    }
    let by_dn = rule.option("clientname") == Some("DN");
    let name = if by_dn { Some(login.leaf.distinguished_name()) } else { login.leaf.common_name() };
    let Some(name) = name else {
        return Finding {
            cause: format!(
                "{here} takes the CN for the user's name, and the certificate has none: it is {seen}"
            ),
            fix: format!(
                "add a DNS name to the entry (spire-server entry update … -dns {role}), or write \
                 `cert clientname=DN map=spiffe` in {here}"
            ),
        };
    };
    let listed = |map: &str| {
        access.mappings.iter().flatten().any(|judged| {
            let mapping = &judged.mapping;
            mapping.map == map && mapping.system_user == name && mapping.role == *role
        })
    };
    match rule.map() {
        Some(map) if listed(map) => Finding {
            cause: format!(
                "{} lets it in, and PostgreSQL has not read the file since it was changed",
                access.ident
            ),
            fix: reload,
        },
        None if name == *role => Finding {
            cause: format!(
                "{here} lets it in: PostgreSQL has not read the file since, or the role may not log in"
            ),
            fix: format!("{reload}; if it stays: {}", psql(&statements::let_log_in(role), login)),
        },
        None => Finding {
            cause: format!(
                "{here} wants a certificate whose name is the role's: it is {name:?}, the role {role:?}"
            ),
            fix: format!(
                "log in as role {name}, or add map=spiffe to {here} and `spiffe \"{name}\" {role}` to {}",
                access.ident
            ),
        },
        Some(map) => Finding {
            cause: format!(
                "{here} asks map {map} of {}, which does not let {name:?} be role {role}",
                access.ident
            ),
            fix: format!("add `{map} \"{name}\" {role}` to {}, then reload", access.ident),
        },
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
    Finding {
        cause: format!("{what}; as PostgreSQL sees the certificate, it is {}", seen(login.leaf)),
        fix: format!("{}; the server log names the line that decided", ways(login)),
    }
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
