//! From another helper's plain files to links, without a moment at which PostgreSQL could not start.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::directory::RECORD;
use super::error::Error;
use super::{Publisher, generation, kept, links, origin};

impl Publisher {
    /// Turns the plain files of another helper into a generation with the same contents, so that replacing
    /// them by links, one after the other, changes nothing for a PostgreSQL that starts in between.
    ///
    /// Not where others may rename: they could give one of our names to any file of our user's. And no file gets more
    /// readers than it had.
    pub(super) fn take_over(&self) -> Result<Vec<String>, Error> {
        if !self.directory.is_exclusive() {
            return Ok(Vec::new());
        }
        if let Some(current) = links::current(&self.directory)? {
            // Killed half way, perhaps: then what is still plain is in the current generation, too.
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
        for (name, mode) in [
            (&settings.certificate, settings.certificate_mode),
            (&settings.private_key, settings.private_key_mode),
            (&settings.bundle, settings.certificate_mode),
        ] {
            // Not every former set has a bundle, or has it under this name.
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
            // PostgreSQL may start from it, as it did before, but for us it never counts as a set of our own.
            let bytes = Zeroizing::new(origin::NOT_OURS.to_vec());
            let mode = settings.certificate_mode;
            files.insert(RECORD.to_owned(), generation::Content { bytes, mode });
        }
        let generation =
            generation::write(&self.directory, generation::fresh_name(), files, settings.group)?;
        links::swap(&self.directory, generation.name())?;
        self.directory.sync()?;
        links::ensure(&self.directory, &names)
    }
}
