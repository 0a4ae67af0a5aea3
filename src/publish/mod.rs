//! Publishes one generation as one set of files: `svid.pem → ..data/svid.pem`, `..data → ..v<stamp>-<random>/`.
//!
//! The invariant: at every instant, even if this process is killed, PostgreSQL can start from what is on disk. So a new
//! generation is complete, synced and read back before one `renameat` makes it the current one, and no existing file is ever
//! written to. Everything is relative to one open directory, and follows no links.

mod adoption;
mod difference;
mod directory;
mod directory_path;
mod encode;
mod error;
mod examine;
mod fields;
mod files;
mod generation;
mod generation_name;
mod kept;
mod links;
mod lock;
#[cfg(test)]
pub(crate) mod model;
mod ownership;
mod passwords;
mod place;
mod record;
mod replay;
mod seam;
mod set_id;
mod single;
mod space;
mod sweep;
mod takeover;
mod target;
mod trace;
mod undisturbed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use difference::Difference;
use directory::{Directory, RECORD};
use directory_path::Exposed;
pub use directory_path::Trust;
use encode::{authorities, encode};
pub use error::{Error, FREE_SPACE};
pub use examine::{Examination, Peeked, Shortfall, Unusable, examine, peek};
pub use fields::Fields;
pub use files::{Content, FileSpec, Files, Render};
use generation::Generation;
use lock::Lock;
pub use lock::is_in_use;
pub use ownership::{NotOurs, Reason};
use passwords::Passwords;
pub use passwords::password;
pub use place::{InPlace, Opened, Place};
use record::{More, Record};
use set_id::SetId;
pub use single::{Present, SingleFile};
pub use space::is_full;
pub use target::{Broken, Existing, Outcome, Restored, Target};
use undisturbed::Left;

use crate::material::{Certificate, Material};
use crate::timing;

/// Judges a directory that others write, and the path to it, like the published one: fails if somebody else than root and the
/// reader could replace what is read there.
pub fn judge_path(directory: &Path, reader: u32) -> Result<(), Error> {
    directory_path::judge(directory, reader)
}

/// How and where to publish.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory, absolute. It must exist, and belong to root or to this process's user.
    pub directory: PathBuf,
    /// The files of each generation.
    pub files: Files,
    /// Group of the files; needs root, or membership.
    pub group: Option<u32>,
    /// Most generations on disk, at least 2.
    pub keep_at_most: usize,
    /// Whether a replaced generation is kept until its leaf has expired, because clients hold paths into it.
    pub keep_until_expiry: bool,
    /// Path of `directory` for its readers, if they mount it elsewhere.
    pub seen_as: Option<PathBuf>,
}

impl Settings {
    /// The directory's path for its readers.
    #[must_use]
    pub fn readers_directory(&self) -> &Path {
        self.seen_as.as_deref().unwrap_or(&self.directory)
    }
}

/// The result of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Name of the generation's directory.
    pub generation: String,
    /// Plain files of others that were replaced by links.
    pub taken_over: Vec<String>,
}

/// Something that others could have created at one of pgsvid's names, or in the current generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disowned {
    /// The thing, and the reason.
    pub found: NotOurs,
    /// Whether it, or the link to it, was removed. If not, it stays until the next publication: it belongs to root, or it is
    /// pgsvid's own but perhaps older.
    pub removed: bool,
}

/// The only writer of a directory. Its methods block, because they sync files.
pub struct Publisher {
    settings: Settings,
    directory: Directory,
    /// Held as long as this process may publish.
    lock: Option<Lock>,
    current: Option<Generation>,
    /// What others could replace, as pgsvid has left it; empty if they cannot.
    left: Left,
    /// Own generations whose paths clients may hold, the newest first, if others could replace them.
    earlier: Vec<String>,
    /// The generation before `current`: the last good set until the new one is verified.
    previous: Option<String>,
    /// Whether this process can write only to the open directory: see [`Self::bind`].
    bound: bool,
    /// What others could have created, found since the last call of [`Self::take_disowned`].
    disowned: Vec<Disowned>,
}

