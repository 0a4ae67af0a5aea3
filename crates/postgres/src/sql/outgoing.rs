//! The connection strings of what a server connects to by itself: subscriptions, foreign servers and user mappings. Passwords
//! are not among the options that are queried; a subscription's string can only be queried as a whole.

use super::error::Error;
use super::statements::literal;
use pgsvid_base::text::shown;

/// Options of libpq 18 whose values are secrets.
pub const SECRETS: [&str; 5] =
    ["password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"];

/// How many options and strings are queried.
const MOST: usize = 2000;

/// Something that the server connects to, and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What it is.
    pub kind: OutgoingKind,
    /// Its options. Those of a foreign server do not include the options of its mappings.
    pub options: Options,
}

/// What the server connects to. Names are not escaped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutgoingKind {
    /// A subscription: its name, and its database.
    Subscription(String, String),
    /// A foreign server of `postgres_fdw` or `dblink_fdw`.
    Server(String),
    /// A mapping of such a server: its role, quoted as in SQL, which is `None` for PUBLIC; and the server.
    Mapping(Option<String>, String),
}

impl OutgoingKind {
    /// Its name for people: `subscription a`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Subscription(name, _) => format!("subscription {}", shown(name)),
            Self::Server(name) => format!("foreign server {}", shown(name)),
            Self::Mapping(role, server) => {
                let role = role.as_deref().map_or_else(|| "PUBLIC".to_owned(), shown);
                format!("user mapping of {role} for server {}", shown(server))
            }
        }
    }
}

/// How the options are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Options {
    /// As one connection string, which may hold a password.
    Text(String),
    /// One by one, without passwords.
    Pairs(Vec<(String, String)>),
}

/// What a role can see of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllOutgoing {
    /// What the role sees: foreign servers of this database, and subscriptions of all.
    pub seen: Vec<Outgoing>,
    /// How many subscriptions there are whose strings the role may not see.
    pub unseen_subscriptions: u64,
    /// How many mappings there are whose options the role may not see, or that have none.
    pub unseen_mappings: u64,
    /// Whether there is more than is queried.
    pub is_cut: bool,
}

/// The foreign servers of the wrappers that use libpq. A wrapper may have any name, so its validator is compared.
const SERVERS: &str = "\
    FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw \
    JOIN pg_catalog.pg_proc v ON v.oid = w.fdwvalidator AND v.proname IN ('postgres_fdw_validator', 'dblink_fdw_validator')";

/// Whether the role may see the strings of subscriptions, and the options of all user mappings; and how many of both there are, or
/// of mappings without options that it sees. `pg_user_mappings` shows the options of all only to superusers, whatever the rights on
/// `pg_user_mapping` are (PostgreSQL: `system_views.sql`).
pub(super) fn allowed() -> String {
    format!(
        "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT'), \
                pg_catalog.current_setting('is_superuser') = 'on', \
                (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription WHERE subenabled), \
                (SELECT pg_catalog.count(*) {SERVERS} JOIN pg_catalog.pg_user_mappings m ON m.srvid = s.oid WHERE m.umoptions IS NULL)"
    )
}

/// The enabled subscriptions; only with the first right. A disabled one connects to no server, and may belong to another set-up.
pub(super) fn subscriptions() -> String {
    format!(
        "SELECT 'subscription', s.subname, d.datname, NULL, s.subconninfo FROM pg_catalog.pg_subscription s \
           JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE s.subenabled ORDER BY s.oid LIMIT {}",
        MOST + 1
    )
}

/// The options of foreign servers, and of the mappings that the role sees.
pub(super) fn servers() -> String {
    let more = MOST + 1;
    let secrets = SECRETS.map(literal).join(", ");
    let filter = format!("WHERE o.option_name NOT IN ({secrets})");
    format!(
        "(SELECT 'server', s.srvname, NULL, o.option_name, o.option_value {SERVERS}, \
                 LATERAL pg_catalog.pg_options_to_table(s.srvoptions) o {filter} ORDER BY s.oid LIMIT {more}) \
         UNION ALL (SELECT 'mapping', s.srvname, NULLIF(m.umuser, 0)::pg_catalog.regrole::pg_catalog.text, o.option_name, o.option_value \
                 {SERVERS} JOIN pg_catalog.pg_user_mappings m ON m.srvid = s.oid, \
                 LATERAL pg_catalog.pg_options_to_table(m.umoptions) o {filter} ORDER BY m.umid LIMIT {more})"
    )
}

