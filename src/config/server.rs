//! The PostgreSQL that takes part, if one does.

use super::given::{Given, Origin, Resolver};
use super::{Error, File, Flags, rules};
use crate::sql::Purpose;
use crate::survey::{PublishedPaths, Viewpoint};
use crate::verify::Target;
use crate::{consumers, publish, sql, verify};

/// The role that reloads, unless another one is configured.
const RELOADS: &str = "pgsvid";

/// A flag that would say something about a PostgreSQL, if one took part.
fn idle_flag(flags: &Flags) -> Option<&'static str> {
    [
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
    session: sql::Settings,
    verify: verify::Settings,
    publish: &publish::Settings,
    role_map: Option<Vec<String>>,
) -> consumers::Server {
    let readers = publish.readers_directory();
    consumers::Server {
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

/// How to reach it over SQL and over TLS.
pub(super) fn postgres(
    resolver: &Resolver<'_>,
    file: &File,
    flags: &Flags,
) -> Result<Option<(sql::Settings, verify::Settings)>, Error> {
    let table = file.postgres.clone().unwrap_or_default();
    let host = resolver
        .value("postgres.host", flags.postgres.as_deref(), table.host.as_deref())
        .flag("--postgres")
        .variable("PGSVID_POSTGRES")
        .resolve()?;
    // A client pod often has PGHOST set for its application: that alone lets no PostgreSQL take part.
    if host.is_none() && file.postgres.is_none() {
        return match idle_flag(flags) {
            Some(flag) => Err(Error::value(
                &Origin::Flag(flag),
                "no PostgreSQL takes part: add --postgres with the directory of its socket, or leave this out",
            )),
            None => Ok(None),
        };
    }
    let host = match host {
        Some(given) => given,
        None => resolver
            .value("postgres.host", None, None)
            .foreign("PGHOST")
            .resolve()?
            .unwrap_or_else(|| Given::default_value("/var/run/postgresql")),
    };
    let port = resolver
        .value(
            "postgres.port",
            flags.port.as_deref(),
            table.port.map(|port| port.to_string()).as_deref(),
        )
        .flag("--port")
        .foreign("PGPORT")
        .resolve()?
        .unwrap_or_else(|| Given::default_value("5432"));
    let user = resolver
        .value("postgres.user", flags.user.as_deref(), table.user.as_deref())
        .flag("--user")
        .variable("PGSVID_USER")
        .foreign("PGUSER")
        .resolve()?
        .unwrap_or_else(|| Given::default_value(RELOADS));
    let database = resolver
        .value("postgres.database", flags.database.as_deref(), table.database.as_deref())
        .flag("--database")
        .variable("PGSVID_DATABASE")
        .foreign("PGDATABASE")
        .resolve()?
        .unwrap_or_else(|| Given::default_value("postgres"));
    let target = resolver
        .value("postgres.verify", flags.verify.as_deref(), table.verify.as_deref())
        .flag("--verify")
        .variable("PGSVID_VERIFY")
        .resolve()?
        .unwrap_or_else(|| Given::default_value("auto"));
    if let Some(path) = &table.password_file {
        rules::absolute(path).map_err(|why| resolver.in_file("postgres.password_file", why))?;
    }
    let require_peer = table
        .require_peer
        .as_deref()
        .map(rules::user)
        .transpose()
        .map_err(|why| resolver.in_file("postgres.require_peer", why))?;
    let every = rules::interval(table.verify_every.as_deref().unwrap_or("5m"))
        .map_err(|why| resolver.in_file("postgres.verify_every", why))?;
    // A role of another name may be a superuser.
    let purpose = if user.text == RELOADS { Purpose::Reload } else { Purpose::Administration };
    let session = sql::Settings {
        host: host.parse_with(rules::socket_directory)?,
        port: port.parse_with(rules::port)?,
        user: user.text,
        database: database.text,
        password_file: table.password_file,
        require_peer,
        purpose,
    };
    Ok(Some((
        session,
        verify::Settings { target: target.parse::<Target>()?, every, looks_up: true },
    )))
}
