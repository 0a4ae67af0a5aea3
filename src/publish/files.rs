//! The files of each generation.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Renders the content of a file. The argument is the path of the generation's directory as its readers see it.
pub type Render = Arc<dyn Fn(&Path) -> Vec<u8> + Send + Sync>;

/// A file of each generation.
#[derive(Debug, Clone)]
pub struct FileSpec {
    /// File name.
    pub name: String,
    /// Permission bits, such as `0o640`. They are set exactly: the umask does not matter.
    pub mode: u32,
    /// Its content.
    pub content: Content,
}

/// The content of a file.
#[derive(Clone)]
pub enum Content {
    /// The leaf and its intermediates, as PEM.
    Chain,
    /// The private key, as PEM (PKCS#8).
    Key,
    /// The authorities, as PEM.
    Bundle,
    /// Key, leaf and intermediates in one text, as PEM: its readers open one file, so they cannot mix two sets.
    Combined,
    /// The private key in DER (PKCS#8).
    KeyDer,
    /// The leaf and its intermediates in DER, one after the other.
    ChainDer,
    /// Key, leaf and intermediates as PKCS#12.
    KeyStore {
        /// Absolute path of the file with its password.
        password_file: PathBuf,
        /// The name of its entry.
        alias: String,
    },
    /// The authorities as PKCS#12, which Java trusts.
    TrustStore {
        /// Absolute path of the file with its password. Without one it has no MAC, and Java opens it with no password.
        password_file: Option<PathBuf>,
    },
    /// Text that depends on the generation, such as a connection service file.
    Rendered(Render),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl Content {
    /// A name that no release of pgsvid may change: it is part of the identifier by which sets are compared
    /// ([`super::set_id`]), so a changed name makes every set look new after an upgrade.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Key => "key",
            Self::Bundle => "bundle",
            Self::Combined => "combined",
            Self::KeyDer => "key in DER",
            Self::ChainDer => "chain in DER",
            Self::KeyStore { .. } => "key store",
            Self::TrustStore { .. } => "trust store",
            Self::Rendered(_) => "rendered",
        }
    }

    /// Whether it holds the private key.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Key | Self::Combined | Self::KeyDer | Self::KeyStore { .. })
    }

    /// The file with its password, if it has one.
    #[must_use]
    pub fn password_file(&self) -> Option<&Path> {
        match self {
            Self::KeyStore { password_file, .. } => Some(password_file),
            Self::TrustStore { password_file } => password_file.as_deref(),
            _ => None,
        }
    }
}

/// The files of a generation: certificate, private key and bundle, in this order, then the others.
#[derive(Debug, Clone)]
pub struct Files(Vec<FileSpec>);

impl Files {
    /// The three files of the set. The names are those of certificate, private key and bundle, in this order. `key_mode` is the
    /// mode of the private key, `mode` that of the other files: permission bits.
    #[must_use]
    pub fn new([certificate, key, bundle]: [String; 3], key_mode: u32, mode: u32) -> Self {
        Self(vec![
            FileSpec { name: certificate, mode, content: Content::Chain },
            FileSpec { name: key, mode: key_mode, content: Content::Key },
            FileSpec { name: bundle, mode, content: Content::Bundle },
        ])
    }

    /// Adds a file, with the key's mode if it holds the key, and otherwise with the certificate's. The caller ensures that no
    /// other file has this name: it is not checked here.
    pub fn add(&mut self, name: String, content: Content) {
        let like = if content.is_secret() { self.private_key() } else { self.certificate() };
        self.0.push(FileSpec { name, mode: like.mode, content });
    }

    /// Adds a rendered file. See [`Self::add`].
    pub fn add_rendered(
        &mut self,
        name: String,
        render: impl Fn(&Path) -> Vec<u8> + Send + Sync + 'static,
    ) {
        self.add(name, Content::Rendered(Arc::new(render)));
    }

    /// Adds a rendered file that holds secrets, with the key's mode.
    pub fn add_secret(
        &mut self,
        name: String,
        render: impl Fn(&Path) -> Vec<u8> + Send + Sync + 'static,
    ) {
        let mode = self.private_key().mode;
        self.0.push(FileSpec { name, mode, content: Content::Rendered(Arc::new(render)) });
    }

    /// The file of leaf and intermediates.
    #[must_use]
    pub fn certificate(&self) -> &FileSpec {
        &self.0[0]
    }

    /// The file of the private key.
    #[must_use]
    pub fn private_key(&self) -> &FileSpec {
        &self.0[1]
    }

    /// The file of the authorities.
    #[must_use]
    pub fn bundle(&self) -> &FileSpec {
        &self.0[2]
    }

    /// All of them: certificate, private key and bundle first.
    pub fn iter(&self) -> impl Iterator<Item = &FileSpec> {
        self.0.iter()
    }

    /// Their contents.
    pub(super) fn contents(&self) -> impl Iterator<Item = &Content> {
        self.0.iter().map(|file| &file.content)
    }

    /// The names of certificate, private key and bundle.
    #[must_use]
    pub fn set_names(&self) -> [String; 3] {
        [self.certificate(), self.private_key(), self.bundle()].map(|file| file.name.clone())
    }

    /// The names of all files, in the order of [`Self::iter`].
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|file| file.name.clone()).collect()
    }

    /// The files with passwords, each once.
    #[must_use]
    pub fn password_files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> =
            self.0.iter().filter_map(|file| file.content.password_file()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// The files other than certificate, private key and bundle.
    #[must_use]
    pub fn others(&self) -> &[FileSpec] {
        &self.0[3..]
    }
}
