//! `setup revert`: takes back what `setup apply` has done, by its record, and nothing that others have changed since.

use std::fmt::Write as _;

use super::apply::examine;
use super::carry_out::{Edit, Work, setting};
use super::record::{self, Lock, Record, Undo};
use super::{Error, Settings, block};
use crate::postgres::{Administration, Session};

/// What will be taken back, and the session to do it in.
pub struct Revert {
    settings: Settings,
    session: Session,
    server: Administration,
    lock: Lock,
    record: Record,
    work: Todo,
}

/// What there is to take back.
#[derive(Debug, Default)]
struct Todo {
    /// Files with our block, to be without it.
    files: Vec<Edit>,
    /// Settings, and what they were.
    settings: Vec<(String, Option<String>)>,
    /// Statements.
    statements: Vec<Undo>,
    /// What others have changed since.
    left: Vec<String>,
}

impl Revert {
    /// Reads the record and makes a plan; changes nothing.
    pub async fn prepare(settings: Settings) -> Result<Self, Error> {
        let (session, server) = examine(&settings).await?;
        match todo(&settings, &server) {
            Ok((lock, record, work)) => Ok(Self { settings, session, server, lock, record, work }),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    /// Whether anything was ever applied here.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        !self.record.is_empty()
    }

    /// The server's version, for people.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.server.tls.version
    }

    /// What will be done, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        for Edit { path, .. } in &self.work.files {
            let _ = writeln!(text, "  file     {}: the marked block goes", path.display());
        }
        for (name, before) in &self.work.settings {
            let _ = writeln!(text, "  setting  {}", setting(name, before.as_deref()));
        }
        if !self.work.settings.is_empty() || !self.work.files.is_empty() {
            text.push_str("  then     a reload\n");
        }
        for Undo { statement, .. } in &self.work.statements {
            let _ = writeln!(text, "  sql      {statement}");
        }
        for left in &self.work.left {
            let _ = writeln!(text, "  left     {left}");
        }
        text
    }

    /// Does it. `say` is told what was done, in a line each.
    pub async fn carry_out(self, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let Self { settings, session, server, lock, record, work: todo } = self;
        let mut work = Work { settings: &settings, server: &server, session, record, say };
        let outcome = take_back(&mut work, &todo).await;
        work.session.close().await;
        drop(lock);
        outcome
    }

    /// Ends without having done anything.
    pub async fn leave(self) {
        self.session.close().await;
    }
}

async fn take_back(work: &mut Work<'_>, todo: &Todo) -> Result<(), Error> {
    // In the reverse order of its making: nobody is let in by a role that is gone.
    work.edit_files(&todo.files).await?;
    work.record.files.clear();
    work.write_record()?;
    if !todo.settings.is_empty() {
        work.record.altering = true;
        work.write_record()?;
        work.set_all(&todo.settings).await?;
        work.tell_refused().await?;
    }
    work.record.altering = false;
    work.record.settings.clear();
    work.write_record()?;
    for undo in &todo.statements {
        match work.execute(&undo.statement).await {
            // Whom a grant was for is gone, and the grant with him.
            Err(Error::Statement { cause, .. }) if cause.is_about_something_gone() => {}
            done => done?,
        }
        work.record.undo.retain(|known| known != undo);
        work.write_record()?;
    }
    // Nobody can tell whether these were done: they have been shown.
    work.record.undo.retain(|undo| undo.done);
    work.write_record()
}

fn todo(settings: &Settings, server: &Administration) -> Result<(Lock, Record, Todo), Error> {
    let (lock, record) = record::open(server)?;
    let mut todo = Todo::default();
    for path in record.files.keys() {
        let failed = |cause| Error::File { path: path.clone(), cause };
        let now = match block::read(path) {
            Ok((_, now)) => now,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                todo.left.push(format!("{}: the file is gone", path.display()));
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        let without =
            block::without(&now).map_err(|marks| Error::Marks { path: path.clone(), marks })?;
        if without == now {
            todo.left.push(format!("{}: our block is gone already", path.display()));
        } else {
            todo.files.push(Edit { path: path.clone(), before: now, after: without, copy: None });
        }
    }
    for (name, change) in &record.settings {
        if record.altering || server.altered.get(name) == Some(&change.after) {
            todo.settings.push((name.clone(), change.before.clone()));
        } else {
            todo.left.push(format!("{name}: it was altered since"));
        }
    }
    let database = &settings.server.session.database;
    for undo in record.undo.iter().rev() {
        let Undo { database: of, statement, done } = undo;
        if of != database {
            todo.left.push(format!(
                "{statement}: that was in database {of}; revert there, too: --database {of}"
            ));
        } else if *done {
            todo.statements.push(undo.clone());
        } else {
            todo.left.push(format!(
                "{statement}: whether there is anything to take back is not known, since apply was cut off there; do it by \
                 hand if so"
            ));
        }
    }
    Ok((lock, record, todo))
}
