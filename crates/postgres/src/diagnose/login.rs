//! Why a login over TLS with a certificate is refused, in terms of `pg_hba.conf` and `pg_ident.conf`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::access::{AccessFacts, place};
use super::failure;
use crate::sql::{Address, HbaRule, Psql, statements, word};
use pgsvid_base::finding::{Code, Finding};
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
    /// Whether it is for replication, which is no database's.
    pub replication: bool,
    /// The groups of `pg_hba.conf` that the role is a member of; `None` if that is not known.
    pub groups: Option<&'a BTreeSet<String>>,
    /// The server's address, as it was dialled.
    pub to: Option<IpAddr>,
    /// What PostgreSQL said.
    pub said: &'a str,
    /// How a superuser reaches the server.
    pub psql: &'a Psql,
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
    let (first, untold) = deciding(access, login);
    if untold.is_some() || !access.is_certain() {
        return undecided(access, untold, login);
    }
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
            format!("add `{} cert` to {}, then reload", line(login), access.hba),
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
            format!("put `{} cert` above {here}, then reload", line(login)),
        );
    }
    refused_name(access, rule, login)
}

/// What PostgreSQL's words tell: they are in English unless `lc_messages` says otherwise, and then they tell nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// No line matched.
    NoLine,
    /// A line of `reject` did.
    Rejected,
    /// A line did that asks for something, and was not satisfied.
    Failed,
    Other,
}

impl Said {
    fn of(words: &str) -> Self {
        if words.starts_with("no pg_hba.conf entry") {
            Self::NoLine
        } else if words.starts_with("pg_hba.conf rejects") {
            Self::Rejected
        } else if words.contains("authentication failed") {
            Self::Failed
        } else {
            Self::Other
        }
    }

    /// Whether it may be said of a line.
    fn suits(self, rule: &HbaRule) -> bool {
        match self {
            Self::NoLine => false,
            Self::Rejected => rule.method == "reject",
            Self::Failed => rule.method != "reject",
            Self::Other => true,
        }
    }
}

/// The line that decides; or else the first one of which that cannot be told.
fn deciding<'a>(
    access: &'a AccessFacts,
    login: &Login<'_>,
) -> (Option<&'a HbaRule>, Option<&'a HbaRule>) {
    let said = Said::of(login.said);
    let mut perhaps = Vec::new();
    for rule in &access.rules {
        match matches(rule, login) {
            // PostgreSQL has read another file where its words do not suit a line that matches.
            Some(true) if perhaps.is_empty() => return (Some(rule), None),
            Some(true) => {
                perhaps.extend(Some(rule).filter(|rule| said.suits(rule)));
                break;
            }
            None if said.suits(rule) => perhaps.push(rule),
            Some(false) | None => {}
        }
    }
    match perhaps[..] {
        [] => (None, None),
        // What was said is said of this one alone.
        [rule] if said != Said::Other => (Some(rule), None),
        [rule, ..] => (None, Some(rule)),
    }
}

/// The beginning of a line for this login.
fn line(login: &Login<'_>) -> String {
    let Login { role, database, from, replication, .. } = login;
    let database = if *replication { "replication".to_owned() } else { word(database) };
    format!("hostssl {database} {} {from}/{}", word(role), bits(*from))
}

/// How long a name is that PostgreSQL keeps of one, in bytes (`NAMEDATALEN`).
const LONGEST_NAME: usize = 63;

/// A role's name as PostgreSQL has it: cut, at the end of a character.
fn cut(role: &str) -> &str {
    let mut end = LONGEST_NAME.min(role.len());
    while !role.is_char_boundary(end) {
        end -= 1;
    }
    role.get(..end).unwrap_or(role)
}

