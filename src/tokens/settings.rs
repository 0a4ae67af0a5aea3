//! Which tokens are written where.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::finding::{Code, Finding};
use crate::publish::SingleFile;
use crate::source::Endpoint;
use crate::text::shown;

/// The tokens and the JWT bundle.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent's address.
    pub endpoint: Endpoint,
    /// Of several tokens of the chosen SPIFFE ID the first with this hint is used.
    pub hint: Option<String>,
    /// The SPIFFE ID that is configured, if one is.
    pub spiffe_id: Option<String>,
    /// The tokens.
    pub tokens: Vec<Token>,
    /// The JWT bundle, if it is written.
    pub bundle: Option<Bundle>,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The recipients: at least one audience.
    pub audience: Vec<String>,
    /// Its file.
    pub file: SingleFile,
}

/// The JWT bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its file.
    pub file: SingleFile,
    /// What is in it.
    pub format: Format,
}

/// What is in the file of a JWT bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The JWK set of the own trust domain (RFC 7517), as the agent sent it.
    Jwks,
    /// spiffe-helper's: a JSON object from each trust domain's name to its JWK set in base64.
    SpiffeHelper,
}

/// A directory of tokens that holds something else, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDirectory {
    /// The directory.
    pub directory: PathBuf,
    /// One of the other entries.
    pub other: String,
}

impl SharedDirectory {
    /// The finding: pgsvid's sandbox permits a directory, and not a file that is replaced.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let directory = self.directory.display().to_string();
        let text = format!("the sandbox lets pgsvid write everything in {directory}");
        Finding::warning(Code::SandboxOpenToDirectory, text)
            .about(directory)
            .cause(format!(
                "a token is written there, and the directory also holds {}: anyone who takes over pgsvid can replace that, and add files",
                shown(&self.other)
            ))
            .fix("give the tokens a directory that holds nothing else, and name it in jwt.file and jwt_bundle.file")
    }
}

impl Settings {
    /// The directories that hold something else than these files. `published` is pgsvid's own directory, which is judged elsewhere.
    /// Blocks.
    #[must_use]
    pub fn shared_directories(&self, published: Option<&Path>) -> Vec<SharedDirectory> {
        let directories: BTreeSet<&Path> = self.files().map(SingleFile::directory).collect();
        let is_ours = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("..") || self.files().any(|file| file.path == path)
        };
        let shared = |directory: &Path| {
            let entries = std::fs::read_dir(directory).ok()?;
            let mut others = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let other = others.find(|path| !is_ours(path))?;
            let other = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Some(SharedDirectory { directory: directory.to_owned(), other })
        };
        let directories = directories.into_iter().filter(|it| Some(*it) != published);
        directories.filter_map(shared).collect()
    }

    /// Every file that is written.
    pub fn files(&self) -> impl Iterator<Item = &SingleFile> {
        let tokens = self.tokens.iter().map(|token| &token.file);
        tokens.chain(self.bundle.iter().map(|bundle| &bundle.file))
    }
}
