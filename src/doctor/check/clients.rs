//! The files and variables that libpq reads: the connection service file, and the variables that name one.

use std::path::{Path, PathBuf};

use super::drivers;
use super::exchangeable::NamedBy;
use super::own_user::own_user;
use super::parameters::Service;
use super::remedy;
use crate::companions::service_reader::{self, Entry, Unreadable};
use crate::config::{Config, Environment};
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::files;
use crate::key_mode::KeyMode;
use crate::material::{Certificate, Material, pem};

/// Largest service file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Up to two sections: one about the published service file, or about its absence if pgsvid only serves clients; and one about
/// the variable `PGSERVICEFILE`, otherwise `PGSSLMODE`.
pub(super) fn sections(
    config: &Config,
    environment: &Environment,
    on_disk: Option<&Material>,
) -> Vec<Section> {
    let mut sections = Vec::new();
    let published: Vec<_> = config
        .services
        .iter()
        .map(|service| (config.place.base().join(&service.file), service.name.as_str()))
        .collect();
    for ((path, name), service) in published.iter().zip(&config.services) {
        let mut section = Section::new(Group::Clients, format!("{} [{name}]", path.display()));
        if on_disk.is_none() && !path.exists() {
            section.add(Finding::skipped(Code::NothingPublished, "nothing is published yet"));
        } else {
            section.extend(service_file(config, environment, path, name, on_disk));
        }
        section.extend(drivers::of_section(config, service, on_disk));
        sections.push(section);
    }
    if published.is_empty()
        && config.place.directory().is_some()
        && config.rotation.servers.is_empty()
        && config.rotation.served.is_empty()
    {
        let mut section = Section::new(Group::Clients, "");
        let found = if drivers::has_store(config) {
            Finding::skipped(
                Code::ServiceFileNotConfigured,
                "no service file is configured: Java clients can use the key store, which they open once; whether libpq clients read \
                 certificate and key is not known",
            )
        } else {
            Finding::warning(
                Code::ServiceFileNotConfigured,
                "no service file is configured: libpq opens certificate and key one after the other, and fails \
                 (key values mismatch) when a rotation comes between",
            )
        };
        section.add(found.fix(
            "add [files.service] with a name, and set PGSERVICEFILE and PGSERVICE for the clients",
        ));
        sections.push(section);
    }
    let variable = |name: &str| environment.get(name).and_then(|value| value.to_str());
    if let Some(file) = variable("PGSERVICEFILE") {
        let name = variable("PGSERVICE");
        let known = published.iter().any(|(path, known)| {
            Some(*known) == name && same(&here(config, Path::new(file)), path)
        });
        if !known {
            let mut section = Section::new(Group::Clients, format!("PGSERVICEFILE={file}"));
            match name {
                None => section.add(
                    Finding::warning(
                        Code::PgserviceUnset,
                        "PGSERVICE is not set: libpq ignores PGSERVICEFILE unless \
                 service= is given",
                    )
                    .fix("set PGSERVICE to the name of the file's section"),
                ),
                Some(name) => {
                    let path = here(config, Path::new(file));
                    section.extend(service_file(config, environment, &path, name, on_disk));
                }
            }
            sections.push(section);
        }
    } else if let Some(mode) = variable("PGSSLMODE") {
        let mut section = Section::new(Group::Clients, format!("PGSSLMODE={mode}"));
        section.extend(sslmode(Some(mode), "PGSSLMODE"));
        sections.push(section);
    }
    sections
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    one == other || real(one).is_some() && real(one) == real(other)
}

/// The path on this side of a path that readers use.
pub(super) fn here(config: &Config, theirs: &Path) -> PathBuf {
    match theirs.strip_prefix(config.place.readers_base()) {
        Ok(rest) => config.place.base().join(rest),
        Err(_) => theirs.to_owned(),
    }
}

