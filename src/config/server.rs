//! The configured servers.

use super::file::Postgres;
use super::given::{Origin, Resolver};
use super::{Error, File, Flags, keys, rules, sessions};
use crate::consumers::Claims;
use crate::publish::Place;
use crate::sql::Purpose;
use crate::survey::{PublishedPaths, Viewpoint};
use crate::verify::{AddressOverlap, Target};
use crate::{consumers, sql, verify};

/// A configured server: its name, and how to reach it over SQL and over TLS.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Its name, which no other server has.
    pub name: String,
    /// How to reach it over SQL.
    pub session: sql::Settings,
    /// How to reach it over TLS, to verify what it serves.
    pub verify: verify::Settings,
    /// The addresses of the others, if one of them may have the same address.
    pub claims: Option<Claims>,
    /// Which of its sessions have outlived a certificate.
    pub sessions: consumers::SessionSettings,
}

/// A given flag that has no meaning without a PostgreSQL.
fn idle_flag(flags: &Flags) -> Option<&'static str> {
    [
        ("--name", &flags.name),
        ("--port", &flags.port),
        ("--user", &flags.user),
        ("--database", &flags.database),
        ("--verify", &flags.verify),
    ]
    .into_iter()
    .find_map(|(name, value)| value.is_some().then_some(name))
}

/// A server, with the paths by which it finds the published files.
pub(super) fn server(
    reached: ServerConfig,
    place: &Place,
    role_map: Option<Vec<String>>,
) -> consumers::Server {
    let ServerConfig { name, session, verify, claims, sessions } = reached;
    consumers::Server {
        name,
        session,
        verify,
        role_map,
        claims,
        sessions,
        paths: published_paths(place),
        viewpoint: viewpoint(place),
    }
}

/// The set's paths for its readers.
#[must_use]
pub fn published_paths(place: &Place) -> PublishedPaths {
    let [certificate, private_key, bundle] = place.readers_paths();
    PublishedPaths { certificate, private_key, bundle }
}

/// Where the set's directory is for this process, and for the readers.
pub(super) fn viewpoint(place: &Place) -> Viewpoint {
    Viewpoint {
        directory: place.base().to_owned(),
        seen_as: place.readers_base().to_owned(),
        data_directory: None,
    }
}

/// The configured servers, in the order of the file.
pub(super) fn servers(
    resolver: &Resolver<'_>,
    file: &File,
    flags: &Flags,
) -> Result<Vec<ServerConfig>, Error> {
    let mut tables = file.postgres.0.clone();
    let names = names(resolver, &tables)?;
    if let Some(wanted) = &flags.name {
        let Some(at) = names.iter().position(|name| name == wanted) else {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let why = format!("no [postgres] table has this name; those that have one: {known}");
            return Err(Error::given(&Origin::Flag("--name"), wanted, why));
        };
        tables = vec![tables.swap_remove(at)];
    }
    let tables_left_out: Vec<Postgres> = file
        .postgres
        .0
        .iter()
        .filter(|all| !tables.iter().any(|one| one.name() == all.name()))
        .cloned()
        .collect();
    let host = resolver.value(&keys::POSTGRES_HOST, flags.postgres.as_deref(), None).own()?;
    if tables.len() > 1 {
        one_table_alone(resolver, flags)?;
    }
    if tables.is_empty() {
        // `host` leaves out PGHOST, which a client pod often has set for its application: that alone configures no PostgreSQL.
        match (host, idle_flag(flags)) {
            (Some(_), _) => tables.push(Postgres::default()),
            (None, Some(flag)) => {
                return Err(Error::value(
                    &Origin::Flag(flag),
                    "no PostgreSQL is configured: add --postgres with the directory of its socket, or leave this out",
                ));
            }
            (None, None) => return Ok(Vec::new()),
        }
    }
    let mut servers: Vec<ServerConfig> =
        tables.iter().map(|table| reached(resolver, table, flags)).collect::<Result<_, _>>()?;
    let mut sockets: Vec<_> = servers.iter().map(|it| it.session.socket()).collect();
    sockets.sort_unstable();
    if let Some([socket, _]) = sockets.windows(2).find(|pair| pair[0] == pair[1]) {
        let why = format!("two tables name the socket {}: leave one of them out", socket.display());
        return Err(resolver.in_file("postgres", why));
    }
    one_place_each(resolver, &mut servers, tables_left_out)?;
    Ok(servers)
}

