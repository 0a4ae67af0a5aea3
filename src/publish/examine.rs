//! Examines the published set, without locking the directory and without assuming that it may be written.

use std::time::SystemTime;

use rustix::io::Errno;

use super::adoption::{decode, names_in};
use super::directory::Directory;
use super::directory_path::Trust;
use super::error::Error;
use super::kept::{self, Unreadable};
use super::ownership::NotOurs;
use super::{Settings, generation, links};
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
    /// Name of the current generation's directory; `None` if there is none.
    pub generation: Option<String>,
    /// When that generation was completed.
    pub written_at: Option<SystemTime>,
    /// Published names that are not links through `..data`.
    pub missing_links: Vec<String>,
    /// The names in the set, whatever else may be wrong with it.
    pub names: Option<Names>,
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
        generation: None,
        written_at: None,
        missing_links: links::incomplete(&directory, &names),
        names: names_in(&directory, settings),
        set: None,
    };
    if let Ok(Some(name)) = links::current(&directory) {
        found.written_at = generation::written_at(&directory, &name);
        found.set = Some(read(&directory, &name, settings, expectations, now));
        found.generation = Some(name);
    }
    Ok(found)
}

/// Reads the published set without locking the directory, to wait for another process's publication.
pub fn peek(
    settings: &Settings,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Option<Material>, Error> {
    let found = examine(settings, expectations, now)?;
    let missing = found.missing_of_set(settings);
    found.trust?;
    match (found.obstacle, found.set) {
        (Some(obstacle), _) => Err(obstacle),
        (None, Some(Err(Unusable::NotOurs(found)))) => Err(Error::NotOurs(found)),
        // In a first publication the swap comes before the links.
        (None, _) if !missing.is_empty() => Ok(None),
        (None, set) => Ok(set.and_then(Result::ok)),
    }
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
