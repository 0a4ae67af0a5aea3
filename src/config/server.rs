//! The servers that take part, if any do.

use super::file::Postgres;
use super::given::{Origin, Resolver};
use super::{Error, File, Flags, keys, rules};
use crate::sql::Purpose;
use crate::survey::{PublishedPaths, Viewpoint};
use crate::verify::Target;
use crate::{consumers, publish, sql, verify};

/// One that takes part: its name, and how to reach it over SQL and over TLS.
#[derive(Debug, Clone)]
pub struct Reached {
    /// Its name, which no other one has.
    pub name: String,
    /// Over SQL.
    pub session: sql::Settings,
    /// Over TLS.
    pub verify: verify::Settings,
}

/// A flag that would say something about a PostgreSQL, if one took part.
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

/// The server, and the published files as it sees them.
pub(super) fn server(
    reached: Reached,
    publish: &publish::Settings,
    role_map: Option<Vec<String>>,
) -> consumers::Server {
    let readers = publish.readers_directory();
    let Reached { name, session, verify } = reached;
    consumers::Server {
        name,
        session,
        verify,
        role_map,
        paths: PublishedPaths {
            certificate: readers.join(&publish.certificate),
            private_key: readers.join(&publish.private_key),
            bundle: readers.join(&publish.bundle),
        },
        viewpoint: Viewpoint {
            directory: publish.directory.clone(),
            seen_as: readers.to_owned(),
            data_directory: None,
        },
    }
}

/// Those that take part, in the order of the file.
pub(super) fn servers(
    resolver: &Resolver<'_>,
    file: &File,
    flags: &Flags,
) -> Result<Vec<Reached>, Error> {
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
    let host = resolver.value(&keys::POSTGRES_HOST, flags.postgres.as_deref(), None).own()?;
    if tables.len() > 1 {
        one_table_alone(resolver, flags)?;
    }
    if tables.is_empty() {
        // A client pod often has PGHOST set for its application: that alone lets no PostgreSQL take part.
        match (host, idle_flag(flags)) {
            (Some(_), _) => tables.push(Postgres::default()),
            (None, Some(flag)) => {
                return Err(Error::value(
                    &Origin::Flag(flag),
                    "no PostgreSQL takes part: add --postgres with the directory of its socket, or leave this out",
                ));
            }
            (None, None) => return Ok(Vec::new()),
        }
    }
    let servers: Vec<Reached> =
        tables.iter().map(|table| reached(resolver, table, flags)).collect::<Result<_, _>>()?;
    let mut sockets: Vec<_> = servers.iter().map(|it| it.session.socket()).collect();
    sockets.sort_unstable();
    if let Some([socket, _]) = sockets.windows(2).find(|pair| pair[0] == pair[1]) {
        let why = format!("two tables name the socket {}: leave one of them out", socket.display());
        return Err(resolver.in_file("postgres", why));
    }
    Ok(servers)
}

/// The names of the tables, once it is known that each has its own.
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

/// What flags and our own variables say would be meant for each of several tables.
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

/// How to reach one over SQL and over TLS.
fn reached(resolver: &Resolver<'_>, table: &Postgres, flags: &Flags) -> Result<Reached, Error> {
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
        host: host.parse_with(rules::socket_directory)?,
        port: port.parse_with(rules::port)?,
        user: user.text,
        database: database.text,
        password_file: table.password_file.clone(),
        require_peer,
        purpose,
    };
    let verify = verify::Settings { target: target.parse::<Target>()?, every, looks_up: true };
    let name = table.name().to_owned();
    Ok(Reached { name, session, verify })
}
