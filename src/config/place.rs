//! Where consumers find the set: in the directory of `[files]`, or, without one, in the files of `[certificates]`.

use std::path::Path;

use super::file::{File, Files};
use super::given::Resolver;
use super::keys::{self, Key};
use super::{Error, Flags, rules, source};
use crate::publish::{self, InPlace, Place};

/// The place. Without a directory it is the files of `[certificates]`; without these, [`Error::NoDirectory`].
pub(super) fn place(resolver: &Resolver<'_>, file: &File, flags: &Flags) -> Result<Place, Error> {
    let Some(certificates) = &file.certificates else {
        return match directory(resolver, file, flags) {
            Err(Error::NoDirectory) if !file.secrets.is_empty() => memory(resolver, file, flags),
            other => other.map(Place::Directory),
        };
    };
    match directory(resolver, file, flags) {
        Ok(settings) => return Ok(Place::Directory(settings)),
        Err(Error::NoDirectory) => {}
        Err(error) => return Err(error),
    }
    let group = resolver.value(&keys::FILES_GROUP, flags.group.as_deref(), None).resolve()?;
    if let Some(given) = group {
        return Err(Error::given(&given.origin, &given.text, NEEDS_DIRECTORY));
    }
    if let Some(name) = idle(&file.files) {
        return Err(resolver.in_file(name, NEEDS_DIRECTORY));
    }
    let paths = source::paths(resolver, certificates)?;
    Ok(Place::InPlace(InPlace { paths: [paths.certificate, paths.private_key, paths.bundle] }))
}

/// The directory of `[files]`, and how sets are published there.
fn directory(
    resolver: &Resolver<'_>,
    file: &File,
    flags: &Flags,
) -> Result<publish::Settings, Error> {
    let files = &file.files;
    let directory = resolver
        .value(&keys::FILES_DIRECTORY, flags.directory.as_deref(), files.directory.as_deref())
        .resolve()?
        .ok_or(Error::NoDirectory)?
        .parse_with(|text| match rules::absolute(Path::new(text)) {
            Ok(path) if path.parent().is_none() => {
                Err("/ would let pgsvid write everywhere: use a directory of its own".to_owned())
            }
            path => path.map(Path::to_owned),
        })?;
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
            resolver.in_file(keys::FILES_KEEP_AT_MOST.name, "it must be between 2 and 1000")
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
    let names = [
        name(&keys::FILES_CERTIFICATE, &files.certificate)?,
        name(&keys::FILES_PRIVATE_KEY, &files.private_key)?,
        name(&keys::FILES_BUNDLE, &files.bundle)?,
    ];
    Ok(publish::Settings {
        directory,
        files: publish::Files::new(names, key_mode, certificate_mode),
        group,
        keep_at_most,
        keep_until_expiry: false,
        seen_as,
    })
}

/// Secrets are all that the set is for: nothing may be configured that reads files of it.
fn memory(resolver: &Resolver<'_>, file: &File, flags: &Flags) -> Result<Place, Error> {
    let readers = [
        ("postgres", !file.postgres.0.is_empty() || flags.postgres.is_some()),
        ("pgbouncer", !file.pgbouncer.0.is_empty()),
        ("patroni", !file.patroni.0.is_empty()),
        ("hooks", !file.hooks.is_empty()),
    ];
    if let Some((name, _)) = readers.into_iter().find(|(_, given)| *given) {
        let why = "it is for files that pgsvid publishes, and without files.directory the set only goes to [[secrets]]: set files.directory, or leave this out";
        return Err(resolver.in_file(name, why));
    }
    let files = Files { extra_authorities: None, ..file.files.clone() };
    match idle(&files) {
        Some(name) => Err(resolver.in_file(name, NEEDS_DIRECTORY)),
        None => Ok(Place::Memory),
    }
}

const NEEDS_DIRECTORY: &str = "it is about files that pgsvid publishes, and without files.directory it publishes none: set files.directory, or leave this out";

/// The first given key of `[files]` that has no meaning without a directory.
fn idle(files: &Files) -> Option<&'static str> {
    let Files {
        directory: _,
        // How often the consumers get another set.
        publish_every: _,
        // An agent's.
        federated_bundles: _,
        certificate,
        private_key,
        bundle,
        private_key_mode,
        certificate_mode,
        group,
        extra_authorities,
        keep_at_most,
        seen_as,
        ident,
        ident_lines,
        service,
        pgbouncer,
        patroni,
        extra,
    } = files;
    [
        (keys::FILES_CERTIFICATE.name, certificate.is_some()),
        (keys::FILES_PRIVATE_KEY.name, private_key.is_some()),
        (keys::FILES_BUNDLE.name, bundle.is_some()),
        (keys::FILES_PRIVATE_KEY_MODE.name, private_key_mode.is_some()),
        (keys::FILES_CERTIFICATE_MODE.name, certificate_mode.is_some()),
        (keys::FILES_GROUP.name, group.is_some()),
        (keys::FILES_EXTRA_AUTHORITIES.name, extra_authorities.is_some()),
        (keys::FILES_KEEP_AT_MOST.name, keep_at_most.is_some()),
        (keys::FILES_SEEN_AS.name, seen_as.is_some()),
        (keys::FILES_IDENT.name, ident.is_some()),
        (keys::FILES_IDENT_LINES.name, ident_lines.is_some()),
        ("files.service", !service.0.is_empty()),
        (keys::FILES_PGBOUNCER.name, pgbouncer.is_some()),
        (keys::FILES_PATRONI.name, patroni.is_some()),
        ("files.extra", !extra.is_empty()),
    ]
    .into_iter()
    .find_map(|(name, given)| given.then_some(name))
}
