//! Replaces another helper's plain files by links, so that PostgreSQL could start at any moment.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::directory::RECORD;
use super::error::Error;
use super::files::FileSpec;
use super::{Publisher, generation, generation_name, kept, links, record};

impl Publisher {
    /// Turns the plain files of another helper into a generation with the same contents. Then replacing them by links, one
    /// after the other, changes nothing for a PostgreSQL that starts in between.
    ///
    /// This is not done where others may rename: they could give one of pgsvid's names to any file of its user. And no file
    /// gets more readers than it had.
    pub(super) fn take_over(&self) -> Result<Vec<String>, Error> {
        if !self.directory.is_exclusive() {
            return Ok(Vec::new());
        }
        if let Some(current) = links::current(&self.directory)? {
            // An earlier run may have been killed half way: then the remaining plain files are also in the current
            // generation.
            let mut names = self.names();
            names.retain(|name| {
                links::plain_file(&self.directory, name).is_some_and(|plain| {
                    Some(plain.bytes) == kept::read_one(&self.directory, &current, name)
                })
            });
            return links::ensure(&self.directory, &names);
        }
        let settings = &self.settings;
        let mut files = BTreeMap::new();
        let mut all_ours = true;
        let set =
            [settings.files.certificate(), settings.files.private_key(), settings.files.bundle()];
        for FileSpec { name, mode, .. } in set {
            // Not every old set has a bundle, or has it under this name.
            if let Some(plain) = links::plain_file(&self.directory, name) {
                let mode = plain.mode & mode;
                files.insert(name.clone(), generation::Content { bytes: plain.bytes, mode });
                all_ours &= plain.is_ours;
            }
        }
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = files.keys().cloned().collect();
        if !all_ours {
            // PostgreSQL may start from it, as before, but it never counts as pgsvid's own set.
            let bytes = Zeroizing::new(record::NOT_OURS.to_vec());
            let mode = settings.files.private_key().mode;
            files.insert(RECORD.to_owned(), generation::Content { bytes, mode });
        }
        let generation = generation::write(
            &self.directory,
            generation_name::fresh_name(),
            None,
            files,
            settings.group,
        )?;
        links::swap(&self.directory, generation.name())?;
        self.directory.sync()?;
        links::ensure(&self.directory, &names)
    }
}
