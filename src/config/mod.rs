//! Configuration: turns file, flags and environment into each room's own settings, once.
//!
//! Precedence: flag, then `PGSVID_*`, then the file, then other programs' variables, then the default.

mod client;
mod error;
mod extra;
mod file;
mod formats;
mod given;
mod helper;
mod hooks;
pub mod keys;
mod mistakes;
mod parts;
mod patroni;
mod place;
mod pooler;
mod reading;
mod roles;
mod rules;
#[cfg(feature = "schema")]
mod schema;
mod secret_table;
mod secrets;
mod served;
mod server;
mod sessions;
mod source;
mod tables;
mod tokens;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use error::Error;
use extra::{Extra, extra};
use file::File;
pub use given::Flags;
use given::{Origin, Resolver};
pub use helper::from_helper;
pub use parts::Parts;
pub use rules::LONGEST;
#[cfg(feature = "schema")]
pub use schema::schema;
pub use server::{ServerConfig, published_paths};
pub use variables::{Driver, NoVariables};

use crate::companions::role_map::RoleMap;
use crate::companions::service_file;
use crate::consumers::{ClientLogin, verified};
use crate::material::{Expectations, Policy, Users};
use crate::source::workload_api::Selection;
use crate::{http, publish, rotation, sandbox, telemetry};

/// The default path of the file.
pub const DEFAULT_FILE: &str = "/etc/pgsvid/pgsvid.toml";

/// All settings, for every room.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Where identities come from.
    pub source: crate::source::Settings,
    /// Where consumers find the set.
    pub place: publish::Place,
    /// The connection service files.
    pub services: Vec<service_file::Settings>,
    /// Which workload may log in as which role.
    pub roles: RoleMap,
    /// Name of the file that the map is published as, if it is published.
    pub ident: Option<String>,
    /// The files with tokens, and that of the JWT bundle.
    pub tokens: Option<crate::tokens::Settings>,
    /// The settings of the rotation loop.
    pub rotation: rotation::Settings,
    /// Where to listen for status requests, if anywhere.
    pub health: Option<http::Listen>,
    /// The settings of the sandbox.
    pub sandbox: sandbox::Settings,
    /// How to log.
    pub log: telemetry::Settings,
    /// Whether this is a configuration of spiffe-helper that says to fetch once, and end.
    pub once: bool,
}

/// The environment of the process. Values need not be UTF-8.
pub type Environment = BTreeMap<String, OsString>;

impl Config {
    /// The connection service file that stands for all: the first.
    #[must_use]
    pub fn service(&self) -> Option<&service_file::Settings> {
        self.services.first()
    }

    /// The login of a client with the first service, as this role and in this environment. `None` if there is no service, or it
    /// names no host; an error with the reason if pgsvid cannot log in as libpq would.
    #[must_use]
    pub fn login_as(
        &self,
        role: &str,
        environment: &Environment,
    ) -> Option<Result<ClientLogin, String>> {
        client::login_as(self.service()?, role, environment)
    }

    /// The files with passwords, each once for its key.
    #[must_use]
    pub fn password_files(&self) -> BTreeSet<(&'static str, &Path)> {
        let stores = self.place.password_files().into_iter();
        let stores = stores.map(|path| ("files.extra.password_file", path));
        let servers = self.rotation.servers.iter();
        let roles = servers.filter_map(|server| server.session.password_file.as_deref());
        let roles = roles.map(|path| ("postgres.password_file", path));
        let api = self.rotation.patroni.as_ref().and_then(|api| api.credentials.as_ref());
        let api = api.map(|given| ("patroni.password_file", given.password_file.as_path()));
        let targets = self.rotation.secrets.iter().flat_map(|it| &it.targets);
        let fields = targets.flat_map(|it| it.fields.values());
        let fields = fields.filter_map(|field| field.content.password_file());
        let fields = fields.map(|path| ("secrets.fields", path));
        stores.chain(roles).chain(api).chain(fields).collect()
    }

    /// Reads the file that flags or environment name, and combines everything.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, Error> {
        let (path, file) = read(flags, environment)?;
        assemble(path.as_deref(), &file, flags, environment)
    }
}

