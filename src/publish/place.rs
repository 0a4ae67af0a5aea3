//! Where consumers find the set: in a directory of pgsvid's own, or in files that another program writes.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FileSpec, Publisher, Settings};
use crate::files;
use crate::material::pem::{self, Unusable};
use crate::material::{Expectations, Material, Names, in_place};

/// Largest file of a set that is read, in bytes.
const LARGEST: u64 = 2 * 1024 * 1024;

/// Where consumers find the set, as configured.
#[derive(Debug, Clone)]
pub enum Place {
    /// A directory into which pgsvid publishes each set.
    Directory(Settings),
    /// The source's own files.
    InPlace(InPlace),
    /// Nowhere: the set stays in memory, and goes from there to Kubernetes Secrets.
    Memory,
}

impl Place {
    /// The settings of the directory, if there is one.
    #[must_use]
    pub fn directory(&self) -> Option<&Settings> {
        match self {
            Self::Directory(settings) => Some(settings),
            Self::InPlace(_) | Self::Memory => None,
        }
    }

    /// The files of each generation; none without a directory.
    pub fn files(&self) -> impl Iterator<Item = &FileSpec> {
        self.directory().into_iter().flat_map(|it| it.files.iter())
    }

    /// The files with the passwords of stores.
    #[must_use]
    pub fn password_files(&self) -> Vec<&Path> {
        self.directory().map(|it| it.files.password_files()).unwrap_or_default()
    }

    /// Certificate, private key and bundle as this process finds them; empty paths if there are no files.
    #[must_use]
    pub fn paths(&self) -> [PathBuf; 3] {
        match self {
            Self::Directory(it) => it.files.set_names().map(|name| it.directory.join(name)),
            Self::InPlace(it) => it.paths.clone(),
            Self::Memory => Default::default(),
        }
    }

    /// The same as their readers find them.
    #[must_use]
    pub fn readers_paths(&self) -> [PathBuf; 3] {
        match self {
            Self::Directory(it) => {
                it.files.set_names().map(|name| it.readers_directory().join(name))
            }
            Self::InPlace(it) => it.paths.clone(),
            Self::Memory => Default::default(),
        }
    }

    /// The directory of the certificate; empty if there are no files.
    #[must_use]
    pub fn base(&self) -> &Path {
        match self {
            Self::Directory(settings) => &settings.directory,
            Self::InPlace(it) => it.base(),
            Self::Memory => Path::new(""),
        }
    }

    /// The path of [`Self::base`] for the readers.
    #[must_use]
    pub fn readers_base(&self) -> &Path {
        match self {
            Self::Directory(settings) => settings.readers_directory(),
            Self::InPlace(it) => it.base(),
            Self::Memory => Path::new(""),
        }
    }
}

/// Certificate, key and bundle that another program writes, and that consumers read where they are. pgsvid writes none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPlace {
    /// The absolute paths of certificate, private key and bundle.
    pub paths: [PathBuf; 3],
}

impl InPlace {
    /// The directory of the certificate.
    #[must_use]
    pub fn base(&self) -> &Path {
        let [certificate, ..] = &self.paths;
        certificate.parent().unwrap_or(certificate)
    }

    /// When the newest of the files was last written; `None` if one cannot be examined.
    #[must_use]
    pub fn written_at(&self) -> Option<SystemTime> {
        let written = |path| std::fs::metadata(path).and_then(|found| found.modified()).ok();
        let [certificate, private_key, bundle] = &self.paths;
        Some(written(certificate)?.max(written(private_key)?).max(written(bundle)?))
    }

    /// Reads the set as it is now. Fails with a sentence about the file that cannot be used.
    pub fn read(&self, expectations: &Expectations, now: SystemTime) -> Result<Material, String> {
        let read = |path: &PathBuf| {
            files::read(path, LARGEST)
                .map_err(|cause| format!("cannot read {}: {cause}", path.display()))
        };
        let [certificate, private_key, bundle] = &self.paths;
        let (chain, key, authorities) = (read(certificate)?, read(private_key)?, read(bundle)?);
        let material = pem::read_material(&chain, &key, &authorities, expectations, now);
        let loads = || in_place::other_blocks(&key, &authorities);
        material.and_then(|material| loads().map(|_| material)).map_err(|error| match error {
            Unusable::Rejected(rejection) => rejection.to_string(),
            Unusable::Malformed { part, cause } => {
                let path = match part {
                    pem::Part::Chain => certificate,
                    pem::Part::Key => private_key,
                    pem::Part::Bundle => bundle,
                };
                format!("{} cannot be used: {cause}", path.display())
            }
        })
    }
}

/// The place, ready for the loop.
pub enum Opened {
    /// A directory that is open and locked.
    Directory(Box<Publisher>),
    /// The source's own files.
    InPlace(InPlace),
    /// Memory.
    Memory,
}

impl Opened {
    /// The names of the published set. See [`Publisher::names_on_disk`].
    #[must_use]
    pub fn names_on_disk(&self) -> Option<Names> {
        match self {
            Self::Directory(publisher) => publisher.names_on_disk(),
            Self::InPlace(_) | Self::Memory => None,
        }
    }

    /// Whether others may rename the published files. See [`Publisher::is_exposed`].
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        match self {
            Self::Directory(publisher) => publisher.is_exposed(),
            // The source watches these files. `check` reports who else can replace them.
            Self::InPlace(_) | Self::Memory => false,
        }
    }

    /// The paths whose changes concern the published set. See [`Publisher::watched_paths`].
    #[must_use]
    pub fn watched_paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Directory(publisher) => publisher.watched_paths(),
            Self::InPlace(_) | Self::Memory => Vec::new(),
        }
    }
}
