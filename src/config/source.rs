//! Where identities come from: exactly one source.

use std::path::PathBuf;

use super::file::{Certificates, File};
use super::given::Resolver;
use super::keys::Key;
use super::{Error, Flags, identity, keys, rules};
use crate::material::{Expectations, Policy};
use crate::source::{files, workload_api};
use crate::{source, text};

/// The range of `certificates.renewal_percent`.
const RENEWAL_PERCENT: std::ops::RangeInclusive<u32> = 10..=95;

pub(super) fn source(
    resolver: &Resolver<'_>,
    file: &File,
    flags: &Flags,
) -> Result<source::Settings, Error> {
    let in_file = file.workload_api.endpoint.as_deref();
    let endpoint = resolver.value(&keys::WORKLOAD_API_ENDPOINT, flags.endpoint.as_deref(), in_file);
    let (selection, mut expectations) = identity(resolver, file, flags)?;
    let Some(table) = &file.certificates else {
        let endpoint = endpoint.resolve()?.ok_or(Error::NoEndpoint)?;
        return Ok(source::Settings::WorkloadApi(workload_api::Settings {
            endpoint: endpoint.parse()?,
            federated_bundles: expectations.federated,
            selection,
            expectations,
        }));
    };
    // `own` leaves out other programs' variables: a pod often has one set for its application, and that alone names no source.
    if let Some(given) = endpoint.own()? {
        let why = "[certificates] names a source, too, and pgsvid uses exactly one: remove this value, or that table";
        return Err(Error::given(&given.origin, &given.text, why));
    }
    if selection.hint.is_some() {
        let why =
            "a hint chooses among an agent's SVIDs, and [certificates] names files: leave it out";
        return Err(resolver.in_file(keys::SVID_HINT.name, why));
    }
    if expectations.federated {
        let why =
            "only an agent knows other trust domains, and [certificates] names files: leave it out";
        return Err(resolver.in_file(keys::FILES_FEDERATED_BUNDLES.name, why));
    }
    expectations.policy = policy(file, &expectations);
    Ok(source::Settings::Files(files::Settings {
        paths: paths(resolver, table)?,
        expectations,
        published: None,
        renewal_percent: renewal_percent(resolver, table)?,
        is_silent: false,
        in_place: false,
    }))
}

/// By which rules an identity is judged: files need to hold an X509-SVID only if a SPIFFE ID or a trust domain is configured.
pub(super) fn policy(file: &File, expectations: &Expectations) -> Policy {
    let wants_svid = expectations.spiffe_id.is_some() || expectations.trust_domain.is_some();
    if file.certificates.is_none() || wants_svid { Policy::Spiffe } else { Policy::X509 }
}

pub(super) fn paths(resolver: &Resolver<'_>, table: &Certificates) -> Result<files::Paths, Error> {
    let path = |key: &Key, given: &Option<PathBuf>| {
        let Some(path) = given else {
            let why = "it is missing: [certificates] needs certificate, private_key and bundle, each the path of a PEM file";
            return Err(resolver.in_file(key.name, why));
        };
        rules::absolute(path).map_err(|why| resolver.in_file(key.name, why))?;
        Ok(path.clone())
    };
    Ok(files::Paths {
        certificate: path(&keys::CERTIFICATES_CERTIFICATE, &table.certificate)?,
        private_key: path(&keys::CERTIFICATES_PRIVATE_KEY, &table.private_key)?,
        bundle: path(&keys::CERTIFICATES_BUNDLE, &table.bundle)?,
    })
}

fn renewal_percent(resolver: &Resolver<'_>, table: &Certificates) -> Result<u32, Error> {
    let key = &keys::CERTIFICATES_RENEWAL_PERCENT;
    let percent = table.renewal_percent.or_else(|| key.default_text().parse().ok());
    match percent {
        Some(percent) if RENEWAL_PERCENT.contains(&percent) => Ok(percent),
        _ => Err(resolver.in_file(key.name, "it must lie between 10 and 95")),
    }
}

/// Fails if a source file lies in the published directory, because pgsvid replaces the files there.
pub(super) fn apart(
    resolver: &Resolver<'_>,
    source: &source::Settings,
    place: &crate::publish::Place,
) -> Result<(), Error> {
    let (Some(files), Some(publish)) = (source.files(), place.directory()) else { return Ok(()) };
    let inside = files.paths.all().into_iter().find(|path| path.starts_with(&publish.directory));
    let Some(path) = inside else { return Ok(()) };
    let why = format!(
        "{} lies in {}, where pgsvid publishes: let it publish to another directory",
        text::harmless(&path.display().to_string()),
        publish.directory.display()
    );
    Err(resolver.in_file("certificates", why))
}
