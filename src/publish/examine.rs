//! Examines the published set, without locking the directory and without assuming that it may be written.

use std::fmt;
use std::time::SystemTime;

use rustix::io::Errno;

use super::adoption::{decode, names_in};
use super::directory::Directory;
use super::directory_path::Trust;
use super::error::Error;
use super::kept::{self, Unreadable};
use super::ownership::NotOurs;
use super::set_id::Sum;
use super::{Settings, generation, links, record};
use crate::material::pem::{self, Malformed, Part};
use crate::material::{Expectations, Material, Names, Rejection};

/// The state of the published directory.
pub struct Examination {
    /// Whether `run` would accept the directory.
    pub trust: Result<Trust, Error>,
    /// Whether others can redirect readers on their path to the directory; `None` if readers use the same path, or if their
    /// path leads elsewhere on this side.
    pub readers: Option<Result<Trust, Error>>,
    /// The first thing that is where a link must be, and that pgsvid has not created; `None` if there is none. The other
    /// fields are examined all the same.
    pub obstacle: Option<Error>,
    /// Why this process could not write the next set, if it has written the current one.
    pub unwritable: Option<Error>,
    /// Name of the current generation's directory; `None` if there is none.
    pub generation: Option<String>,
    /// When that generation was completed.
    pub written_at: Option<SystemTime>,
    /// Published names that are not links through `..data`.
    pub missing_links: Vec<String>,
    /// The names in the set, whatever else may be wrong with it.
    pub names: Option<Names>,
    /// Other files of the set that are not as pgsvid wrote them, each with how it differs.
    pub changed: Vec<(String, &'static str)>,
    /// The set, or why it is not usable; `None` without a generation.
    pub set: Option<Result<Material, Unusable>>,
}

impl Examination {
    /// The names of certificate, private key and bundle that are not links through `..data`: PostgreSQL does not find these
    /// files.
    #[must_use]
    pub fn missing_of_set(&self, settings: &Settings) -> Vec<String> {
        let set = settings.files.set_names();
        self.missing_links.iter().filter(|name| set.contains(name)).cloned().collect()
    }
}

/// Why a generation is not a usable set.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A file is missing or cannot be read.
    #[error("cannot read {name}: {cause}")]
    Unreadable {
        /// The file's name.
        name: String,
        /// The error of the system call.
        cause: Errno,
    },
    /// Others could have written it, or part of it.
    #[error(transparent)]
    NotOurs(NotOurs),
    /// A file does not hold what it should.
    #[error("{name} is damaged: {cause}")]
    Malformed {
        /// The file's name.
        name: String,
        /// What is wrong.
        cause: Malformed,
    },
    /// The set fails a check.
    #[error(transparent)]
    Rejected(Rejection),
    /// It came with another hint than the configured one.
    #[error("it is the set with the hint {recorded:?}, and svid.hint asks for {wanted:?}")]
    Hint {
        /// The hint that came with it; empty for none.
        recorded: String,
        /// The configured one.
        wanted: String,
    },
}

/// What a directory shows that another process holds.
pub enum Peeked {
    /// No set, or not all of it yet.
    Nothing,
    /// A set, but not what this configuration asks for.
    Other(Shortfall),
    /// A set, and each configured file.
    Set(Box<Material>),
}

/// What a set lacks of what a configuration asks for. `Display` continues a sentence about its publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortfall {
    /// It has another hint.
    Hint(String),
    /// Files that are not there.
    Missing(Vec<String>),
    /// A file of another kind: its name, its kind, the configured kind.
    Kind(String, String, &'static str),
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hint(why) => write!(f, "it publishes another SVID: {why}"),
            Self::Missing(names) => write!(f, "it does not publish {}", names.join(", ")),
            Self::Kind(name, is, wanted) => {
                write!(
                    f,
                    "its {name} is of the kind {is}, and this configuration asks for {wanted}"
                )
            }
        }
    }
}

