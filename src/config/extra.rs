//! What is published with certificate, key and bundle, if it is configured.

use std::path::Path;

use super::file::{File, Service};
use super::given::Resolver;
use super::keys::Key;
use super::{Error, formats, keys, names, rules};
use crate::companions::parameters::Value;
use crate::companions::role_map::RoleMap;
use crate::companions::{patroni_yaml, pgbouncer_ini, service_file};
use crate::publish::{self, Content};

/// Reads what is configured, and adds it to each generation. Without a directory there is nothing.
pub(super) fn extra(
    resolver: &Resolver<'_>,
    file: &File,
    place: &mut publish::Place,
    roles: &RoleMap,
) -> Result<Extra, Error> {
    let publish::Place::Directory(settings) = place else { return Ok(Extra::default()) };
    let extra = Extra::read(resolver, file, settings)?;
    extra.add_to(settings, roles);
    Ok(extra)
}

/// The other files of each generation.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) services: Vec<service_file::Settings>,
    /// The file's name of the map of `[[roles]]`.
    pub(super) ident: Option<String>,
    /// The file's name of the part of PgBouncer's ini.
    pub(super) pgbouncer: Option<String>,
    /// The file's name of the part of Patroni's configuration.
    pub(super) patroni: Option<String>,
    /// The set in other formats, by file name.
    formats: Vec<(String, Content)>,
}

impl Extra {
    /// Fails if two files have the same name.
    fn read(
        resolver: &Resolver<'_>,
        file: &File,
        publish: &publish::Settings,
    ) -> Result<Self, Error> {
        let name = |key: &'static Key, given: &Option<String>| {
            let name = given.as_deref().map(rules::file_name).transpose();
            name.map(|name| name.map(str::to_owned)).map_err(|why| resolver.in_file(key.name, why))
        };
        let ident = name(&keys::FILES_IDENT, &file.files.ident)?;
        let pgbouncer = name(&keys::FILES_PGBOUNCER, &file.files.pgbouncer)?;
        let patroni = name(&keys::FILES_PATRONI, &file.files.patroni)?;
        // Of a directory Patroni reads only such files.
        if patroni.as_ref().is_some_and(|name| Path::new(name).extension() != Some("yml".as_ref()))
        {
            let why = "it does not end in .yml, so Patroni would not read it";
            return Err(resolver.in_file(keys::FILES_PATRONI.name, why));
        }
        let formats = formats::formats(resolver, file)?;
        let service = |given| service(resolver, given, publish, &formats);
        let services: Vec<_> =
            file.files.service.0.iter().map(service).collect::<Result<_, _>>()?;
        let mut names = publish.files.names();
        names.extend(services.iter().map(|service| service.file.clone()));
        names.extend(ident.clone());
        names.extend(pgbouncer.clone());
        names.extend(patroni.clone());
        names.extend(formats.iter().map(|(name, _)| name.clone()));
        names.sort_unstable();
        if let Some([name, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(resolver.in_file("files", format!("two files have the same name, {name}")));
        }
        Ok(Self { services, ident, pgbouncer, patroni, formats })
    }

    /// Adds the files to each generation.
    fn add_to(&self, publish: &mut publish::Settings, roles: &RoleMap) {
        let names = names(publish);
        for service in self.services.iter().cloned() {
            let names = names.clone();
            publish.keep_until_expiry = true;
            let file = service.file.clone();
            let has_secret = service.has_secret();
            let render = move |generation: &Path| service.render(&names, generation);
            if has_secret {
                publish.files.add_secret(file, render);
            } else {
                publish.files.add_rendered(file, render);
            }
        }
        if let Some(name) = self.patroni.clone() {
            let names = names.clone();
            publish.keep_until_expiry = true;
            publish
                .files
                .add_rendered(name, move |generation| patroni_yaml::render(&names, generation));
        }
        if let Some(name) = self.pgbouncer.clone() {
            publish.keep_until_expiry = true;
            publish
                .files
                .add_rendered(name, move |generation| pgbouncer_ini::render(&names, generation));
        }
        if let Some(name) = self.ident.clone() {
            let map = roles.render();
            publish.files.add_rendered(name, move |_| map.clone());
        }
        for (name, content) in self.formats.iter().cloned() {
            publish.files.add(name, content);
        }
    }
}

fn service(
    resolver: &Resolver<'_>,
    given: &Service,
    publish: &publish::Settings,
    formats: &[(String, Content)],
) -> Result<service_file::Settings, Error> {
    let text = |(keyword, value): (String, Value)| (keyword, value.into());
    let name = given.file.as_deref().unwrap_or(keys::FILES_SERVICE_FILE.default_text());
    let name = rules::file_name(name)
        .map_err(|why| resolver.in_file(keys::FILES_SERVICE_FILE.name, why))?
        .to_owned();
    let mut names = names(publish);
    if let Some(key) = &given.private_key {
        let own = (&names.private_key, &Content::Key);
        let others = formats.iter().map(|(name, content)| (name, content));
        let with_keys = others.chain([own]).filter(|(_, content)| content.is_secret());
        let with_keys: Vec<&String> = with_keys.map(|(name, _)| name).collect();
        if !with_keys.contains(&key) {
            let files: Vec<_> = with_keys.iter().map(|name| name.as_str()).collect();
            let why = format!(
                "{key:?} is no file that pgsvid publishes with the private key: name one of {}, or add it as [[files.extra]]",
                files.join(", ")
            );
            return Err(resolver.in_file(keys::FILES_SERVICE_PRIVATE_KEY.name, why));
        }
        names.private_key.clone_from(key);
    }
    service_file::Settings::new(
        name,
        given.name.clone(),
        given.options.clone().unwrap_or_default().into_iter().map(text).collect(),
        &names,
        publish.readers_directory(),
    )
    .map_err(|why| resolver.in_file("files.service", why))
}
