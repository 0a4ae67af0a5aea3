//! What was done to a server, so that it can be taken back: a file in its data directory, which is this server's alone.
//!
//! Written before anything is done.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Error, replace};
use crate::postgres::Administration;

/// Name of the file.
const NAME: &str = "pgsvid-setup.json";
/// What this program writes and reads.
const FORMAT: u32 = 1;
/// Largest record that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: u32,
    /// Statements that take back what was executed, in the order of execution.
    pub(super) undo: Vec<Undo>,
    /// Settings are being altered: whatever `postgresql.auto.conf` says of them now is ours.
    pub(super) altering: bool,
    /// Settings that were altered.
    pub(super) settings: BTreeMap<String, Change>,
    /// Files that got a block, each with the first copy of what was there before.
    pub(super) files: BTreeMap<PathBuf, PathBuf>,
}

/// A statement that takes another back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    /// Where it has to be executed.
    pub(super) database: String,
    /// The statement.
    pub(super) statement: String,
    /// Whether what it takes back was done; else somebody has to look.
    pub(super) done: bool,
}

/// A setting of `postgresql.auto.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// What ALTER SYSTEM had set before; `None` if nothing.
    pub(super) before: Option<String>,
    /// What we have set.
    pub(super) after: String,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            format: FORMAT,
            undo: Vec::new(),
            altering: false,
            settings: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }
}

/// Keeps others from setting up or reverting the same server for as long as it lives.
pub(super) struct Lock {
    _directory: File,
}

/// Takes the lock: the data directory's own `flock`, which PostgreSQL does not use.
fn lock(data_directory: &Path) -> Result<Lock, Error> {
    let failed = |cause| Error::Record { path: data_directory.to_owned(), cause };
    let directory = File::open(data_directory).map_err(failed)?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _directory: directory }),
        Err(Errno::WOULDBLOCK) => Err(Error::AtWork),
        Err(error) => Err(failed(error.into())),
    }
}

/// The record of a server whose data directory is here, under its lock.
pub(super) fn open(server: &Administration) -> Result<(Lock, Record), Error> {
    reachable(server)?;
    let lock = lock(&server.data_directory)?;
    Ok((lock, Record::read(&server.data_directory)?))
}

/// Whether the server's data directory is here: by its path, and by the start that its lock file tells of (PostgreSQL:
/// `miscinit.c`, `CreateLockFile`; the third line).
fn reachable(server: &Administration) -> Result<(), Error> {
    let elsewhere = |why: String| Error::Elsewhere { path: server.data_directory.clone(), why };
    let text = std::fs::read_to_string(server.data_directory.join("postmaster.pid"))
        .map_err(|error| elsewhere(format!("postmaster.pid: {error}")))?;
    let started = text.lines().nth(2).and_then(|line| line.parse::<u64>().ok());
    // The two are read from the clock one after the other.
    match started {
        Some(started) if started.abs_diff(server.started) <= 2 => Ok(()),
        _ => Err(elsewhere("its postmaster.pid is another server's".to_owned())),
    }
}

impl Record {
    /// Reads the record; an empty one if there is none.
    fn read(data_directory: &Path) -> Result<Self, Error> {
        let path = data_directory.join(NAME);
        let failed = |cause| Error::Record { path: path.clone(), cause };
        match std::fs::metadata(&path) {
            Ok(found) if found.len() > LARGEST => {
                return Err(failed(io::Error::other("it is far too large")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            _ => {}
        }
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let record: Self =
            serde_json::from_str(&text).map_err(|error| failed(io::Error::other(error)))?;
        if record.format != FORMAT {
            let text = format!("its format is {}, and this program knows {FORMAT}", record.format);
            return Err(failed(io::Error::other(text)));
        }
        Ok(record)
    }

    /// Writes the record, or removes it if there is nothing in it.
    pub(super) fn write(&self, data_directory: &Path) -> Result<(), Error> {
        let path = data_directory.join(NAME);
        self.put(data_directory, &path).map_err(|cause| Error::Record { path, cause })
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn put(&self, data_directory: &Path, path: &Path) -> io::Result<()> {
        if self.is_empty() {
            return match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let owner = std::fs::metadata(data_directory)?;
        replace::put(path, &serde_json::to_vec_pretty(self)?, &owner, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_an_empty_one_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let record = Record {
            undo: vec![Undo {
                database: "postgres".into(),
                statement: "DROP ROLE x".into(),
                done: true,
            }],
            settings: BTreeMap::from([(
                "ssl".to_owned(),
                Change { before: None, after: "on".into() },
            )]),
            ..Record::default()
        };
        record.write(directory.path()).unwrap();
        assert_eq!(Record::read(directory.path()).unwrap(), record);
        Record::default().write(directory.path()).unwrap();
        Record::default().write(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(Record::read(directory.path()).unwrap().is_empty());
    }

    #[test]
    fn a_record_of_another_kind_is_not_guessed_at() {
        let directory = tempfile::tempdir().unwrap();
        for (text, words) in [
            ("", "EOF"),
            (
                r#"{"format":2,"undo":[],"altering":false,"settings":{},"files":{}}"#,
                "its format is 2",
            ),
            (
                r#"{"format":1,"undo":[],"altering":false,"settings":{},"files":{},"more":1}"#,
                "unknown field",
            ),
        ] {
            let path = directory.path().join(NAME);
            let _ = std::fs::remove_file(&path);
            let file = File::create_new(&path).unwrap();
            io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
            let error = Record::read(directory.path()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
