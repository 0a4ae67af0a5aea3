//! What libpq reads: the connection service file, and the variables that name one.

use std::path::{Path, PathBuf};

use super::parameters::Service;
use crate::companions::service_reader::{self, Entry, Unreadable};
use crate::config::{Config, Environment};
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::files;
use crate::material::Material;
use crate::text;

/// Largest service file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// One section for the published service file, and one for a file that the environment names.
pub(super) fn sections(
    config: &Config,
    environment: &Environment,
    on_disk: Option<&Material>,
) -> Vec<Section> {
    let mut sections = Vec::new();
    let published = config
        .service
        .as_ref()
        .map(|service| (config.publish.directory.join(&service.file), service.name.as_str()));
    match &published {
        Some((path, name)) => {
            let mut section = Section::new(Group::Clients, format!("{} [{name}]", path.display()));
            if on_disk.is_none() && !path.exists() {
                section.add(Finding::skipped(Code::NothingPublished, "nothing is published yet"));
            } else {
                section.extend(service_file(config, environment, path, name, on_disk));
            }
            sections.push(section);
        }
        None if config.rotation.servers.is_empty() => {
            let mut section = Section::new(Group::Clients, "");
            section.add(
                Finding::warning(Code::ServiceFileNotConfigured,
                    "no service file is configured: libpq opens certificate and key one after the other, \
                     and fails \
                     (key values mismatch) when a rotation comes between",
                )
                .fix("add [files.service] with a name, and set PGSERVICEFILE and PGSERVICE for the clients"),
            );
            sections.push(section);
        }
        None => {}
    }
    let variable = |name: &str| environment.get(name).and_then(|value| value.to_str());
    if let Some(file) = variable("PGSERVICEFILE") {
        let name = variable("PGSERVICE");
        let known = published.as_ref().is_some_and(|(path, known)| {
            Some(*known) == name && same(&here(config, Path::new(file)), path)
        });
        if !known {
            let mut section = Section::new(Group::Clients, format!("PGSERVICEFILE={file}"));
            match name {
                None => section.add(
                    Finding::warning(
                        Code::PgserviceUnset,
                        "PGSERVICE is not set: libpq passes over PGSERVICEFILE unless \
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

/// The path here of a path that readers see.
fn here(config: &Config, theirs: &Path) -> PathBuf {
    match theirs.strip_prefix(config.publish.readers_directory()) {
        Ok(rest) => config.publish.directory.join(rest),
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
                .fix("start `pgsvid run` with [files.service], or mend PGSERVICEFILE"),
            ];
        }
    };
    let entries = match service_reader::section(&file, name) {
        Ok(entries) => entries,
        Err(error) => {
            let (code, fix) = match &error {
                Unreadable::NoSection(_) => (
                    Code::ServiceSectionMissing,
                    "set PGSERVICE to a section that is there, or files.service.name to the one that is used",
                ),
                Unreadable::TooLong { .. } => {
                    (Code::ServiceLineTooLong, "shorten the value, or files.directory")
                }
                Unreadable::Syntax { .. } => (
                    Code::ServiceSyntax,
                    "mend the line: keyword=value, without blanks around =, and a keyword that libpq has",
                ),
            };
            return vec![
                Finding::failure(code, format!("libpq cannot use {}: {error}", path.display()))
                    .fix(fix),
            ];
        }
    };
    let mut findings: Vec<Finding> =
        sslmode(value(&entries, "sslmode"), &path.display().to_string());
    findings.extend(
        ["sslcert", "sslkey", "sslrootcert"]
            .into_iter()
            .filter_map(|keyword| named_file(config, &entries, keyword, path)),
    );
    let service = Service { entries: &entries, environment, file: path };
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

/// What a mode means for somebody whose certificate is to count. `place` is where it is written.
pub(super) fn sslmode(mode: Option<&str>, place: &str) -> Vec<Finding> {
    let silent =
        "when a file is missing or the key's mode is wrong, libpq connects unencrypted, in silence";
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
                "sslmode={} does not prove which server answers: any workload of the trust domain may pose as it",
                mode.unwrap_or_default()
            ))
            .fix(fix),
        ],
        Some(mode) => {
            vec![Finding::failure(Code::SslmodeUnknown, format!("sslmode={mode:?} is none that libpq knows")).fix(fix)]
        }
    }
}

fn named_file(config: &Config, entries: &[Entry], keyword: &str, file: &Path) -> Option<Finding> {
    let place = file.display();
    let Some(named) = value(entries, keyword) else {
        return Some(
            Finding::failure(
                Code::ServiceKeywordMissing,
                format!("{place} does not say {keyword}: libpq looks in ~/.postgresql instead"),
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
            .fix("let sslrootcert name the published bundle"),
        );
    }
    let path = here(config, Path::new(named));
    if !path.is_absolute() {
        return Some(
            Finding::failure(
                Code::ServicePathRelative,
                format!(
                    "{place}: {keyword}={named} is relative to wherever the client was started"
                ),
            )
            .fix("write an absolute path"),
        );
    }
    match std::fs::metadata(&path) {
        Ok(metadata) if keyword == "sslkey" => key_mode(&path, &metadata),
        Ok(_) => None,
        Err(error) => Some(
            Finding::failure(Code::ServicePathMissing, format!("{keyword} names {}: {error}", path.display())).fix(
                "start `pgsvid run`, which writes the file anew for each generation; set files.seen_as if clients \
                 mount the directory elsewhere",
            ),
        ),
    }
}

/// libpq's rule (`fe-secure-openssl.c`): root's key with 0640 at most, anybody else's with 0600.
fn key_mode(path: &Path, metadata: &std::fs::Metadata) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt as _;
    let (allowed, limit) = if metadata.uid() == 0 { (0o740, "0640") } else { (0o700, "0600") };
    (metadata.mode() & 0o777 & !allowed != 0).then(|| {
        Finding::failure(
            Code::ClientKeyMode,
            format!(
                "{} has mode {:04o}: libpq refuses a private key with group or world access",
                path.display(),
                metadata.mode() & 0o777
            ),
        )
        .fix(format!(
            "chmod {limit} {}; on Kubernetes leave fsGroup out, which widens modes",
            text::argument(path)
        ))
    })
}