fn service_file(
    config: &Config,
    environment: &Environment,
    path: &Path,
    name: &str,
    on_disk: Option<&Material>,
) -> Vec<Finding> {
    let file = match files::read(path, LARGEST) {
        Ok(file) => file,
        Err(error) => {
            return vec![
                Finding::failure(
                    Code::ServiceFileUnreadable,
                    format!("libpq cannot read {}: {error}", path.display()),
                )
                .fix("start `pgsvid run` with [files.service], or fix PGSERVICEFILE"),
            ];
        }
    };
    let entries = match service_reader::section(&file, name) {
        Ok(entries) => entries,
        Err(error) => {
            let (code, fix) = match &error {
                Unreadable::NoSection(_) => (
                    Code::ServiceSectionMissing,
                    "set PGSERVICE to an existing section, or files.service.name to the one that is used",
                ),
                Unreadable::TooLong { .. } => {
                    (Code::ServiceLineTooLong, "shorten the value, or files.directory")
                }
                Unreadable::Syntax { .. } => (
                    Code::ServiceSyntax,
                    "fix the line: keyword=value, without blanks around =, and a keyword that libpq has",
                ),
            };
            return vec![
                Finding::failure(code, format!("libpq cannot use {}: {error}", path.display()))
                    .fix(fix),
            ];
        }
    };
    let service = Service { entries: &entries, environment, file: path };
    let mode = service.value("sslmode");
    let mut findings = sslmode(mode.as_deref(), &service.place("sslmode"));
    findings.extend(["sslcert", "sslkey", "sslrootcert"].into_iter().filter_map(|keyword| {
        // A variable applies where the service leaves the keyword out.
        let given = service.value(keyword).map(|value| Entry {
            line: 0,
            keyword: keyword.to_owned(),
            value,
        });
        named_file(
            config,
            given.as_slice(),
            keyword,
            Path::new(&service.place(keyword)),
            NamedBy::Operator,
        )
    }));
    findings.extend(other_authorities(config, &entries, on_disk));
    findings.extend(service.judge(on_disk));
    for entry in &entries {
        if let Some(since) = service_reader::since(&entry.keyword).filter(|since| *since > 14) {
            findings.push(Finding::warning(Code::ServiceKeywordNew, format!(
                "line {}: libpq older than {since} does not know {}, and refuses the whole section (syntax error in \
                 service file)",
                entry.line, entry.keyword
            )));
        }
    }
    if findings.is_empty() {
        findings
            .push(Finding::ok(Code::ServiceFile, "complete, strict, and within libpq's limits"));
    }
    findings
}

fn value<'a>(entries: &'a [Entry], keyword: &str) -> Option<&'a str> {
    entries.iter().find(|entry| entry.keyword == keyword).map(|entry| entry.value.as_str())
}

/// The findings about an sslmode, for a client that logs in by its certificate. `place` is where it is written.
pub(super) fn sslmode(mode: Option<&str>, place: &str) -> Vec<Finding> {
    let silent = "when a file is missing or the key's mode is wrong, libpq connects unencrypted without saying so";
    let fix = format!("write sslmode=verify-full in {place}");
    match mode {
        Some("verify-full") => Vec::new(),
        None if place == "files.service.options" => Vec::new(),
        None => vec![Finding::failure(Code::SslmodeNotStrict, format!("no sslmode: {silent}")).fix(fix)],
        Some(mode @ ("prefer" | "allow" | "disable")) => {
            vec![Finding::failure(Code::SslmodeNotStrict, format!("sslmode={mode}: {silent}")).fix(fix)]
        }
        Some("verify-ca" | "require") => vec![
            Finding::warning(Code::SslmodeServerUnproven, format!(
                "sslmode={} does not prove which server answers: any workload of the trust domain can impersonate it",
                mode.unwrap_or_default()
            ))
            .fix(fix),
        ],
        Some(mode) => {
            vec![Finding::failure(Code::SslmodeUnknown, format!("libpq does not know sslmode={mode:?}")).fix(fix)]
        }
    }
}

