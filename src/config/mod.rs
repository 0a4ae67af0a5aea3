//! Configuration: file, flags and environment become each room's own settings, once.
//!
//! Precedence: flag, then `PGSVID_*`, then the file, then other programs' variables, then the default.

mod error;
mod file;
mod given;
pub mod keys;
mod parts;
mod roles;
mod rules;
#[cfg(feature = "schema")]
mod schema;
mod server;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use error::Error;
use file::File;
pub use given::Flags;
use given::{Origin, Resolver};
use keys::Key;
pub use parts::Parts;
pub use rules::LONGEST;
#[cfg(feature = "schema")]
pub use schema::schema;
pub use server::Reached;

use crate::companions::parameters::Value;
use crate::companions::role_map::RoleMap;
use crate::companions::service_file;
use crate::material::Expectations;
use crate::{http, publish, rotation, sandbox, source, telemetry};

/// Where the file is looked for when nothing names one.
pub const DEFAULT_FILE: &str = "/etc/pgsvid/pgsvid.toml";

/// Everything, for every room.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Where identities come from.
    pub source: source::Settings,
    /// Where they are published.
    pub publish: publish::Settings,
    /// The connection service file, if one is wanted.
    pub service: Option<service_file::Settings>,
    /// Which workload may be which role.
    pub roles: RoleMap,
    /// Name of the file that the map is published as, if it is.
    pub ident: Option<String>,
    /// What follows a publication.
    pub rotation: rotation::Settings,
    /// Where to answer who asks, if anywhere.
    pub health: Option<http::Listen>,
    /// What the process denies itself.
    pub sandbox: sandbox::Settings,
    /// How to log.
    pub log: telemetry::Settings,
}

/// The environment, as the process found it. Values need not be UTF-8.
pub type Environment = BTreeMap<String, OsString>;

impl Config {
    /// Reads the file that flags or environment name, and puts everything together.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, Error> {
        let (path, file) = read(flags, environment)?;
        assemble(path.as_deref(), &file, flags, environment)
    }
}

fn read(flags: &Flags, environment: &Environment) -> Result<(Option<PathBuf>, File), Error> {
    match file_path(flags, environment)? {
        Some(path) => {
            let file = File::read(&path)?;
            Ok((Some(path), file))
        }
        None => Ok((None, File::default())),
    }
}

fn file_path(flags: &Flags, environment: &Environment) -> Result<Option<PathBuf>, Error> {
    if let Some(path) = &flags.config {
        return Ok(Some(path.clone()));
    }
    if let Some(path) = environment.get("PGSVID_CONFIG") {
        if path.is_empty() {
            return Err(Error::value(
                &Origin::Variable("PGSVID_CONFIG"),
                "it is empty; unset it, or name a file",
            ));
        }
        return Ok(Some(PathBuf::from(path)));
    }
    found(Path::new(DEFAULT_FILE))
}

/// A file that cannot be looked at is not taken for one that is absent.
fn found(path: &Path) -> Result<Option<PathBuf>, Error> {
    match path.try_exists() {
        Ok(exists) => Ok(exists.then(|| path.to_owned())),
        Err(cause) => Err(Error::Unreadable { path: path.to_owned(), cause }),
    }
}

