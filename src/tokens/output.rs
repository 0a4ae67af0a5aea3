//! One file that is kept as it was written.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::claims::Claims;
use super::failure::Failure;
use crate::publish::{self, Present, SingleFile};

/// A file, and what was written to it.
pub(super) struct Output {
    pub(super) file: SingleFile,
    /// Whether contents are of the kind that is written here.
    is_of_kind: fn(&[u8]) -> bool,
    /// What it should hold; `None` until this process has written it.
    contents: Option<Arc<Zeroizing<Vec<u8>>>>,
    /// Its directory when pgsvid started: the sandbox allows no other.
    home: Option<Home>,
}

impl Output {
    /// A file with a token.
    pub(super) fn of_token(file: SingleFile) -> Self {
        let is_token = |bytes: &[u8]| {
            std::str::from_utf8(bytes).is_ok_and(|text| Claims::read(text.trim()).is_ok())
        };
        Self::new(file, is_token)
    }

    /// A file with a JWT bundle.
    pub(super) fn of_bundle(file: SingleFile) -> Self {
        Self::new(file, |bytes| serde_json::from_slice::<Map<String, Value>>(bytes).is_ok())
    }

    fn new(file: SingleFile, is_of_kind: fn(&[u8]) -> bool) -> Self {
        let home = home(file.directory());
        Self { file, is_of_kind, contents: None, home }
    }

    /// What is at the path.
    pub(super) async fn present(&self) -> Result<Present, Failure> {
        let file = self.file.clone();
        let read = spawn_blocking(move || file.read()).await.map_err(|_| Failure::Thread)?;
        read.map_err(|error| self.explained(error))
    }

    /// Writes the file unless it holds exactly this already. Returns whether it was written.
    pub(super) async fn put(&mut self, bytes: Zeroizing<Vec<u8>>) -> Result<bool, Failure> {
        let bytes = Arc::new(bytes);
        if self.contents.is_none() {
            self.judge_existing().await?;
        }
        let written = self.write(&bytes).await?;
        self.contents = Some(bytes);
        Ok(written)
    }

    /// Before anything is written to the path for the first time: fails if a file there holds something else than what pgsvid, or
    /// the helper before it, would have written.
    async fn judge_existing(&self) -> Result<(), Failure> {
        let (file, is_of_kind) = (self.file.clone(), self.is_of_kind);
        let is_foreign = spawn_blocking(move || {
            file.existing().is_some_and(|bytes| !bytes.is_empty() && !is_of_kind(&bytes))
        });
        if is_foreign.await.map_err(|_| Failure::Thread)? { Err(Failure::Foreign) } else { Ok(()) }
    }

    /// Whether this was written to it last.
    pub(super) fn has(&self, bytes: &[u8]) -> bool {
        self.contents.as_deref().is_some_and(|contents| ***contents == *bytes)
    }

    /// The token that was written to it.
    pub(super) fn token(&self) -> Option<&str> {
        std::str::from_utf8(self.contents.as_deref()?).ok()
    }

    /// How the file differs from what was written to it; `None` if it does not, or nothing was written yet.
    pub(super) async fn difference(&self) -> Result<Option<String>, Failure> {
        let Some(contents) = &self.contents else { return Ok(None) };
        Ok(match self.present().await? {
            Present::File(bytes) if *bytes == ***contents => None,
            Present::File(_) => Some("holds something else".to_owned()),
            Present::Nothing => Some("is gone".to_owned()),
            Present::Other(how) => Some(how),
        })
    }

    /// Writes again what was written last.
    pub(super) async fn restore(&self) -> Result<(), Failure> {
        let Some(contents) = &self.contents else { return Ok(()) };
        self.write(contents).await.map(drop)
    }

    async fn write(&self, bytes: &Arc<Zeroizing<Vec<u8>>>) -> Result<bool, Failure> {
        let (file, bytes) = (self.file.clone(), Arc::clone(bytes));
        let write = move || {
            file.judge()?;
            match file.read()? {
                Present::File(found) if *found == **bytes => Ok(false),
                _ => file.write(&bytes).map(|()| true),
            }
        };
        let written = spawn_blocking(write).await.map_err(|_| Failure::Thread)?;
        written.map_err(|error| self.explained(error))
    }

    /// Explains an error. The sandbox allows only the directory that existed at the start.
    fn explained(&self, error: publish::Error) -> Failure {
        let now = home(self.file.directory());
        if now.is_some() && now != self.home {
            let directory = self.file.directory().to_owned();
            return publish::Error::Replaced { directory }.into();
        }
        error.into()
    }
}

/// The device and the inode of a directory, and when it was created: a new one may get the inode of a removed one.
type Home = (u64, u64, Option<SystemTime>);

fn home(directory: &Path) -> Option<Home> {
    let found = std::fs::metadata(directory).ok()?;
    Some((found.dev(), found.ino(), found.created().ok()))
}