/// A line of `cert` decides, and the certificate's name does not suit it.
fn refused_name(access: &AccessFacts, rule: &HbaRule, login: &Login<'_>) -> Finding {
    let asked_for = login.role;
    let Login { role, leaf, .. } = Login { role: cut(asked_for), ..login.clone() };
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
        None if name == asked_for && asked_for != role => failure(
            Code::LoginNameDiffers,
            format!(
                "PostgreSQL cuts the role's name to {LONGEST_NAME} bytes, {role}, and {here} compares it with the whole CN, which has \
                 {} bytes",
                name.len()
            ),
            format!(
                "add map=spiffe to {here}, and `spiffe {} {}` to {}, then reload; or give the workload a shorter DNS name",
                word(&name),
                word(role),
                access.ident
            ),
        ),
        None if name == role => failure(
            Code::LoginFilesNotLoaded,
            format!(
                "{here} lets it in: PostgreSQL has not read the file since, or the role may not log in"
            ),
            format!("{reload}; if it stays: {}", login.psql.execute(&statements::let_log_in(role))),
        ),
        None => failure(
            Code::LoginNameDiffers,
            format!(
                "{here} wants a certificate whose name is the role's: it is {name:?}, the role {role:?}"
            ),
            format!(
                "log in as role {name}, or add map=spiffe to {here} and `spiffe {} {}` to {}, then reload",
                word(&name),
                word(role),
                access.ident
            ),
        ),
        Some(map) => failure(
            Code::LoginMapLineMissing,
            format!(
                "{here} asks map {map} of {}, which does not let {name:?} be role {role}",
                access.ident
            ),
            format!(
                "add `{} {} {}` to {}, then reload",
                word(map),
                word(&name),
                word(role),
                access.ident
            ),
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

/// The two names that a certificate may go by.
fn seen(leaf: &Certificate) -> String {
    let dn = leaf.distinguished_name();
    match leaf.common_name() {
        Some(name) => format!("CN {name:?}, DN {dn:?}"),
        None => format!("DN {dn:?}, without a CN"),
    }
}

fn ways(login: &Login<'_>) -> String {
    format!(
        "`{} cert clientname=DN map=spiffe` above the general lines of pg_hba.conf, and `spiffe {} {}` in pg_ident.conf",
        line(login),
        word(&login.leaf.distinguished_name()),
        word(cut(login.role))
    )
}

/// Whether the line is about such a login; `None` if that cannot be told from here.
fn matches(rule: &HbaRule, login: &Login<'_>) -> Option<bool> {
    if !rule.admits_tls() {
        return Some(false);
    }
    let parts = [for_database(rule, login), about_role(rule, login), from_there(rule, login)];
    if parts.contains(&Some(false)) {
        return Some(false);
    }
    (!parts.contains(&None)).then_some(true)
}

fn for_database(rule: &HbaRule, login: &Login<'_>) -> Option<bool> {
    if login.replication {
        return Some(rule.databases.iter().any(|word| word == "replication"));
    }
    let is_role = |word: &String| matches!(word.as_str(), "samerole" | "samegroup");
    match (rule.is_for(login.database, cut(login.role)), login.groups) {
        // The only words of which it is not told, and now it is.
        (None, Some(groups)) if !rule.databases.iter().any(|word| word.starts_with(['/', '@'])) => {
            let database = login.database;
            Some(
                rule.databases.iter().any(is_role)
                    && (groups.contains(database) || cut(login.role) == database),
            )
        }
        (told, _) => told,
    }
}

fn about_role(rule: &HbaRule, login: &Login<'_>) -> Option<bool> {
    let told = rule.is_about(cut(login.role));
    let Some(groups) = login.groups.filter(|_| told.is_none()) else { return told };
    if rule.groups().any(|group| groups.contains(group)) {
        return Some(true);
    }
    (!rule.users.iter().any(|word| word.starts_with(['/', '@']))).then_some(false)
}

fn from_there(rule: &HbaRule, login: &Login<'_>) -> Option<bool> {
    let Some(address) = &rule.address else { return Some(false) };
    match (address.holds(login.from), address) {
        // The client is where the server is.
        (None, Address::SameHost | Address::SameNet) if login.to == Some(login.from) => Some(true),
        (told, _) => told,
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