/// Fails if two tables certainly have the same address to probe, and sets `claims` of those that may have.
fn one_place_each(
    resolver: &Resolver<'_>,
    servers: &mut [ServerConfig],
    left_out: Vec<Postgres>,
) -> Result<(), Error> {
    let place = |one: &ServerConfig| (one.verify.target.clone(), one.session.port);
    let mut places: Vec<(Target, u16)> = servers.iter().map(place).collect();
    for table in left_out {
        let text = table.verify.as_deref().unwrap_or(keys::POSTGRES_VERIFY.default_text());
        // Errors in a table that is not used do not matter.
        let Ok(target) = text.parse() else { continue };
        let port = table.port.or_else(|| keys::POSTGRES_PORT.default_text().parse().ok());
        places.extend(port.map(|port| (target, port)));
    }
    let claims = Claims::default();
    for at in 0..servers.len() {
        let Some(one) = places.get(at) else { continue };
        let others = || places.iter().enumerate().filter(|(other, _)| *other != at);
        let meet = |(_, other): (usize, &(Target, u16))| one.0.meets(one.1, &other.0, other.1);
        let worst = others().map(meet).max().unwrap_or_default();
        if worst == AddressOverlap::Certain {
            let why = format!(
                "two tables name {}: what one PostgreSQL serves there would also count for the other; name each one's own address, \
                 or \"none\"",
                one.0
            );
            return Err(resolver.in_file(keys::POSTGRES_VERIFY.name, why));
        }
        if let Some(server) = servers.get_mut(at) {
            server.claims = (worst == AddressOverlap::Possible).then(|| claims.clone());
        }
    }
    Ok(())
}

/// The names of the tables. Fails if two have the same name.
fn names(resolver: &Resolver<'_>, tables: &[Postgres]) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for table in tables {
        let name = table.name();
        rules::name(name).map_err(|why| resolver.in_file(keys::POSTGRES_NAME.name, why))?;
        if names.iter().any(|known| known == name) {
            let why = format!("two [[postgres]] tables have the name {name:?}: give each its own");
            return Err(resolver.in_file(keys::POSTGRES_NAME.name, why));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Fails for flags and variables of pgsvid's that would apply to each of several tables.
fn one_table_alone(resolver: &Resolver<'_>, flags: &Flags) -> Result<(), Error> {
    for (key, flag) in [
        (&keys::POSTGRES_HOST, &flags.postgres),
        (&keys::POSTGRES_PORT, &flags.port),
        (&keys::POSTGRES_USER, &flags.user),
        (&keys::POSTGRES_DATABASE, &flags.database),
        (&keys::POSTGRES_VERIFY, &flags.verify),
    ] {
        if let Some(given) = resolver.value(key, flag.as_deref(), None).own()? {
            let why = "the configuration has several [[postgres]] tables: say it there, or name one of them with --name";
            return Err(Error::given(&given.origin, &given.text, why));
        }
    }
    Ok(())
}

/// How to reach a server over SQL and over TLS.
fn reached(
    resolver: &Resolver<'_>,
    table: &Postgres,
    flags: &Flags,
) -> Result<ServerConfig, Error> {
    let host = resolver
        .value(&keys::POSTGRES_HOST, flags.postgres.as_deref(), table.host.as_deref())
        .or_default()?;
    let port = resolver
        .value(
            &keys::POSTGRES_PORT,
            flags.port.as_deref(),
            table.port.map(|port| port.to_string()).as_deref(),
        )
        .or_default()?;
    let user = resolver
        .value(&keys::POSTGRES_USER, flags.user.as_deref(), table.user.as_deref())
        .or_default()?;
    let database = resolver
        .value(&keys::POSTGRES_DATABASE, flags.database.as_deref(), table.database.as_deref())
        .or_default()?;
    let target = resolver
        .value(&keys::POSTGRES_VERIFY, flags.verify.as_deref(), table.verify.as_deref())
        .or_default()?;
    if let Some(path) = &table.password_file {
        rules::absolute(path)
            .map_err(|why| resolver.in_file(keys::POSTGRES_PASSWORD_FILE.name, why))?;
    }
    let require_peer = table
        .require_peer
        .as_deref()
        .map(rules::user)
        .transpose()
        .map_err(|why| resolver.in_file(keys::POSTGRES_REQUIRE_PEER.name, why))?;
    let every = rules::interval(
        table.verify_every.as_deref().unwrap_or(keys::POSTGRES_VERIFY_EVERY.default_text()),
    )
    .map_err(|why| resolver.in_file(keys::POSTGRES_VERIFY_EVERY.name, why))?;
    // A role of another name may be a superuser.
    let purpose = if user.text == keys::POSTGRES_USER.default_text() {
        Purpose::Reload
    } else {
        Purpose::Administration
    };
    let session = sql::Settings {
        host: host.parse_with(|text| rules::socket_directory(text, keys::POSTGRES_PORT.name))?,
        port: port.parse_with(rules::port)?,
        user: user.text,
        database: database.text,
        password_file: table.password_file.clone(),
        require_peer,
        purpose,
    };
    let verify = verify::Settings {
        target: target.parse::<Target>()?,
        every,
        looks_up: true,
        begin: verify::Begin::SslRequest,
    };
    let name = table.name().to_owned();
    let sessions = sessions::sessions(resolver, table)?;
    Ok(ServerConfig { name, session, verify, claims: None, sessions })
}
