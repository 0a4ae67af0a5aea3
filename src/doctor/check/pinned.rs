//! Connections of a server that name a generation's own paths, which are deleted with the generation, or files that nobody renews.

use std::path::{Component, Path, PathBuf};

use super::clients;
use crate::companions::conninfo;
use crate::companions::service_reader::Entry;
use crate::config::Config;
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::sql::{OutgoingKind, SECRETS, statements};
use crate::text::shown;

/// The keywords that name a leaf's files. Authorities are compared by their contents.
const LEAF: [&str; 2] = ["sslcert", "sslkey"];
/// All keywords that may name published files.
const FILES: [&str; 3] = ["sslcert", "sslkey", "sslrootcert"];
/// How the names of generations begin.
const GENERATION: &str = "..v";
/// The link to the present generation.
const CURRENT: &str = "..data";

/// Where the options are written, which decides how they are changed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// A setting, and its text.
    Setting { name: &'a str, text: &'a str },
    /// An object of a database, and the text of its connection string if it is one.
    Object { kind: &'a OutgoingKind, text: Option<&'a str> },
}

/// The stable path of a published file that is named by its generation's own path; `None` for any other path. Another pgsvid may
/// publish it: its directory has the same link.
pub(super) fn stable(config: &Config, path: &Path) -> Option<PathBuf> {
    let parts: Vec<Component<'_>> = path.components().collect();
    let at = parts.iter().position(|part| {
        matches!(part, Component::Normal(name) if name.to_string_lossy().starts_with(GENERATION))
    })?;
    let directory: PathBuf = parts[..at].iter().collect();
    let is_ours = directory == config.place.readers_base();
    let link = clients::here(config, &directory.join(CURRENT));
    let is_published = is_ours || link.symlink_metadata().is_ok_and(|found| found.is_symlink());
    is_published.then(|| directory.join(parts[at + 1..].iter().collect::<PathBuf>()))
}

/// The finding about paths of a generation, with the command that replaces them.
pub(super) fn finding(
    config: &Config,
    server: &Server,
    name: &str,
    entries: &[Entry],
    written: Written<'_>,
) -> Option<Finding> {
    let pinned: Vec<(&str, PathBuf)> = entries
        .iter()
        .filter(|entry| FILES.contains(&entry.keyword.as_str()))
        .filter_map(|entry| {
            Some((entry.keyword.as_str(), stable(config, Path::new(&entry.value))?))
        })
        .collect();
    let [(keyword, _), ..] = pinned[..] else { return None };
    let text = format!(
        "{name} names files of one generation ({keyword}): a rotation does not change this path, and the files are deleted later: \
         then PostgreSQL cannot connect"
    );
    let finding = Finding::failure(Code::ConnectionPathPinned, text).cause(
        "`-R` of pg_basebackup and pg_rewind resolves service=, and writes the paths that the service file has at that moment",
    );
    let words = pinned.iter().map(|(keyword, path)| format!("{keyword}={}", path.display()));
    let words = format!("write {} in {name}", words.collect::<Vec<_>>().join(" "));
    let command = command(server, written, &pinned);
    Some(finding.fix(words).command_if_any(command))
}

/// The command that writes the stable paths; `None` if that would print a secret.
fn command(server: &Server, written: Written<'_>, pinned: &[(&str, PathBuf)]) -> Option<String> {
    let session = &server.session;
    match written {
        Written::Setting { name, text } => {
            let statement = statements::alter_system(name, &replaced(text, pinned)?);
            Some(session.psql_with_reload(&statement))
        }
        Written::Object { kind: OutgoingKind::Subscription(name, database), text } => {
            let (name, text) = (statements::identifier(name), replaced(text?, pinned)?);
            let text = statements::literal(&text);
            let statement = format!("ALTER SUBSCRIPTION {name} CONNECTION {text}");
            Some(session.psql_in(database, &[statement]))
        }
        Written::Object { kind: OutgoingKind::Server(name), .. } => {
            let name = statements::identifier(name);
            let statement = format!("ALTER SERVER {name} OPTIONS ({})", options(pinned));
            Some(session.psql_in(&session.database, &[statement]))
        }
        Written::Object { kind: OutgoingKind::Mapping(role, name), .. } => {
            let (role, name) = (role.as_deref().unwrap_or("PUBLIC"), statements::identifier(name));
            let statement = format!(
                "ALTER USER MAPPING FOR {role} SERVER {name} OPTIONS ({})",
                options(pinned)
            );
            Some(session.psql_in(&session.database, &[statement]))
        }
    }
}

fn options(pinned: &[(&str, PathBuf)]) -> String {
    let options = pinned.iter().map(|(keyword, path)| {
        format!("SET {keyword} {}", statements::literal(&path.display().to_string()))
    });
    options.collect::<Vec<_>>().join(", ")
}

/// The connection string with the stable paths; `None` if it has a secret.
fn replaced(text: &str, pinned: &[(&str, PathBuf)]) -> Option<String> {
    let pairs = conninfo::parse(text)?;
    if pairs.iter().any(|(keyword, _)| SECRETS.contains(&keyword.as_str())) {
        return None;
    }
    let pairs = pairs.into_iter().map(|(keyword, value)| {
        let path = pinned.iter().find(|(pinned, _)| *pinned == keyword);
        let value = path.map_or(value, |(_, path)| path.display().to_string());
        conninfo::pair(&keyword, &value)
    });
    Some(pairs.collect::<Vec<_>>().join(" "))
}

/// The finding about a certificate or key that no pgsvid publishes, as far as its path shows.
pub(super) fn other_files(config: &Config, name: &str, entries: &[Entry]) -> Option<Finding> {
    let published = config.place.readers_paths();
    let is_other = |path: &str| {
        if published.iter().any(|known| known == Path::new(path)) {
            return false;
        }
        let path = clients::here(config, Path::new(path));
        let Ok(real) = path.canonicalize() else { return false };
        // Another pgsvid may publish it.
        let parent = real.parent().and_then(Path::file_name);
        !parent.is_some_and(|name| name.to_string_lossy().starts_with(GENERATION))
    };
    let other = entries
        .iter()
        .find(|entry| LEAF.contains(&entry.keyword.as_str()) && is_other(&entry.value))?;
    let (keyword, path) = (&other.keyword, shown(&other.value));
    Some(
        Finding::warning(
            Code::ConnectionOtherFiles,
            format!("{name}: {keyword} names {path}, which is no published file: pgsvid does not renew it"),
        )
        .fix(format!(
            "name {}, unless another program renews that file",
            published.map(|path| path.display().to_string()).join(", ")
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l11_a_string_with_a_secret_is_not_printed() {
        let pinned = [("sslcert", PathBuf::from("/svids/svid.pem"))];
        let text = "host=a sslcert=/svids/..v1/svid.pem";
        assert_eq!(replaced(text, &pinned).as_deref(), Some("host=a sslcert=/svids/svid.pem"));
        for secret in SECRETS {
            assert_eq!(replaced(&format!("{text} {secret}=x"), &pinned), None, "{secret}");
        }
    }

    /// Each is a keyword that libpq knows.
    #[test]
    fn l11_the_secrets_are_keywords_of_libpq() {
        for secret in SECRETS {
            assert!(crate::companions::service_reader::since(secret).is_some(), "{secret}");
        }
    }
}
