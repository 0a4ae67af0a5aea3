//! The PostgreSQL that takes part, if one does.

use super::given::{Origin, Resolver};
use super::{Error, File, Flags, keys, rules};
use crate::sql::Purpose;
use crate::survey::{PublishedPaths, Viewpoint};
use crate::verify::Target;
use crate::{consumers, publish, sql, verify};

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
        .value(&keys::POSTGRES_HOST, flags.postgres.as_deref(), table.host.as_deref())
        .own()?;
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
        None => resolver.value(&keys::POSTGRES_HOST, None, None).or_default()?,
    };
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
        password_file: table.password_file,
        require_peer,
        purpose,
    };
    Ok(Some((
        session,
        verify::Settings { target: target.parse::<Target>()?, every, looks_up: true },
    )))
}
