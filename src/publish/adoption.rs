//! Reads the set that an earlier run has left, and judges whether it is pgsvid's own.

use std::time::{Duration, SystemTime};

use super::directory::{Directory, RECORD};
use super::files::FileSpec;
use super::generation::{self, Generation};
use super::kept::{self, Kept, Unreadable};
use super::ownership::Owners;
use super::record::{self, Found, Record};
use super::set_id::Sum;
use super::{Disowned, Error, Publisher, Settings, links, replay, sweep};
use crate::material::{Expectations, Material, Names, Rejection, pem};

/// The precision of times in certificates, which have no fractions of a second.
const MOMENT: Duration = Duration::from_secs(1);

impl Publisher {
    /// The names of the set on disk, whatever else may be wrong with it; `None` if there is no set that others could not have
    /// written. Changes nothing.
    #[must_use]
    pub fn names_on_disk(&self) -> Option<Names> {
        names_in(&self.directory, &self.settings)
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
    /// A set counts only if nobody else could have written any of it. If somebody else could, `..data` is removed, so that
    /// PostgreSQL does not start with the authorities of others before pgsvid has published. The link stays until the next
    /// publication if root has written the set, or if the set is pgsvid's own but perhaps an older one.
    pub fn existing_or_expired(
        &mut self,
        expectations: &Expectations,
        now: SystemTime,
    ) -> Result<Option<Material>, Error> {
        let Some(name) = links::current(&self.directory)? else {
            return Ok(None);
        };
        let names = self.settings.files.set_names();
        let mut kept = match kept::load(&self.directory, &name, &names, Owners::ours()) {
            Ok(kept) => kept,
            Err(Unreadable::Failed(_)) => {
                // It may be a link that leads PostgreSQL to another set.
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
        // Authorities that are not the agent's come from the present configuration, not from the one with which the set was
        // written.
        let recorded = match record::read(&self.directory, &name) {
            Ok(None) => None,
            Ok(Some(Found { record, .. })) if !record.has_hint(expectations) => return Ok(None),
            Ok(Some(Found { record, file })) => {
                let federated = if expectations.federated { record.federated } else { 0 };
                material.keep_authorities(record.own, federated);
                kept.contents.insert(RECORD.to_owned(), file);
                Some(record)
            }
            Err(_) => return Ok(None),
        };
        if self.directory.is_exposed()
            && let Ok(Some(found)) = replay::renamed(&self.directory, &name, &kept)
        {
            self.disowned.push(Disowned { found, removed: false });
            return Ok(None);
        }
        // Other files are not part of the identity: a missing one is written again.
        for FileSpec { name: file, .. } in self.settings.files.others() {
            let load =
                kept::load(&self.directory, &name, std::slice::from_ref(file), Owners::ours());
            kept.contents.extend(load.map(|found| found.contents).unwrap_or_default());
        }
        let set = recorded.filter(|it| self.is_as_written(&name, &kept, it)).map(|it| it.set);
        self.previous = sweep::newest_but(&self.directory, &name);
        self.current = Some(Generation::adopt(name, set, &kept));
        // If this fails, nothing is recorded, and then `is_undisturbed` is false.
        let _ = self.leave();
        Ok(Some(material))
    }

    /// Examines the directory again while no own set is published: others may have put one there.
    pub fn look_again(
        &mut self,
        expectations: &Expectations,
        now: SystemTime,
    ) -> Result<Option<Material>, Error> {
        self.preflight()?;
        self.existing(expectations, now)
    }

    /// Whether nobody has changed the set of an earlier run, its files have the configured modes, and there are no others: a
    /// file that is no longer configured must not stay, because a map of roles lets clients in.
    fn is_as_written(&self, generation: &str, kept: &Kept, record: &Record) -> bool {
        let Settings { files, group, .. } = &self.settings;
        let is_as_written = |FileSpec { name, mode, .. }: &FileSpec| {
            let (Some((bytes, stat)), Some(sum)) =
                (kept.contents.get(name), record.files.get(name))
            else {
                return false;
            };
            Sum::of(bytes) == *sum
                && stat.st_mode & 0o7777 == *mode
                && group.is_none_or(|group| group == stat.st_gid)
        };
        let names: Vec<_> = self.names().into_iter().chain([RECORD.to_owned()]).collect();
        files.iter().all(is_as_written)
            && record.files.len() == files.iter().count()
            && !kept::has_more(&self.directory, generation, &names)
    }
}

pub(super) fn names_in(directory: &Directory, settings: &Settings) -> Option<Names> {
    let generation = links::current(directory).ok()??;
    let file = std::slice::from_ref(&settings.files.certificate().name);
    let kept = kept::load(directory, &generation, file, directory.owners()).ok()?;
    let chain = pem::decode_certificates(kept.content(&settings.files.certificate().name)).ok()?;
    Some(Names::of_leaf(chain.first()?))
}

pub(super) fn decode(
    settings: &Settings,
    kept: &Kept,
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Material, pem::Unusable> {
    let content = |file: &FileSpec| kept.content(&file.name);
    pem::decode_material(
        content(settings.files.certificate()),
        content(settings.files.private_key()),
        content(settings.files.bundle()),
        expectations,
        now,
    )
}
