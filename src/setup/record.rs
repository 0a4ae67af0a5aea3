//! The record of what setup did to a server, so that it can be reverted: a file in its data directory, which belongs to this
//! server alone.
//!
//! It is written before anything is done. PostgreSQL's user may write it, and so may a superuser of the database. So its
//! contents are compared with what setup does, and never executed without that check.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::files::Directory;
use crate::sql::{Outcome, Session};
use crate::text::shown;

/// Name of the file.
const NAME: &str = "pgsvid-setup.json";
/// The format that this program writes and reads.
const FORMAT: u32 = 1;
/// Largest record that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: u32,
    /// Statements that undo what was executed, in the order of execution.
    pub(super) undo: Vec<Undo>,
    /// Whether settings are being changed: then all values in `postgresql.auto.conf` are setup's.
    pub(super) altering: bool,
    /// Settings that were changed.
    pub(super) settings: BTreeMap<String, Change>,
    /// Files that got a block, each with the first copy of its old text.
    pub(super) files: BTreeMap<PathBuf, PathBuf>,
}

/// A statement that undoes another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    /// The database to execute it in.
    pub(super) database: String,
    /// The statement.
    pub(super) statement: String,
    /// Whether the original statement was executed. If false, the state of the transaction shows it, or a person must check.
    pub(super) done: bool,
    /// The ID of the transaction with the original statement, until it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) transaction: Option<String>,
}

/// A setting of `postgresql.auto.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The value that ALTER SYSTEM had set before; `None` if there was none.
    pub(super) before: Option<String>,
    /// The value that setup set.
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

/// Opens the record of a server, and takes a lock that keeps others from setting it up or reverting it while the directory is
/// open: the `flock` of the data directory, which PostgreSQL does not use.
pub(super) fn open(data: &Directory) -> Result<Record, Error> {
    match data.lock() {
        Ok(true) => Record::read(data),
        Ok(false) => Err(Error::AtWork),
        Err(cause) => Err(Error::Record { path: data.path().to_owned(), cause }),
    }
}

/// Asks the server for the outcome of the statements that an interrupted `setup apply` was about to execute, and forgets
/// those that were not executed. Unknown outcomes stay in the record.
pub(super) async fn settle(record: &mut Record, session: &Session) -> Result<(), Error> {
    let mut settled = Vec::with_capacity(record.undo.len());
    for mut undo in std::mem::take(&mut record.undo) {
        if let Some(transaction) = undo.transaction.take_if(|_| !undo.done) {
            match session.outcome_of(&transaction).await.map_err(Error::Examination)? {
                Outcome::Committed => undo.done = true,
                Outcome::Aborted => continue,
                Outcome::Running => undo.transaction = Some(transaction),
                Outcome::Unknown => {}
            }
        }
        settled.push(undo);
    }
    record.undo = settled;
    Ok(())
}

impl Record {
    pub(super) fn read(data: &Directory) -> Result<Self, Error> {
        let failed = |cause| Error::Record { path: data.path().join(NAME), cause };
        let bytes = match data.read(OsStr::new(NAME), LARGEST) {
            Ok((bytes, _)) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        // The error's message repeats the contents of the file.
        let record: Self = serde_json::from_slice(&bytes)
            .map_err(|error| failed(io::Error::other(shown(&error.to_string()))))?;
        if record.format != FORMAT {
            let text =
                format!("its format is {}, but this program only knows {FORMAT}", record.format);
            return Err(failed(io::Error::other(text)));
        }
        Ok(record)
    }

    /// Writes the record, or removes it if it is empty.
    pub(super) fn write(&self, data: &Directory) -> Result<(), Error> {
        self.put(data).map_err(|cause| Error::Record { path: data.path().join(NAME), cause })
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn put(&self, data: &Directory) -> io::Result<()> {
        let name = OsStr::new(NAME);
        if self.is_empty() {
            return data.remove(name);
        }
        data.replace(name, &serde_json::to_vec_pretty(self)?, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_an_empty_one_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let data = Directory::open(directory.path()).unwrap();
        let record = Record {
            undo: vec![Undo {
                database: "postgres".into(),
                statement: "DROP ROLE x".into(),
                done: true,
                transaction: None,
            }],
            settings: BTreeMap::from([(
                "ssl".to_owned(),
                Change { before: None, after: "on".into() },
            )]),
            ..Record::default()
        };
        record.write(&data).unwrap();
        assert_eq!(Record::read(&data).unwrap(), record);
        Record::default().write(&data).unwrap();
        Record::default().write(&data).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(Record::read(&data).unwrap().is_empty());
    }

    #[test]
    fn a_record_of_another_kind_is_not_guessed_at() {
        let directory = tempfile::tempdir().unwrap();
        let data = Directory::open(directory.path()).unwrap();
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
            let file = std::fs::File::create_new(&path).unwrap();
            io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
            let error = Record::read(&data).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
