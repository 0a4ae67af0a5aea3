//! The options of a connection that a server opens, judged like those of a client.

use std::path::{Path, PathBuf};

use super::clients;
use super::exchangeable::NamedBy;
use super::parameters::Service;
use super::pinned::{self, Written};
use crate::companions::service_reader::{self, Entry};
use crate::config::{Config, Environment};
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::material::Material;
use crate::text::shown;

/// The keywords that name certificate files.
const FILES: [&str; 3] = ["sslcert", "sslkey", "sslrootcert"];
/// Most findings about one connection that are shown.
const MOST: usize = 16;
/// The keyword that names a file of revocation lists.
const LISTS: &str = "sslcrl";

/// Whether the keyword names a certificate file. Capital letters count, too, so that a keyword that libpq refuses is reported.
pub(super) fn names_a_file(keyword: &str) -> bool {
    FILES.iter().any(|file| file.eq_ignore_ascii_case(keyword))
}

pub(super) fn is_known(keyword: &str, version: u32) -> bool {
    keyword == "service" || service_reader::since(keyword).is_some_and(|since| since <= version)
}

/// The finding about a setting that is not a list of `keyword=value`: libpq also accepts a URI, which pgsvid does not read, and
/// refuses everything else.
pub(super) fn unread(setting: &str, text: &str) -> Finding {
    let is_uri = ["postgresql://", "postgres://"].iter().any(|scheme| text.starts_with(scheme));
    if is_uri || !FILES.iter().any(|file| text.contains(file)) {
        let what = if is_uri { "is a URI" } else { "is not a list of keyword=value" };
        return Finding::skipped(
            Code::ServiceSyntax,
            format!("{setting} {what}, so its files are not examined"),
        )
        .about(setting);
    }
    Finding::failure(
        Code::ServiceSyntax,
        format!("libpq refuses {setting}: it is not a list of keyword=value"),
    )
    .about(setting)
    .fix(format!(
        "write each option of {setting} as keyword=value, and a value with blanks between single quotes"
    ))
}

/// The finding about an unknown keyword, which makes libpq refuse the whole setting ("invalid connection option").
pub(super) fn refused(setting: &str, keyword: &str, version: u32) -> Finding {
    let keyword = shown(keyword);
    Finding::failure(
        Code::ServiceSyntax,
        format!("libpq refuses {setting}: version {version} has no option {keyword}"),
    )
    .about(setting)
    .fix(format!("correct {keyword} in {setting}, or remove it"))
}

fn value_of<'a>(entries: &'a [Entry], keyword: &str) -> Option<&'a str> {
    entries.iter().find(|entry| entry.keyword == keyword).map(|entry| entry.value.as_str())
}

/// The files that libpq looks for in the home directory of the server's user because the setting does not name them.
fn missing(setting: &str, place: &str, entries: &[Entry]) -> Vec<Finding> {
    let value = |keyword: &str| value_of(entries, keyword);
    let verifies = value("sslmode").is_some_and(|mode| mode.starts_with("verify-"));
    let needed = [
        ("sslcert", value("sslkey").is_some()),
        ("sslkey", value("sslcert").is_some()),
        ("sslrootcert", verifies),
    ];
    let missing = needed.into_iter().filter(|(keyword, is)| *is && value(keyword).is_none());
    missing
        .map(|(keyword, _)| {
            Finding::warning(
                Code::ServiceKeywordMissing,
                format!(
                    "{setting} does not set {keyword}, so libpq looks for the file in the directory .postgresql of the home of \
                     PostgreSQL's user"
                ),
            )
            .fix(format!(
                "add {keyword} with the path of the published file to {}",
                if keyword == "sslrootcert" { place } else { setting }
            ))
        })
        .collect()
}