/// Examines the published set. Fails only if the directory cannot be opened.
pub fn examine(
    settings: &Settings,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Examination, Error> {
    let (directory, trust) = Directory::open_to_look(&settings.directory)?;
    let names = settings.files.names();
    let readers = settings.seen_as.as_deref().and_then(|path| {
        let (seen, trust) = Directory::open_to_look(path).ok()?;
        seen.is_same(&directory).then_some(trust)
    });
    let mut found = Examination {
        trust,
        readers,
        obstacle: match links::check(&directory, &names) {
            Ok(others) => others.into_iter().next().map(|(_, found)| Error::NotOurs(found)),
            Err(obstacle) => Some(obstacle),
        },
        unwritable: None,
        generation: None,
        written_at: None,
        missing_links: links::incomplete(&directory, &names),
        names: names_in(&directory, settings),
        changed: Vec::new(),
        set: None,
    };
    if let Ok(Some(name)) = links::current(&directory) {
        found.written_at = generation::written_at(&directory, &name);
        found.changed = changed(&directory, &name, settings);
        // That they do not lead to the generation is another finding.
        found.changed.retain(|(name, _)| !found.missing_links.contains(name));
        let is_own =
            generation::owner(&directory, &name) == Some(rustix::process::geteuid().as_raw());
        found.unwritable = directory.judge_writable().err().filter(|_| is_own);
        found.set = Some(read(&directory, &name, settings, expectations, now));
        found.generation = Some(name);
    }
    Ok(found)
}

/// Reads the published set without locking the directory, to wait for another process's publication of what this configuration
/// asks for.
pub fn peek(
    settings: &Settings,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Peeked, Error> {
    let found = examine(settings, expectations, now)?;
    let missing = found.missing_of_set(settings);
    found.trust?;
    match (found.obstacle, found.set) {
        (Some(obstacle), _) => Err(obstacle),
        (None, Some(Err(Unusable::NotOurs(found)))) => Err(Error::NotOurs(found)),
        (None, Some(Err(why @ Unusable::Hint { .. }))) => {
            Ok(Peeked::Other(Shortfall::Hint(why.to_string())))
        }
        // In a first publication the swap comes before the links.
        (None, _) if !missing.is_empty() => Ok(Peeked::Nothing),
        (None, Some(Ok(material))) => {
            let generation = found.generation.unwrap_or_default();
            Ok(match shortfall(settings, &generation, &found.missing_links)? {
                Some(shortfall) => Peeked::Other(shortfall),
                None => Peeked::Set(Box::new(material)),
            })
        }
        (None, _) => Ok(Peeked::Nothing),
    }
}

/// What this generation lacks; `unlinked` are the names that do not lead to it.
fn shortfall(
    settings: &Settings,
    generation: &str,
    unlinked: &[String],
) -> Result<Option<Shortfall>, Error> {
    let (directory, _) = Directory::open_to_look(&settings.directory)?;
    let path = settings.directory.join(generation);
    let is_missing =
        |name: &String| unlinked.contains(name) || path.join(name).symlink_metadata().is_err();
    let missing: Vec<String> = settings.files.names().into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        return Ok(Some(Shortfall::Missing(missing)));
    }
    // A record of an earlier version does not tell.
    let recorded = record::read(&directory, generation).ok().flatten();
    let kinds = recorded.and_then(|found| found.record.more).unwrap_or_default().kinds;
    Ok(settings.files.iter().find_map(|file| {
        let wanted = file.content.kind();
        let is = kinds.get(&file.name).filter(|is| *is != wanted)?;
        Some(Shortfall::Kind(file.name.clone(), is.clone(), wanted))
    }))
}

/// The files beside certificate, private key and bundle that are missing, cannot be read, or have other contents than the record says.
/// Whether others could have written them is judged with the set.
fn changed(
    directory: &Directory,
    generation: &str,
    settings: &Settings,
) -> Vec<(String, &'static str)> {
    let Ok(Some(found)) = record::read(directory, generation) else { return Vec::new() };
    let set = settings.files.set_names();
    let names = settings.files.names().into_iter().filter(|name| !set.contains(name));
    let how = |name: &String| {
        let files = std::slice::from_ref(name);
        match (
            kept::load(directory, generation, files, directory.owners()),
            found.record.files.get(name),
        ) {
            (Err(Unreadable::NotOurs(_)), _) => None,
            (Err(Unreadable::Failed(Errno::NOENT)), _) => Some("missing"),
            (Err(Unreadable::Failed(_)), _) => Some("unreadable"),
            (Ok(_), None) => Some("written by somebody else"),
            (Ok(kept), Some(sum)) => (Sum::of(kept.content(name)) != *sum).then_some("changed"),
        }
    };
    names.filter_map(|name| how(&name).map(|how| (name, how))).collect()
}

fn read(
    directory: &Directory,
    generation: &str,
    settings: &Settings,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Material, Unusable> {
    let names = settings.files.set_names();
    let load = |names: &[String]| kept::load(directory, generation, names, directory.owners());
    let kept = load(&names).map_err(|error| match error {
        Unreadable::NotOurs(found) => Unusable::NotOurs(found),
        Unreadable::Failed(cause) => {
            // If each of its files can be read, the error names the generation itself.
            let unreadable = names.iter().find(|name| load(std::slice::from_ref(name)).is_err());
            let name = unreadable.map_or(generation, |name| name.as_str()).to_owned();
            Unusable::Unreadable { name, cause }
        }
    })?;
    if let Ok(Some(found)) = record::read(directory, generation)
        && !found.record.has_hint(expectations)
    {
        let recorded = found.record.more.unwrap_or_default().hint;
        let wanted = expectations.hint.clone().unwrap_or_default();
        return Err(Unusable::Hint { recorded, wanted });
    }
    decode(settings, &kept, expectations, now).map_err(|unusable| match unusable {
        pem::Unusable::Rejected(rejection) => Unusable::Rejected(rejection),
        pem::Unusable::Malformed { part, cause } => {
            let file = match part {
                Part::Chain => settings.files.certificate(),
                Part::Key => settings.files.private_key(),
                Part::Bundle => settings.files.bundle(),
            };
            Unusable::Malformed { name: file.name.clone(), cause }
        }
    })
}