impl Publisher {
    /// Opens and locks the directory, and removes what a killed run has left.
    ///
    /// Fails if another instance holds the lock, if others could tamper with the directory, or if something that pgsvid did
    /// not create is in the way of the links.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let directory = Directory::open(&settings.directory, settings.files.names())?;
        let lock = lock::take(&directory)?;
        let mut publisher = Self {
            current: None,
            left: Left::new(),
            earlier: Vec::new(),
            previous: None,
            settings,
            directory,
            lock,
            bound: false,
            disowned: Vec::new(),
        };
        publisher.preflight()?;
        publisher.clear_leftovers()?;
        Ok(publisher)
    }

    /// Declares that this process can write only to the open directory, and to no other at the same path: then a replaced
    /// directory is an error from which only another process recovers.
    pub fn bind(&mut self) {
        self.bound = true;
    }

    /// The published directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.settings.directory
    }

    /// Why the directory was accepted although others may write to it, if they may.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.directory.trust()
    }

    /// Whether another machine that has mounted the same directory could publish to it, too: on NFS.
    #[must_use]
    pub fn is_locked_here_alone(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| !lock.is_everywhere())
    }

    /// What others could have created in the directory, since the last call. It must be reported: somebody attacks, or the
    /// directory has changed hands.
    pub fn take_disowned(&mut self) -> Vec<Disowned> {
        std::mem::take(&mut self.disowned)
    }

    /// Whether others have put so many entries into the directory that not all are examined. True only for the first call after that,
    /// so that it is reported once.
    pub fn take_crowded(&mut self) -> bool {
        self.directory.take_crowded()
    }

    /// Paths to watch: the published directory, the current generation in it, and what shows that others rename something on
    /// the path to it.
    #[must_use]
    pub fn watched_paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.settings.directory.clone()];
        paths.extend(self.directory.exposed().iter().flatten().map(Exposed::watched));
        if let Some(current) = &self.current {
            paths.push(self.settings.directory.join(current.name()));
        }
        paths
    }

    /// Locks the directory again if the lock file was removed, replaced or opened to others, or if there was no space for it
    /// before. Returns whether the lock was lost and is held again. Fails as well if nothing can be written to the directory any
    /// more.
    pub fn keep_locked(&mut self) -> Result<bool, Error> {
        self.directory.judge_writable()?;
        if self.lock.as_ref().is_some_and(|lock| lock.is_in_place(&self.directory)) {
            return Ok(false);
        }
        let had = self.lock.is_some();
        self.lock = lock::take(&self.directory)?;
        Ok(had && self.lock.is_some())
    }

    /// Publishes a generation, even if identical bytes are already published: see [`Self::holds`].
    ///
    /// On an error before the swap of `..data`, the set before stays in place. On an error after it, readers already see the
    /// new set; in a first publication some links can still be missing. Nothing incomplete is visible in either case.
    pub fn publish(
        &mut self,
        material: &Material,
        extra_authorities: &[Certificate],
    ) -> Result<Published, Error> {
        if !self.directory.judge_again()? {
            // The volume was unmounted or replaced: the open directory is no longer what readers see.
            if self.bound {
                return Err(Error::Replaced { directory: self.settings.directory.clone() });
            }
            self.directory = Directory::open(&self.settings.directory, self.names())?;
            self.lock = lock::take(&self.directory)?;
            self.current = None;
            self.clear_leftovers()?;
        }
        self.keep_locked()?;
        self.preflight()?;
        let mut taken_over = self.take_over()?;
        let written = match self.write(material, extra_authorities) {
            Err(error) if error.is_out_of_space() => {
                self.make_room(None)?;
                self.write(material, extra_authorities)
            }
            other => other,
        };
        let generation = written?;
        let replaced = links::current(&self.directory)?;
        let swapped = match links::swap(&self.directory, generation.name()) {
            Err(error) if error.is_out_of_space() => {
                self.make_room(Some(generation.name()))?;
                links::swap(&self.directory, generation.name())
            }
            other => other,
        };
        if let Err(error) = swapped {
            generation::remove(&self.directory, generation.name());
            return Err(error);
        }
        // From here on readers see the new set: it stays even if a later step fails.
        self.previous = replaced;
        self.directory.sync()?;
        taken_over.extend(match links::ensure(&self.directory, &self.names()) {
            Err(error) if error.is_out_of_space() => {
                self.make_room(Some(generation.name()))?;
                links::ensure(&self.directory, &self.names())?
            }
            other => other?,
        });
        let name = generation.name().to_owned();
        self.current = Some(generation);
        if self.is_exposed() {
            self.remove_old(timing::now());
        }
        self.leave()?;
        Ok(Published { generation: name, taken_over })
    }

    /// Whether the published set is the one that publishing these would create, with files as configured.
    #[must_use]
    pub fn holds(&self, material: &Material, extra_authorities: &[Certificate]) -> bool {
        let Some(current) = &self.current else {
            return false;
        };
        let settings = &self.settings;
        // Publishing fails then, and says why.
        let Ok(passwords) = Passwords::read(settings.files.contents()) else {
            return false;
        };
        let (authorities, origin) = authorities(material, extra_authorities);
        current.is(&SetId::of(settings, material, &authorities, origin, &passwords))
    }

    /// Whether the published set is as it was left, and nobody has replaced anything of it in between.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.is_in_order() && self.is_undisturbed()
    }

    /// Whether the published set is as it was left: links, owners, modes and contents.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let Some(current) = &self.current else {
            return false;
        };
        self.directory.is_in_place().is_ok_and(|in_place| in_place)
            && links::current(&self.directory).ok().flatten().as_deref() == Some(current.name())
            && links::are_complete(&self.directory, &self.names())
            && current.is_untouched(&self.directory)
    }

    /// Whether others may rename published files, or the directory itself.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.directory.is_exposed()
    }

    fn names(&self) -> Vec<String> {
        self.settings.files.names()
    }

    /// Removes what a killed run has left unfinished.
    fn clear_leftovers(&self) -> Result<(), Error> {
        let current = links::current(&self.directory)?;
        links::remove_leftovers(&self.directory)?;
        generation::remove_unfinished(&self.directory, current.as_deref())
    }

    /// Makes room on a full volume: removes the generations that no link leads to, except the new one.
    fn make_room(&self, new: Option<&str>) -> Result<(), Error> {
        // If somebody has changed the link, it does not show which set is the last good one.
        let linked = links::current(&self.directory)?;
        let ours = self.current.as_ref().map(Generation::name);
        let kept: Vec<&str> = linked.as_deref().into_iter().chain(ours).chain(new).collect();
        sweep::all_but(&self.directory, &kept);
        Ok(())
    }

    fn preflight(&mut self) -> Result<(), Error> {
        for (name, found) in links::check(&self.directory, &self.names())? {
            links::remove(&self.directory, &name, &found)?;
            self.disowned.push(Disowned { found, removed: true });
        }
        // Clients that were configured with the path of an earlier generation still read it, so nothing else may have its name.
        for name in &self.earlier {
            if let Some(found) = generation::impostor(&self.directory, name) {
                links::remove(&self.directory, name, &found)?;
                self.disowned.push(Disowned { found, removed: true });
            }
        }
        Ok(())
    }

    fn write(
        &self,
        material: &Material,
        extra_authorities: &[Certificate],
    ) -> Result<Generation, Error> {
        let passwords = Passwords::read(self.settings.files.contents())?;
        let name = generation_name::fresh_name();
        let (authorities, origin) = authorities(material, extra_authorities);
        let set = SetId::of(&self.settings, material, &authorities, origin, &passwords);
        let files = self.files(material, &authorities, &passwords, &name)?;
        let record = {
            let written = files.iter().map(|(name, content)| (name, content.bytes.as_slice()));
            let kind = |file: &FileSpec| (file.name.clone(), file.content.kind().to_owned());
            let hint = material.hint().unwrap_or_default().to_owned();
            let kinds = self.settings.files.iter().map(kind).collect();
            Record::of(set.clone(), origin, written, More { hint, kinds })
        };
        let bytes = Zeroizing::new(record.encode());
        let mode = self.settings.files.private_key().mode;
        let files =
            files.into_iter().chain([(RECORD.to_owned(), generation::Content { bytes, mode })]);
        generation::write(&self.directory, name, Some(set), files.collect(), self.settings.group)
    }

    fn files(
        &self,
        material: &Material,
        authorities: &[&Certificate],
        passwords: &Passwords,
        generation: &str,
    ) -> Result<BTreeMap<String, generation::Content>, Error> {
        let path = self.settings.readers_directory().join(generation);
        let written = |FileSpec { name, mode, content }: &FileSpec| {
            let bytes = encode(content, material, authorities, passwords, &path)?;
            Ok((name.clone(), generation::Content { bytes, mode: *mode }))
        };
        self.settings.files.iter().map(written).collect()
    }
}
