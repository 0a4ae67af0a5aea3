//! Publishes one generation as one set of files: `svid.pem → ..data/svid.pem`, `..data → ..v<stamp>-<random>/`.
//!
//! The invariant: at every instant, whatever kills us, PostgreSQL can start from what is on disk. So a new
//! generation is complete, synced and read back before one `renameat` makes it the current one, and nothing
//! that exists is ever written to. Everything is relative to one open directory and follows no links.

mod directory;
mod error;
mod examine;
mod generation;
mod kept;
mod links;
mod lock;
#[cfg(test)]
pub(crate) mod model;
mod origin;
mod ownership;
mod replay;
mod seam;
mod sweep;
mod takeover;
mod trace;
mod undisturbed;
mod way;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use directory::{Directory, RECORD};
pub use error::Error;
pub use examine::{Examination, Unusable, examine, peek};
use generation::Generation;
use kept::{Kept, Unreadable};
use lock::Lock;
use ownership::Owners;
pub use ownership::{NotOurs, Reason};
use undisturbed::Left;
use way::Exposed;
pub use way::Trust;
pub use worker::{Broken, Worker};

use crate::material::{Certificate, Expectations, Material, Rejection, pem};
use crate::timing;

/// Judges a directory that others write, and the way to it, as that of what is published is judged: fails if somebody else
/// than root and the reader could exchange what is read there.
pub fn judge_way(directory: &Path, reader: u32) -> Result<(), Error> {
    way::judge(directory, reader)
}

/// Certificates have no parts of a second.
const MOMENT: Duration = Duration::from_secs(1);

/// How and where to publish.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory, absolute. It must exist, and belong to root or to us.
    pub directory: PathBuf,
    /// File name for the leaf and its intermediates.
    pub certificate: String,
    /// File name for the private key.
    pub private_key: String,
    /// File name for the authorities.
    pub bundle: String,
    /// Exact mode of the private key's file.
    pub private_key_mode: u32,
    /// Exact mode of every other file.
    pub certificate_mode: u32,
    /// Group that the files get; needs root, or membership.
    pub group: Option<u32>,
    /// Most generations on disk; at least 2.
    pub keep_at_most: usize,
    /// Keep a replaced generation until its leaf has expired: somebody holds paths into it.
    pub keep_until_expiry: bool,
    /// Path of `directory` as its readers see it, if they mount it elsewhere.
    pub seen_as: Option<PathBuf>,
}

impl Settings {
    /// The directory's path for its readers.
    #[must_use]
    pub fn readers_directory(&self) -> &Path {
        self.seen_as.as_deref().unwrap_or(&self.directory)
    }

    /// The names of certificate, private key and bundle.
    fn set_names(&self) -> [String; 3] {
        [&self.certificate, &self.private_key, &self.bundle].map(Clone::clone)
    }
}

/// Renders a companion from the generation's path as its readers see it.
type Render = Arc<dyn Fn(&Path) -> Vec<u8> + Send + Sync>;

/// A file beside certificate, key and bundle that follows the generation, such as a connection service file.
#[derive(Clone)]
pub struct Companion {
    /// File name.
    pub name: String,
    /// Content, for one generation.
    pub render: Render,
}

/// What is published now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Name of the generation's directory.
    pub generation: String,
    /// Plain files that belonged to somebody else and were replaced by links.
    pub taken_over: Vec<String>,
}

/// Something that others could have put at one of our names, or into the generation that is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disowned {
    /// What, and how it is seen.
    pub found: NotOurs,
    /// Whether it was removed, or the link to it was. If not, it stays until the next publication: it is root's, or ours and
    /// perhaps an older one.
    pub removed: bool,
}

/// The one writer of a directory. Its methods block: files are synced.
pub struct Publisher {
    settings: Settings,
    companions: Vec<Companion>,
    directory: Directory,
    /// Held as long as we may publish.
    lock: Option<Lock>,
    current: Option<Generation>,
    /// What others could exchange, as we have left it; empty where nobody can.
    left: Left,
    /// Generations of ours whose paths clients may hold, the newest first, where others could exchange them.
    earlier: Vec<String>,
    /// What `current` has replaced: the last good set until the new one is verified.
    previous: Option<String>,
    /// Whether another directory at the same path is out of reach.
    bound: bool,
    /// What was found since it was last told.
    disowned: Vec<Disowned>,
}

