//! Connections that a server itself opens with a certificate: a standby's to its primary, and a Citus node's to the others.
//! They are clients whose options are in settings.

use super::connection_string::{
    ConnectionString, entries, is_known, names_a_file, refused, unread,
};
use super::pinned::Written;
use super::postgresql::Answers;
use crate::companions::conninfo;
use crate::config::Config;
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::material::Material;
use crate::survey;

/// The settings, and whether they name the server to connect to.
const SETTINGS: [(&str, bool); 2] = [("primary_conninfo", true), ("citus.node_conninfo", false)];

/// The findings about them, if they name certificates. Values are not repeated, except those that are judged, because they
/// may contain a password.
pub(super) fn findings(
    config: &Config,
    server: &Server,
    answers: &Answers,
    on_disk: Option<&Material>,
) -> Vec<Finding> {
    let data = survey::data_directory(&server.session);
    let version = answers.settings.version_number / 10_000;
    let mut found = Vec::new();
    found.extend(unseen(server, answers));
    for (setting, has_places) in SETTINGS {
        let Some(text) = answers.standing.setting(setting).filter(|text| !text.is_empty()) else {
            continue;
        };
        match conninfo::parse(text) {
            None => found.push(unread(setting, text)),
            Some(pairs) => {
                let entries = entries(pairs, data.as_deref());
                if !entries.iter().any(|entry| names_a_file(&entry.keyword)) {
                    continue;
                }
                let unknown = entries.iter().find(|entry| !is_known(&entry.keyword, version));
                let written = Written::Setting { name: setting, text };
                let string = ConnectionString {
                    name: setting,
                    entries: &entries,
                    own: None,
                    written,
                    place: setting,
                    has_places,
                    is_whole: true,
                };
                match unknown {
                    Some(entry) => found.push(refused(setting, &entry.keyword, version)),
                    None => found.extend(string.judged(config, server, on_disk)),
                }
            }
        }
    }
    found
}

/// The findings about a standby's and a Citus node's connections whose options the role may not see.
fn unseen(server: &Server, answers: &Answers) -> Vec<Finding> {
    let standing = &answers.standing;
    let may_be_set = |setting: &str| match setting {
        // Without it the standby takes its data from an archive.
        "primary_conninfo" => {
            standing.in_recovery && survey::is_set(&server.session, setting) != Some(false)
        }
        // A superuser sees it, if the extension's library is loaded.
        _ => answers.citus.is_some() && !standing.superuser,
    };
    let names = SETTINGS.into_iter().map(|(name, _)| name);
    let unseen = names.filter(|name| standing.setting(name).is_none() && may_be_set(name));
    let role = &server.session.user;
    unseen
        .map(|name| {
            let text = format!(
                "whether {name} names published files: role {role} may not see that setting"
            );
            Finding::skipped(Code::ConnectionUnseen, text)
                .about(name)
                .fix("run check as a superuser to include it: --user postgres")
        })
        .collect()
}
