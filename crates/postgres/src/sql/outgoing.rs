//! The connection strings of what a server connects to by itself: subscriptions, foreign servers and user mappings. Passwords
//! are not among the options that are queried; a subscription's string can only be queried as a whole.

use super::error::Error;
use pgsvid_base::text::shown;

/// How many options and strings are queried.
const MOST: u64 = 2000;

/// Something that the server connects to, and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What it is.
    pub kind: OutgoingKind,
    /// Its options. Of a foreign server without those of a mapping.
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
    /// How many mappings there are whose options the role may not see.
    pub unseen_mappings: u64,
}

/// The foreign servers of libpq's wrappers. The validator tells these, whatever they are called.
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

/// The enabled subscriptions; only with the first right. A disabled one connects to nobody, and may be a part of another set-up.
pub(super) fn subscriptions() -> String {
    format!(
        "SELECT 'subscription', s.subname, d.datname, NULL, s.subconninfo FROM pg_catalog.pg_subscription s \
           JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE s.subenabled ORDER BY s.oid LIMIT {MOST}"
    )
}

/// The options of foreign servers, and of the mappings that the role sees.
pub(super) fn servers() -> String {
    const WHERE: &str = "WHERE o.option_name NOT IN ('password', 'sslpassword', 'scram_client_key', 'scram_server_key')";
    format!(
        "(SELECT 'server', s.srvname, NULL, o.option_name, o.option_value {SERVERS}, \
                 LATERAL pg_catalog.pg_options_to_table(s.srvoptions) o {WHERE} ORDER BY s.oid LIMIT {MOST}) \
         UNION ALL (SELECT 'mapping', s.srvname, NULLIF(m.umuser, 0)::pg_catalog.regrole::pg_catalog.text, o.option_name, o.option_value \
                 {SERVERS} JOIN pg_catalog.pg_user_mappings m ON m.srvid = s.oid, \
                 LATERAL pg_catalog.pg_options_to_table(m.umoptions) o {WHERE} ORDER BY m.umid LIMIT {MOST})"
    )
}

pub(super) fn parse(rows: &[Vec<Option<String>>]) -> Result<Vec<Outgoing>, Error> {
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
