//! What a server connects to because of objects in its databases: subscriptions, and foreign servers with their user mappings.

use std::path::Path;

use super::connection_string::{self, ConnectionString};
use super::pinned::Written;
use super::postgresql::Answers;
use crate::companions::conninfo;
use crate::companions::service_reader::Entry;
use crate::config::Config;
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding, limited};
use crate::material::Material;
use crate::sql::{AllOutgoing, Options, Outgoing, OutgoingKind};
use crate::survey;

/// How many findings about each kind of them are listed.
const MOST_OF_A_KIND: usize = 20;
type IsOfKind = fn(&OutgoingKind) -> bool;
/// The kinds, in the plural.
const KINDS: [(&str, IsOfKind); 3] = [
    ("subscriptions", |kind| matches!(kind, OutgoingKind::Subscription(..))),
    ("foreign servers", |kind| matches!(kind, OutgoingKind::Server(_))),
    ("user mappings", |kind| matches!(kind, OutgoingKind::Mapping(..))),
];

type Pairs = Vec<(String, String)>;

/// The findings about those that name certificates. Values are not repeated, except those that are judged, because they may
/// contain a password.
pub(super) fn findings(
    config: &Config,
    server: &Server,
    answers: &Answers,
    on_disk: Option<&Material>,
) -> Vec<Finding> {
    let data = survey::data_directory(&server.session);
    let version = answers.settings.version_number / 10_000;
    let all = match &answers.outgoing {
        Ok(all) => all,
        Err(error) => {
            let text = "whether subscriptions and foreign servers name published files";
            return vec![Finding::skipped(Code::ConnectionUnseen, text).cause(error)];
        }
    };
    let mut found = Vec::new();
    // A role with a right on a wrapper can make any number of them.
    for (kind, is_of_kind) in KINDS {
        let of_kind = all.seen.iter().filter(|one| is_of_kind(&one.kind));
        let judged = of_kind
            .flat_map(|one| of_one(config, server, all, one, on_disk, (data.as_deref(), version)));
        found.extend(limited(judged.collect(), MOST_OF_A_KIND, kind));
    }
    found.extend(unseen(server, all));
    found
}

/// The findings about one of them. `data` is the data directory, `version` the server's major version.
fn of_one(
    config: &Config,
    server: &Server,
    all: &AllOutgoing,
    Outgoing { kind, options }: &Outgoing,
    on_disk: Option<&Material>,
    (data, version): (Option<&Path>, u32),
) -> Vec<Finding> {
    let name = kind.name();
    let (pairs, text) = match options {
        Options::Text(text) => {
            let Some(pairs) = conninfo::parse(text) else {
                return vec![connection_string::unread(&name, text)];
            };
            (pairs, Some(text.as_str()))
        }
        Options::Pairs(pairs) => (pairs.clone(), None),
    };
    if !name_files(&pairs) {
        return Vec::new();
    }
    let mut own = connection_string::entries(pairs.clone(), data);
    let Completed { pairs, is_whole, server: of } = completed(kind, pairs, all);
    let mut entries: Vec<Entry> = connection_string::entries(pairs, data);
    let is_known = |entry: &Entry| connection_string::is_known(&entry.keyword, version);
    if text.is_none() {
        // The wrapper has options of its own, and has refused those that neither it nor libpq knows.
        entries.retain(is_known);
        own.retain(is_known);
    } else if let Some(unknown) = entries.iter().find(|entry| !is_known(entry)) {
        return vec![connection_string::refused(&name, &unknown.keyword, version)];
    }
    let written = Written::Object { kind, text };
    // A foreign server that names files has findings of its own.
    let is_judged_there = of.as_ref().is_some_and(|(_, names_files)| *names_files);
    let string = ConnectionString {
        name: &name,
        entries: &entries,
        own: is_judged_there.then_some(&own[..]),
        written,
        place: of.as_ref().map_or(&name, |(server, _)| server),
        has_places: !is_judged_there,
        is_whole,
    };
    string.judged(config, server, on_disk)
}

fn name_files(pairs: &Pairs) -> bool {
    pairs.iter().any(|(keyword, _)| connection_string::names_a_file(keyword))
}

/// The options of a connection.
struct Completed {
    pairs: Pairs,
    /// Whether these are all options of the connection.
    is_whole: bool,
    /// Of a user mapping: what people call its server, and whether that names files.
    server: Option<(String, bool)>,
}

/// The options of a user mapping together with those of its server, which it overrides. Of others, their own.
fn completed(kind: &OutgoingKind, pairs: Pairs, all: &AllOutgoing) -> Completed {
    match kind {
        OutgoingKind::Subscription(..) => Completed { pairs, is_whole: true, server: None },
        OutgoingKind::Server(name) => {
            let is_its =
                |one: &Outgoing| matches!(&one.kind, OutgoingKind::Mapping(_, of) if of == name);
            let is_whole = all.unseen_mappings == 0 && !all.seen.iter().any(is_its);
            Completed { pairs, is_whole, server: None }
        }
        OutgoingKind::Mapping(_, name) => {
            let server = OutgoingKind::Server(name.clone());
            let of_server = all.seen.iter().find(|one| one.kind == server);
            let mut merged = match of_server.map(|one| &one.options) {
                Some(Options::Pairs(pairs)) => pairs.clone(),
                _ => Vec::new(),
            };
            let server = Some((server.name(), name_files(&merged)));
            // Of equal keywords the last one counts.
            merged.extend(pairs);
            Completed { pairs: merged, is_whole: true, server }
        }
    }
}

/// What the role may not see. It needs to be a superuser to see it, which pgsvid's own role must not be.
fn unseen(server: &Server, all: &AllOutgoing) -> Vec<Finding> {
    let role = &server.session.user;
    let strings = format!("role {role} may not see their connection strings");
    let options = format!("they have no options, or role {role} may not see these");
    let kinds = [
        (all.unseen_subscriptions, "subscription", strings, "subscriptions"),
        (all.unseen_mappings, "user mapping", options, "user mappings"),
    ];
    let cut = all.is_cut.then(|| {
        let text = "whether more subscriptions, foreign servers and user mappings name published files: there are too many to examine";
        Finding::skipped(Code::ConnectionUnseen, text)
    });
    let unseen = kinds.into_iter().filter(|(count, ..)| *count > 0);
    cut.into_iter()
        .chain(unseen.map(|(count, object, why, plural)| {
            let text = format!("whether {count} {plural} name published files: {why}");
            Finding::skipped(Code::ConnectionUnseen, text)
                .about(object)
                .fix("run check as a superuser to include them: --user postgres")
        }))
        .collect()
}