fn assemble(
    path: Option<&Path>,
    file: &File,
    flags: &Flags,
    environment: &Environment,
) -> Result<Config, Error> {
    let resolver = Resolver { file: path, environment };
    let source = source(&resolver, file, flags)?;
    let publish = publish(&resolver, file, flags)?;
    let service = service(&resolver, file, &publish)?;
    let publish = publish::Settings { keep_until_expiry: service.is_some(), ..publish };
    let servers = server::servers(&resolver, file, flags)?;
    let roles = roles::roles(&resolver, file, &servers)?;
    let ident = ident(&resolver, file, &publish, service.as_ref())?;
    let role_map = ident.as_ref().map(|_| roles.expressions());
    let servers = servers.into_iter().map(|it| server::server(it, &publish, role_map.clone()));
    let servers = servers.collect();
    let extra_authorities = file.files.extra_authorities.clone().unwrap_or_default();
    for path in &extra_authorities {
        rules::absolute(path)
            .map_err(|why| resolver.in_file(keys::FILES_EXTRA_AUTHORITIES.name, why))?;
    }
    let publish_every = rules::pause(
        file.files.publish_every.as_deref().unwrap_or(keys::FILES_PUBLISH_EVERY.default_text()),
    )
    .map_err(|why| resolver.in_file(keys::FILES_PUBLISH_EVERY.name, why))?;
    let expectations = source.expectations.clone();
    let rotation = rotation::Settings { expectations, extra_authorities, publish_every, servers };
    let health = health(&resolver, file)?;
    let log = log(&resolver, &file.log, flags)?;
    let sandbox = sandbox::Settings { enabled: file.sandbox.enabled.unwrap_or(true) };
    Ok(Config {
        file: path.map(Path::to_owned),
        source,
        publish,
        service,
        roles,
        ident,
        rotation,
        health,
        sandbox,
        log,
    })
}

fn source(resolver: &Resolver<'_>, file: &File, flags: &Flags) -> Result<source::Settings, Error> {
    let endpoint = resolver
        .value(
            &keys::WORKLOAD_API_ENDPOINT,
            flags.endpoint.as_deref(),
            file.workload_api.endpoint.as_deref(),
        )
        .resolve()?
        .ok_or(Error::NoEndpoint)?;
    let (selection, expectations) = identity(resolver, file, flags)?;
    Ok(source::Settings {
        endpoint: endpoint.parse()?,
        federated_bundles: expectations.federated,
        selection,
        expectations,
    })
}

/// Which SVID to take, and what it must be.
fn identity(
    resolver: &Resolver<'_>,
    file: &File,
    flags: &Flags,
) -> Result<(source::Selection, Expectations), Error> {
    let spiffe_id = resolver
        .value(&keys::SVID_SPIFFE_ID, flags.spiffe_id.as_deref(), file.svid.spiffe_id.as_deref())
        .resolve()?;
    let hint = resolver
        .value(&keys::SVID_HINT, flags.hint.as_deref(), file.svid.hint.as_deref())
        .resolve()?;
    let trust_domain = resolver
        .value(&keys::SVID_TRUST_DOMAIN, None, file.svid.trust_domain.as_deref())
        .resolve()?;
    let spiffe_id = spiffe_id.map(|given| given.parse_with(rules::spiffe_id)).transpose()?;
    let selection = source::Selection {
        spiffe_id: spiffe_id.as_ref().map(ToString::to_string),
        hint: hint.map(|given| given.text),
    };
    let trust_domain =
        trust_domain.map(|given| given.parse_with(rules::trust_domain)).transpose()?;
    let federated = file.files.federated_bundles.unwrap_or(false);
    Ok((selection, Expectations { spiffe_id, trust_domain, federated }))
}

fn publish(
    resolver: &Resolver<'_>,
    file: &File,
    flags: &Flags,
) -> Result<publish::Settings, Error> {
    let files = &file.files;
    let directory = resolver
        .value(&keys::FILES_DIRECTORY, flags.directory.as_deref(), files.directory.as_deref())
        .resolve()?
        .ok_or(Error::NoDirectory)?
        .parse_with(|text| rules::absolute(Path::new(text)).map(Path::to_owned))?;
    let group = resolver
        .value(&keys::FILES_GROUP, flags.group.as_deref(), files.group.as_deref())
        .resolve()?
        .map(|given| given.parse_with(rules::group))
        .transpose()?;
    let key_mode = rules::key_mode(files.private_key_mode.as_deref(), group.is_some())
        .map_err(|why| resolver.in_file(keys::FILES_PRIVATE_KEY_MODE.name, why))?;
    let certificate_mode = rules::certificate_mode(files.certificate_mode.as_deref())
        .map_err(|why| resolver.in_file(keys::FILES_CERTIFICATE_MODE.name, why))?;
    let keep_at_most = files.keep_at_most.unwrap_or(16);
    if !(2..=1000).contains(&keep_at_most) {
        return Err(
            resolver.in_file(keys::FILES_KEEP_AT_MOST.name, "it must lie between 2 and 1000")
        );
    }
    let seen_as = files.seen_as.clone();
    if let Some(path) = &seen_as {
        rules::absolute(path).map_err(|why| resolver.in_file(keys::FILES_SEEN_AS.name, why))?;
    }
    let name = |key: &'static Key, given: &Option<String>| {
        let name = given.as_deref().unwrap_or(key.default_text());
        rules::file_name(name).map(str::to_owned).map_err(|why| resolver.in_file(key.name, why))
    };
    Ok(publish::Settings {
        directory,
        certificate: name(&keys::FILES_CERTIFICATE, &files.certificate)?,
        private_key: name(&keys::FILES_PRIVATE_KEY, &files.private_key)?,
        bundle: name(&keys::FILES_BUNDLE, &files.bundle)?,
        private_key_mode: key_mode,
        certificate_mode,
        group,
        keep_at_most,
        keep_until_expiry: false,
        seen_as,
    })
}