fn read(flags: &Flags, environment: &Environment) -> Result<(Option<PathBuf>, File), Error> {
    if let Some(path) = &flags.helper_config {
        return Ok((Some(path.clone()), helper::file(path, environment)?));
    }
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

/// A file that cannot be examined does not count as missing.
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
    let mut source = source::source(&resolver, file, flags)?;
    let mut place = place::place(&resolver, file, flags)?;
    if let crate::source::Settings::Files(files) = &mut source {
        files.in_place = matches!(place, publish::Place::InPlace(_));
    }
    source::apart(&resolver, &source, &place)?;
    let servers = server::servers(&resolver, file, flags)?;
    let roles = roles::roles(&resolver, file, &servers)?;
    let extra = extra(&resolver, file, &mut place, &roles)?;
    let poolers = pooler::poolers(&resolver, file, &place, &servers, extra.pgbouncer.as_ref())?;
    let part = extra.patroni.as_ref();
    let patroni = patroni::rest_api(&resolver, file, &place, &servers, &poolers, part)?;
    let Extra { services, ident, .. } = extra;
    let role_map = ident.as_ref().map(|_| roles.expressions());
    let servers = servers.into_iter().map(|it| server::server(it, &place, role_map.clone()));
    let servers: Vec<_> = servers.collect();
    let extra_authorities = file.files.extra_authorities.clone().unwrap_or_default();
    for path in &extra_authorities {
        rules::absolute(path)
            .map_err(|why| resolver.in_file(keys::FILES_EXTRA_AUTHORITIES.name, why))?;
    }
    let publish_every = rules::pause(
        file.files.publish_every.as_deref().unwrap_or(keys::FILES_PUBLISH_EVERY.default_text()),
    )
    .map_err(|why| resolver.in_file(keys::FILES_PUBLISH_EVERY.name, why))?;
    let consumers: Vec<_> = verified(&servers, &poolers, patroni.as_ref())
        .map(|(name, target)| hooks::Consumer { name, target })
        .collect();
    let names: Vec<&str> = consumers.iter().map(|it| it.name).collect();
    let follows = !(servers.is_empty() && poolers.is_empty());
    let clients = client::clients(&resolver, file, &services, &names, follows, flags.is_libpqs)?;
    let logins = clients.iter().map(|it| it.name.as_str());
    let others: Vec<&str> = names.iter().copied().chain(logins).collect();
    let served = served::served(&resolver, file, &others)?;
    // A PgBouncer also connects to PostgreSQL, and Patroni to the other nodes, so they use the SVID as a client.
    let uses_as_client = !poolers.is_empty() || patroni.is_some() || !clients.is_empty();
    let is_client = !services.is_empty() || uses_as_client;
    let is_served = !(servers.is_empty() && poolers.is_empty() && served.is_empty());
    source.expectations_mut().users = users(is_served, is_client);
    let expectations = source.expectations().clone();
    let logins = clients.iter().map(|it| it.name.as_str());
    let aside: Vec<&str> = logins.chain(served.iter().map(|it| it.name.as_str())).collect();
    let others: Vec<&str> = names.iter().chain(&aside).copied().collect();
    let secrets = secrets::secrets(&resolver, file, &others)?;
    let hooks = hooks::hooks(&resolver, file, &place, &consumers, &aside)?;
    let tokens = tokens::tokens(&resolver, file, &source, &place)?;
    let has_readers = !(consumers.is_empty() && hooks.is_empty() && clients.is_empty());
    let has_targets = place.directory().is_some() || secrets.is_some();
    if !has_targets && !has_readers && served.is_empty() {
        return Err(Error::NoReaders);
    }
    let rotation = rotation::Settings {
        expectations,
        before: None,
        extra_authorities,
        publish_every,
        hooks,
        servers,
        poolers,
        patroni,
        clients,
        secrets,
        served,
    };
    let health = health(&resolver, file)?;
    let log = log(&resolver, &file.log, flags)?;
    let sandbox = sandbox::Settings { enabled: file.sandbox.enabled.unwrap_or(true) };
    Ok(Config {
        file: path.map(Path::to_owned),
        source,
        place,
        services,
        roles,
        ident,
        tokens,
        rotation,
        health,
        sandbox,
        log,
        once: file.once,
    })
}

/// Who uses the SVID. `servers` means that a PostgreSQL, a PgBouncer or a `[[served]]` is configured, `service` that a service file, a
/// PgBouncer or Patroni uses the SVID as a client. Without servers, the SVID is for clients in any case.
fn users(servers: bool, service: bool) -> Users {
    Users { servers, clients: service || !servers }
}

/// Which SVID to use, and its requirements.
fn identity(
    resolver: &Resolver<'_>,
    file: &File,
    flags: &Flags,
) -> Result<(Selection, Expectations), Error> {
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
    let selection = Selection {
        spiffe_id: spiffe_id.as_ref().map(ToString::to_string),
        hint: hint.map(|given| given.text),
        published: None,
    };
    let trust_domain =
        trust_domain.map(|given| given.parse_with(rules::trust_domain)).transpose()?;
    let federated = file.files.federated_bundles.unwrap_or(false);
    let dns_names = dns_names(resolver, file, flags)?;
    let users = Users::default();
    let policy = Policy::Spiffe;
    let hint = selection.hint.clone();
    let expectations =
        Expectations { policy, spiffe_id, trust_domain, hint, federated, users, dns_names };
    Ok((selection, expectations))
}

/// The names that the SVID should have. A flag and a variable separate them by commas; the file has a list.
fn dns_names(resolver: &Resolver<'_>, file: &File, flags: &Flags) -> Result<Vec<String>, Error> {
    let in_file = file.svid.dns_names.as_deref().filter(|names| !names.is_empty());
    let in_file = in_file.map(|names| names.join(","));
    let given = resolver
        .value(&keys::SVID_DNS_NAMES, flags.dns_names.as_deref(), in_file.as_deref())
        .resolve()?;
    given.map_or(Ok(Vec::new()), |given| given.parse_with(rules::host_names))
}

fn health(resolver: &Resolver<'_>, file: &File) -> Result<Option<http::Listen>, Error> {
    let listen =
        resolver.value(&keys::HEALTH_LISTEN, None, file.health.listen.as_deref()).resolve()?;
    listen.map(|given| given.parse()).transpose()
}

/// Where a daemon with this configuration listens, if it does; the rest of the configuration may be missing.
pub fn listener(flags: &Flags, environment: &Environment) -> Result<Option<http::Listen>, Error> {
    let (path, file) = read(flags, environment)?;
    health(&Resolver { file: path.as_deref(), environment }, &file)
}

/// The Kubernetes Secrets; `None` if there are none. The rest of the configuration may be missing.
pub fn secrets(
    flags: &Flags,
    environment: &Environment,
) -> Result<Option<crate::consumers::SecretsSettings>, Error> {
    let (path, file) = read(flags, environment)?;
    secrets::secrets(&Resolver { file: path.as_deref(), environment }, &file, &[])
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
    let [certificate, private_key, bundle] = publish.files.set_names();
    service_file::Names { certificate, private_key, bundle }
}

#[cfg(test)]
mod tests;
