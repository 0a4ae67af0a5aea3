//! Where consumers find the set: in the directory of `[files]`, or, without one, in the files of `[certificates]`.

use super::file::{File, Files};
use super::given::Resolver;
use super::{Error, Flags, keys, publish as directory, source};
use crate::publish::{InPlace, Place};

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