fn service(
    resolver: &Resolver<'_>,
    file: &File,
    publish: &publish::Settings,
) -> Result<Option<service_file::Settings>, Error> {
    let text = |(keyword, value): (String, Value)| (keyword, value.into());
    let service = match &file.files.service {
        None => None,
        Some(given) => {
            let name = given.file.as_deref().unwrap_or(keys::FILES_SERVICE_FILE.default_text());
            let name = rules::file_name(name)
                .map_err(|why| resolver.in_file(keys::FILES_SERVICE_FILE.name, why))?
                .to_owned();
            let settings = service_file::Settings::new(
                name,
                given.name.clone(),
                given.options.clone().unwrap_or_default().into_iter().map(text).collect(),
                &names(publish),
                publish.readers_directory(),
            )
            .map_err(|why| resolver.in_file("files.service", why))?;
            Some(settings)
        }
    };
    Ok(service)
}

/// The name of the published map, once it is known that no two files have the same name.
fn ident(
    resolver: &Resolver<'_>,
    file: &File,
    publish: &publish::Settings,
    service: Option<&service_file::Settings>,
) -> Result<Option<String>, Error> {
    let ident = file.files.ident.as_deref().map(rules::file_name).transpose();
    let ident =
        ident.map_err(|why| resolver.in_file(keys::FILES_IDENT.name, why))?.map(str::to_owned);
    let mut names = vec![&publish.certificate, &publish.private_key, &publish.bundle];
    names.extend(service.map(|service| &service.file));
    names.extend(&ident);
    names.sort_unstable();
    if let Some([name, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(resolver.in_file("files", format!("two files have the same name, {name}")));
    }
    Ok(ident)
}

fn health(resolver: &Resolver<'_>, file: &File) -> Result<Option<http::Listen>, Error> {
    let listen =
        resolver.value(&keys::HEALTH_LISTEN, None, file.health.listen.as_deref()).resolve()?;
    listen.map(|given| given.parse()).transpose()
}

/// Where a daemon of this configuration answers, if it does; the rest of it need not be there.
pub fn listener(flags: &Flags, environment: &Environment) -> Result<Option<http::Listen>, Error> {
    let (path, file) = read(flags, environment)?;
    health(&Resolver { file: path.as_deref(), environment }, &file)
}

fn log(
    resolver: &Resolver<'_>,
    file: &file::Log,
    flags: &Flags,
) -> Result<telemetry::Settings, Error> {
    let format = resolver
        .value(&keys::LOG_FORMAT, flags.log_format.as_deref(), file.format.as_deref())
        .or_default()?;
    let level = resolver
        .value(&keys::LOG_LEVEL, flags.log_level.as_deref(), file.level.as_deref())
        .or_default()?;
    Ok(telemetry::Settings { format: format.parse()?, level: level.parse()? })
}

/// The names of the three files, for a service file.
#[must_use]
pub fn names(publish: &publish::Settings) -> service_file::Names {
    service_file::Names {
        certificate: publish.certificate.clone(),
        private_key: publish.private_key.clone(),
        bundle: publish.bundle.clone(),
    }
}

#[cfg(test)]
mod tests;