/// The keywords and values in the form of a service's entries. The server resolves relative paths in its data directory.
pub(super) fn entries(pairs: Vec<(String, String)>, data: Option<&Path>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (keyword, mut value) in pairs {
        if let Some(data) = data.filter(|_| keyword == "sslcrldir") {
            let parts = value.split(':').filter(|part| !part.is_empty());
            let parts: Vec<String> =
                parts.map(|part| data.join(part).display().to_string()).collect();
            value = parts.join(":");
        }
        let names_file = FILES.contains(&keyword.as_str()) || keyword == LISTS;
        if let Some(data) = data.filter(|_| names_file && value != "system" && !value.is_empty()) {
            value = data.join(value).display().to_string();
        }
        // Of equal keywords the last one counts in a connection string.
        entries.retain(|entry| entry.keyword != keyword);
        entries.push(Entry { line: 1, keyword, value });
    }
    entries
}

/// The options of one connection that the server opens.
pub(super) struct ConnectionString<'a> {
    /// The setting, or what people call it.
    pub(super) name: &'a str,
    /// All options of the connection.
    pub(super) entries: &'a [Entry],
    /// The options that are judged here; `None` means all. The others belong to an object that has findings of its own.
    pub(super) own: Option<&'a [Entry]>,
    pub(super) written: Written<'a>,
    /// Where a missing option should be added, except `sslcert` and `sslkey`, which belong to `name`.
    pub(super) place: &'a str,
    /// Whether the options that are judged here name the server to connect to.
    pub(super) has_places: bool,
    /// Whether these are all options: no user mapping adds others.
    pub(super) is_whole: bool,
}

impl ConnectionString<'_> {
    /// The findings about it; one `ok` if there is nothing to report.
    pub(super) fn judged(
        &self,
        config: &Config,
        server: &Server,
        on_disk: Option<&Material>,
    ) -> Vec<Finding> {
        let Self { name, place, .. } = *self;
        let own = self.own.unwrap_or(self.entries);
        let file = PathBuf::from(name);
        // The server has another environment.
        let environment = Environment::new();
        let service = Service { entries: own, environment: &environment, file: &file };
        let value = |keyword: &str| value_of(own, keyword);
        let through_service = value_of(self.entries, "service").is_some();
        let mut found = Vec::new();
        if through_service {
            found.push(Finding::skipped(
                Code::ServiceFile,
                format!("{name} names a service, whose options are not examined"),
            ));
        }
        // Without an sslmode of its own the connection has that of the other object, which is judged there.
        let is_judged_elsewhere = self.own.is_some() && value("sslmode").is_none();
        if !is_judged_elsewhere && (!through_service || value("sslmode").is_some()) {
            found.extend(clients::sslmode(Some(value("sslmode").unwrap_or("prefer")), place));
        }
        let pinned = pinned::finding(config, server, name, own, self.written);
        let is_pinned = |keyword: &str| {
            value(keyword).is_some_and(|path| pinned::stable(config, Path::new(path)).is_some())
        };
        let files = FILES.iter().filter(|keyword| value(keyword).is_some() && !is_pinned(keyword));
        found.extend(files.filter_map(|keyword| {
            clients::named_file(config, own, keyword, &file, NamedBy::Server)
        }));
        found.extend(pinned);
        found.extend(pinned::other_files(config, name, own));
        found.extend(clients::other_authorities(config, own, on_disk));
        found.extend(service.judge_values());
        found.extend(service.authorities_among_lists());
        found.extend(service.revocation(on_disk));
        if !through_service && self.is_whole {
            found.extend(missing(name, place, self.entries));
        }
        if self.has_places && !through_service {
            found.extend(service.judge_places());
        }
        // Its author must not bury what else is wrong.
        if found.len() > MOST {
            found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
            let more = found.len() - MOST;
            found.truncate(MOST);
            let text = format!("{name}: {more} more findings are not shown");
            found.push(Finding::skipped(Code::ConnectionUnseen, text));
        }
        if found.is_empty() {
            let text = format!("{name}: complete and strict");
            found.push(Finding::ok(Code::ServiceFile, text));
        }
        for finding in &mut found {
            finding.object.get_or_insert_with(|| name.to_owned());
            if !finding.text.contains(name) {
                finding.text = format!("{name}: {}", finding.text);
            }
        }
        found
    }
}