impl Publisher {
    /// Opens and locks the directory, and clears away what a killed run has left.
    ///
    /// Fails if another instance holds the lock, if the directory could be tampered with by others, or if
    /// something that is not ours stands where the links have to be.
    pub fn open(settings: Settings, companions: Vec<Companion>) -> Result<Self, Error> {
        let names = names(&settings, &companions);
        let directory = Directory::open(&settings.directory, names)?;
        let lock = lock::take(&directory)?;
        let mut publisher = Self {
            current: None,
            left: Left::new(),
            earlier: Vec::new(),
            previous: None,
            settings,
            companions,
            directory,
            lock,
            bound: false,
            disowned: Vec::new(),
        };
        publisher.preflight()?;
        publisher.clear_leftovers()?;
        Ok(publisher)
    }

    /// Says that this process can write to the directory that is open, and to no other at the same path: then a
    /// replaced directory is an error that only another process gets over.
    pub fn bind(&mut self) {
        self.bound = true;
    }

    /// The published directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.settings.directory
    }

    /// Why the directory was taken although others may write to it, if so.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.directory.trust()
    }

    /// Whether another machine that has mounted the same directory could publish to it as well: on NFS.
    #[must_use]
    pub fn is_locked_here_alone(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| !lock.is_everywhere())
    }

    /// What was found in the directory since the last call that others could have put there. It has to be told: somebody
    /// tries to be believed, or the directory has changed hands.
    pub fn take_disowned(&mut self) -> Vec<Disowned> {
        std::mem::take(&mut self.disowned)
    }

    /// Path of the published directory, of the current generation in it, and what tells that others rename something on the
    /// way to it.
    #[must_use]
    pub fn watched_paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.settings.directory.clone()];
        paths.extend(self.directory.exposed().iter().flatten().map(Exposed::watched));
        if let Some(current) = &self.current {
            paths.push(self.settings.directory.join(current.name()));
        }
        paths
    }

    /// Reads the set of an earlier run, if there is one that passes every check at `now`. See [`Self::existing_or_expired`].
    pub fn existing(
        &mut self,
        expectations: &Expectations,
        now: SystemTime,
    ) -> Result<Option<Material>, Error> {
        let existing = self.existing_or_expired(expectations, now)?;
        Ok(existing.filter(|material| material.not_after() > now))
    }

    /// Reads the set of an earlier run, if there is one that passes every check at `now`, or passed them before it expired.
    ///
    /// A set counts only if nobody but us could have written any of it. If it may be another's, its link is removed, for
    /// PostgreSQL not to be started with another's authorities while there is no set of ours. But root's stays until
    /// then, and so does one of ours that others may have put back.
    pub fn existing_or_expired(
        &mut self,
        expectations: &Expectations,
        now: SystemTime,
    ) -> Result<Option<Material>, Error> {
        let Some(name) = links::current(&self.directory)? else {
            return Ok(None);
        };
        // Companions are not part of the identity: one that is missing is written anew.
        let names = self.settings.set_names();
        let mut kept = match kept::load(&self.directory, &name, &names, Owners::ours()) {
            Ok(kept) => kept,
            Err(Unreadable::Failed(_)) => {
                // A link, perhaps, that leads PostgreSQL to another set.
                if let Some(found) = generation::impostor(&self.directory, &name)
                    && !found.is_roots()
                {
                    links::remove_current(&self.directory, &found)?;
                    self.disowned.push(Disowned { found, removed: true });
                }
                return Ok(None);
            }
            Err(Unreadable::NotOurs(found)) => {
                let removed = !found.is_roots();
                if removed {
                    links::remove_current(&self.directory, &found)?;
                    generation::remove(&self.directory, &name);
                }
                self.disowned.push(Disowned { found, removed });
                return Ok(None);
            }
        };
        let mut decoded = decode(&self.settings, &kept, expectations, now);
        if let Err(pem::Unusable::Rejected(Rejection::Expired(end))) = decoded {
            decoded = decode(&self.settings, &kept, expectations, end - MOMENT);
        }
        let Ok(mut material) = decoded else {
            return Ok(None);
        };
        // What is not the agent's is what the configuration gives now, and not what it gave then.
        match origin::read(&self.directory, &name) {
            Ok(None) => {}
            Ok(Some(origin)) => {
                let federated = if expectations.federated { origin.federated } else { 0 };
                material.keep_authorities(origin.own, federated);
                kept.contents.insert(RECORD.to_owned(), origin.file);
            }
            Err(_) => return Ok(None),
        }
        if self.directory.is_exposed()
            && let Ok(Some(found)) = replay::renamed(&self.directory, &name, &kept)
        {
            self.disowned.push(Disowned { found, removed: false });
            return Ok(None);
        }
        // What is no longer configured must not stay: a map of roles lets somebody in.
        let names: Vec<_> = self.names().into_iter().chain([RECORD.to_owned()]).collect();
        let has_more = kept::has_more(&self.directory, &name, &names);
        self.current = Some(Generation::adopt(name, &kept, has_more));
        // What is missing of it is seen as such.
        let _ = self.leave();
        Ok(Some(material))
    }

    /// Takes the lock again where it was removed, replaced or opened to others; or where there was no room for it before.
    /// Returns whether it was lost.
    pub fn keep_locked(&mut self) -> Result<bool, Error> {
        if self.lock.as_ref().is_some_and(|lock| lock.is_in_place(&self.directory)) {
            return Ok(false);
        }
        let had = self.lock.is_some();
        self.lock = lock::take(&self.directory)?;
        Ok(had && self.lock.is_some())
    }

    /// Publishes a generation, even if the very same bytes are published already: see [`Self::holds`].
    ///
    /// On an error the last good set is still in place, and nothing half written is in anybody's way.
    pub fn publish(
        &mut self,
        material: &Material,
        extra_authorities: &[Certificate],
    ) -> Result<Published, Error> {
        if !self.directory.judge_again()? {
            // The volume was unmounted or replaced: what we hold open is no longer what readers see.
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
        // From here on it is what readers see: whatever fails now, it stays.
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

    /// Whether what is published has the bytes that publishing these would give.
    #[must_use]
    pub fn holds(&self, material: &Material, extra_authorities: &[Certificate]) -> bool {
        let Some(current) = &self.current else {
            return false;
        };
        let path = self.settings.readers_directory().join(current.name());
        current.has(&self.files(material, extra_authorities, &path), self.settings.group)
    }

    /// Whether the published set is as we left it, and nobody has exchanged anything of it meanwhile.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.is_in_order() && self.is_undisturbed()
    }

    /// Whether the published set is as we left it: links, owners, modes and contents.
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

    /// Whether others may rename what is published, or the directory itself.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.directory.is_exposed()
    }

    /// Looks again at what is there while nothing of ours is: others may have put a set there.
    pub fn look_again(
        &mut self,
        expectations: &Expectations,
        now: SystemTime,
    ) -> Result<Option<Material>, Error> {
        self.preflight()?;
        self.existing(expectations, now)
    }

    fn names(&self) -> Vec<String> {
        names(&self.settings, &self.companions)
    }

    /// What a killed run has left under way.
    fn clear_leftovers(&self) -> Result<(), Error> {
        let current = links::current(&self.directory)?;
        links::remove_leftovers(&self.directory)?;
        generation::remove_unfinished(&self.directory, current.as_deref())
    }

    /// Space has run out: removes the generations that no link leads to, but for the new one.
    fn make_room(&self, new: Option<&str>) -> Result<(), Error> {
        // Where somebody has turned the link, it is not the one that tells which set is the last good one.
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
        // Clients whose connections were configured from one read it by its name.
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
        let name = generation::fresh_name();
        let path = self.settings.readers_directory().join(&name);
        let files = self.files(material, extra_authorities, &path);
        generation::write(&self.directory, name, files, self.settings.group)
    }

    fn files(
        &self,
        material: &Material,
        extra_authorities: &[Certificate],
        path: &Path,
    ) -> BTreeMap<String, generation::Content> {
        let settings = &self.settings;
        let public = |bytes: Vec<u8>| generation::Content {
            bytes: Zeroizing::new(bytes),
            mode: settings.certificate_mode,
        };
        let key = generation::Content {
            bytes: pem::encode_key(material.key()),
            mode: settings.private_key_mode,
        };
        let mut authorities: Vec<&Certificate> = material.authorities().collect();
        let agents = authorities.len();
        for authority in extra_authorities {
            // It may be in the bundle as well, and is in a set that was read back.
            if !authorities.contains(&authority) {
                authorities.push(authority);
            }
        }
        let own = material.own_authorities().len();
        let record = (authorities.len() > own).then(|| origin::record(own, agents - own));
        let mut files = BTreeMap::from([
            (settings.certificate.clone(), public(pem::encode_certificates(material.chain()))),
            (settings.private_key.clone(), key),
            (settings.bundle.clone(), public(pem::encode_certificates(authorities))),
        ]);
        if let Some(record) = record {
            files.insert(RECORD.to_owned(), public(record));
        }
        for companion in &self.companions {
            files.insert(companion.name.clone(), public((companion.render)(path)));
        }
        files
    }
}

fn names(settings: &Settings, companions: &[Companion]) -> Vec<String> {
    let companions = companions.iter().map(|companion| companion.name.clone());
    settings.set_names().into_iter().chain(companions).collect()
}

fn decode(
    settings: &Settings,
    kept: &Kept,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Material, pem::Unusable> {
    let content = |name: &String| kept.content(name);
    pem::decode_material(
        content(&settings.certificate),
        content(&settings.private_key),
        content(&settings.bundle),
        expectations,
        now,
    )
}