/// What the rows of one kind say, without those beyond the limit, and without the last object if some of its options may be among
/// these; and whether there were any.
fn parse_part(
    rows: &[Vec<Option<String>>],
    each_is_whole: bool,
) -> Result<(Vec<Outgoing>, bool), Error> {
    let is_cut = rows.len() > MOST;
    let mut found = parse(&rows[..rows.len().min(MOST)])?;
    if is_cut && !each_is_whole {
        found.pop();
    }
    Ok((found, is_cut))
}

/// What the rows about subscriptions say.
pub(super) fn parse_subscriptions(
    rows: &[Vec<Option<String>>],
) -> Result<(Vec<Outgoing>, bool), Error> {
    parse_part(rows, true)
}

/// What the rows about foreign servers and user mappings say. A mapping is left out if its server may have been left out.
pub(super) fn parse_servers(rows: &[Vec<Option<String>>]) -> Result<(Vec<Outgoing>, bool), Error> {
    let is_server = |row: &&Vec<Option<String>>| {
        row.first().is_some_and(|kind| kind.as_deref() == Some("server"))
    };
    let (servers, mappings) = rows.split_at(rows.iter().take_while(is_server).count());
    let (mut found, servers_cut) = parse_part(servers, false)?;
    let (mut mappings, mappings_cut) = parse_part(mappings, false)?;
    if servers_cut {
        mappings.retain(|mapping| match &mapping.kind {
            OutgoingKind::Mapping(_, of) => {
                found.iter().any(|one| one.kind == OutgoingKind::Server(of.clone()))
            }
            _ => true,
        });
    }
    found.extend(mappings);
    Ok((found, servers_cut || mappings_cut))
}

fn parse(rows: &[Vec<Option<String>>]) -> Result<Vec<Outgoing>, Error> {
    let mut found: Vec<Outgoing> = Vec::new();
    for row in rows {
        let [Some(kind), Some(name), role, option, Some(value)] = row.as_slice() else {
            return Err(Error::Unexpected);
        };
        let (name, value) = (name.clone(), value.clone());
        let kind = match kind.as_str() {
            "subscription" => {
                let database = role.clone().ok_or(Error::Unexpected)?;
                let kind = OutgoingKind::Subscription(name, database);
                found.push(Outgoing { kind, options: Options::Text(value) });
                continue;
            }
            "server" => OutgoingKind::Server(name),
            "mapping" => OutgoingKind::Mapping(role.clone(), name),
            _ => return Err(Error::Unexpected),
        };
        let pair = (option.clone().ok_or(Error::Unexpected)?, value);
        match found.iter_mut().find(|known| known.kind == kind) {
            Some(Outgoing { options: Options::Pairs(pairs), .. }) => pairs.push(pair),
            _ => found.push(Outgoing { kind, options: Options::Pairs(vec![pair]) }),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, server: &str, option: &str) -> Vec<Option<String>> {
        let role = (kind == "mapping").then(|| "app".to_owned());
        let text = |text: &str| Some(text.to_owned());
        vec![text(kind), text(server), role, text(option), text("x")]
    }

    #[test]
    fn l12_an_object_that_may_be_cut_in_the_middle_is_left_out() {
        let mut rows: Vec<_> =
            (0..MOST - 1).map(|at| row("server", &at.to_string(), "host")).collect();
        rows.extend([row("server", "last", "host"), row("mapping", "0", "user")]);
        rows.push(row("mapping", "last", "user"));
        let (found, is_cut) = parse_servers(&rows).unwrap();
        assert_eq!((found.len(), is_cut), (MOST + 2, false));
        rows.insert(MOST, row("server", "last", "sslmode"));
        let (found, is_cut) = parse_servers(&rows).unwrap();
        assert!(is_cut);
        let last = OutgoingKind::Server("last".to_owned());
        assert!(found.iter().all(|one| one.kind != last));
        // The mapping of a server whose options are not known is not judged.
        let mappings = found.iter().filter(|one| matches!(one.kind, OutgoingKind::Mapping(..)));
        let of: Vec<_> = mappings.map(|one| one.kind.name()).collect();
        assert_eq!(of, ["user mapping of app for server 0"]);
    }
}