/// The findings about the file that a keyword names. `file` is where that is written, and `by` who has written it.
pub(super) fn named_file(
    config: &Config,
    entries: &[Entry],
    keyword: &str,
    file: &Path,
    by: NamedBy,
) -> Option<Finding> {
    let place = file.display();
    let Some(named) = value(entries, keyword) else {
        return Some(
            Finding::failure(
                Code::ServiceKeywordMissing,
                format!("{place} does not set {keyword}, so libpq looks in ~/.postgresql instead"),
            )
            .fix("let pgsvid write the file: [files.service]"),
        );
    };
    if keyword == "sslrootcert" && named == "system" {
        return Some(
            Finding::failure(
                Code::SslrootcertSystem,
                format!("{place}: sslrootcert=system does not know the trust domain's authority"),
            )
            .fix("set sslrootcert to the published bundle"),
        );
    }
    let path = here(config, Path::new(named));
    if !path.is_absolute() {
        return Some(
            Finding::failure(
                Code::ServicePathRelative,
                format!(
                    "{place}: {keyword}={named} is relative to the directory in which the client was started"
                ),
            )
            .fix("write an absolute path"),
        );
    }
    match std::fs::metadata(&path) {
        Ok(metadata) if keyword == "sslkey" => key_mode(config, &path, &metadata, by),
        Ok(_) => None,
        Err(error) => Some(
            Finding::failure(Code::ServicePathMissing, format!("{keyword} names {}: {error}", path.display())).fix(
                "start `pgsvid run`, which writes the file again for each generation; set files.seen_as if clients \
                 mount the directory elsewhere",
            ),
        ),
    }
}

/// Whether `sslrootcert` has other authorities than the published ones. `None` if it names a file of the published directory.
pub(super) fn other_authorities(
    config: &Config,
    entries: &[Entry],
    on_disk: Option<&Material>,
) -> Option<Finding> {
    let path = here(config, Path::new(value(entries, "sslrootcert")?));
    let (real, published) = (path.canonicalize().ok()?, config.place.base().canonicalize());
    // The set itself is examined elsewhere. A replaced generation may have authorities that have been removed since.
    if published.is_ok_and(|published| real.starts_with(published)) {
        return None;
    }
    let place = path.display();
    let fix = "set sslrootcert to the published bundle, svid_bundle.pem";
    let unknown = |why: String| {
        Finding::skipped(
            Code::ServiceAuthorities,
            format!("whether libpq accepts only servers of the published authorities: sslrootcert names {place}, {why}"),
        )
        .fix(fix)
    };
    let Some(material) = on_disk else {
        return Some(unknown("and there is no published set to compare it with".to_owned()));
    };
    let found = match files::contents(&path).map(|text| pem::decode_certificates(&text)) {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            return Some(unknown(format!("which is no valid list of certificates: {error}")));
        }
        Err(error) => return Some(unknown(format!("which cannot be read: {error}"))),
    };
    let is_ours = |one: &Certificate| material.authorities().any(|ours| ours.der() == one.der());
    let others = found.iter().filter(|one| !is_ours(one)).count();
    let is_whole = material
        .own_authorities()
        .iter()
        .all(|ours| found.iter().any(|one| one.der() == ours.der()));
    if others > 0 {
        return Some(
            Finding::warning(
                Code::ServiceAuthorities,
                format!(
                    "sslrootcert names {place}, which has {others} certificates that are not in the published bundle: libpq \
                     also accepts servers with certificates that these have signed"
                ),
            )
            .fix(fix),
        );
    }
    (!is_whole).then(|| {
        Finding::warning(
            Code::ServiceAuthorities,
            format!("sslrootcert names {place}, which lacks some of the published authorities: libpq refuses servers whose certificates these have signed"),
        )
        .fix(fix)
    })
}

fn key_mode(
    config: &Config,
    path: &Path,
    metadata: &std::fs::Metadata,
    by: NamedBy,
) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt as _;
    let limit = KeyMode::of(metadata.uid());
    if limit.accepts(metadata.mode()) {
        return None;
    }
    let found = Finding::failure(
        Code::ClientKeyMode,
        format!(
            "{} has mode {:04o}: libpq refuses a private key with group or world access",
            path.display(),
            metadata.mode() & 0o777
        ),
    );
    // A role of the database may name any file in a foreign server's options, also one that is no key.
    let is_ours = by == NamedBy::Operator || metadata.uid() == own_user(config).0;
    let command = remedy::on_file(&format!("chmod {limit}"), path).filter(|_| is_ours);
    Some(found.fix(command.map_or_else(
        || {
            "find out who has named this file as a key, and let sslkey name the published key"
                .to_owned()
        },
        |command| format!("{command}; on Kubernetes leave fsGroup out, because it widens modes"),
    )))
}
