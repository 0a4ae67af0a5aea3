//! Looks at what is published, without locking the directory and without believing that it is ours to write.

use std::time::SystemTime;

use rustix::io::Errno;

use super::directory::Directory;
use super::error::Error;
use super::kept::{self, Kept, Unreadable};
use super::ownership::NotOurs;
use super::way::Trust;
use super::{Settings, decode, generation, links};
use crate::material::{Expectations, Material, pem};

/// What is published now.
pub struct Examination {
    /// Whether `run` would take the directory.
    pub trust: Result<Trust, Error>,
    /// Whether others can lead readers elsewhere, on the path that these take to the directory; `None` if they take ours, or
    /// if theirs leads elsewhere from here.
    pub readers: Option<Result<Trust, Error>>,
    /// Whether something stands where the links have to be; then nothing else could be seen.
    pub obstacle: Option<Error>,
    /// Name of the current generation's directory; `None` if there is none.
    pub generation: Option<String>,
    /// When that generation was completed.
    pub written_at: Option<SystemTime>,
    /// Stable names that are no link through `..data`.
    pub missing_links: Vec<String>,
    /// The set, or why it is none; `None` without a generation.
    pub set: Option<Result<Material, Unusable>>,
}

/// Why a generation is no set.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A file is missing or cannot be read.
    #[error("cannot read {name}: {cause}")]
    Unreadable {
        /// The file's name.
        name: String,
        /// What the kernel said.
        cause: Errno,
    },
    /// Others could have written it, or part of it.
    #[error(transparent)]
    NotOurs(NotOurs),
    /// A file holds something else than it should.
    #[error("{name} is damaged: {cause}")]
    Malformed {
        /// The file's name.
        name: String,
        /// What is wrong.
        cause: pem::Malformed,
    },
    /// The files fail a check.
    #[error(transparent)]
    Content(#[from] pem::Unusable),
}

/// Examines the published set. `companions` are the names of the files beside certificate, key and bundle.
///
/// Fails only if the directory cannot be opened.
pub fn examine(
    settings: &Settings,
    companions: &[String],
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Examination, Error> {
    let (directory, trust) = Directory::open_to_look(&settings.directory)?;
    let set_names = settings.set_names();
    let names: Vec<String> = set_names.iter().chain(companions).cloned().collect();
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
        set: None,
    };
    if let Ok(Some(name)) = links::current(&directory) {
        found.written_at = generation::written_at(&directory, &name);
        found.set = Some(read(&directory, &name, &set_names, settings, expectations, now));
        found.generation = Some(name);
    }
    Ok(found)
}

/// Reads the published set without locking the directory: for those who wait for somebody else's publication.
pub fn peek(
    settings: &Settings,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Option<Material>, Error> {
    let found = examine(settings, &[], expectations, now)?;
    found.trust?;
    match (found.obstacle, found.set) {
        (Some(obstacle), _) => Err(obstacle),
        (None, Some(Err(Unusable::NotOurs(found)))) => Err(Error::NotOurs(found)),
        // The swap of a first publication comes before its links.
        (None, _) if !found.missing_links.is_empty() => Ok(None),
        (None, set) => Ok(set.and_then(Result::ok)),
    }
}

fn read(
    directory: &Directory,
    generation: &str,
    names: &[String],
    settings: &Settings,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Material, Unusable> {
    for name in names {
        let kept = load(directory, generation, std::slice::from_ref(name), name)?;
        let content = kept.content(name);
        let readable = if *name == settings.private_key {
            pem::public_key_of(content).map(drop)
        } else {
            pem::decode_certificates(content).map(drop)
        };
        readable.map_err(|cause| Unusable::Malformed { name: name.clone(), cause })?;
    }
    let kept = load(directory, generation, names, generation)?;
    Ok(decode(settings, &kept, expectations, now)?)
}

fn load(
    directory: &Directory,
    generation: &str,
    names: &[String],
    what: &str,
) -> Result<Kept, Unusable> {
    kept::load(directory, generation, names, directory.owners()).map_err(|error| match error {
        Unreadable::NotOurs(found) => Unusable::NotOurs(found),
        Unreadable::Failed(cause) => Unusable::Unreadable { name: what.to_owned(), cause },
    })
}
