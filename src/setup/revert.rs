//! `setup revert`: undoes what `setup apply` has recorded, and nothing that others have changed since.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use super::apply::{Examined, examine};
use super::carry_out::{Edit, Work};
use super::owner::Owner;
use super::record::{self, Record, Undo};
use super::values::{OFF, SSL, setting};
use super::{Error, Settings, block, by_hand};
use crate::sql::{TLS_SETTINGS, statements};
use crate::text::{argument, harmless, shown};

/// What will be undone, and the session to do it in.
pub struct Revert {
    settings: Settings,
    server: Examined,
    /// Whether there is a record on disk.
    has_record: bool,
    /// A description of a set-up by hand, for people.
    by_hand: String,
    record: Record,
    work: UndoSteps,
}

/// What there is to undo.
#[derive(Debug, Default)]
struct UndoSteps {
    /// Files, from which setup's block will be removed.
    files: Vec<Edit>,
    /// Settings, and their old values.
    settings: Vec<(String, Option<String>)>,
    /// Statements.
    statements: Vec<Undo>,
    /// Files that stay in the record, because it is unknown whether they have setup's block.
    unread: Vec<PathBuf>,
    /// What others have changed since.
    left: Vec<String>,
}

impl Revert {
    /// Reads the record and makes a plan. Changes nothing except this process's user, if that is root.
    pub async fn prepare(settings: Settings) -> Result<Self, Error> {
        let server = examine(&settings).await?;
        let prepared = match recorded(&server).await {
            Ok((has_record, record)) => {
                todo(&settings, &server, &record).map(|work| (has_record, record, work))
            }
            Err(error) => Err(error),
        };
        let prepared = match prepared {
            Ok((has_record, record, work)) if has_record => {
                Ok((has_record, record, work, String::new()))
            }
            Ok((has_record, record, work)) => by_hand::text(&settings, &server)
                .await
                .map(|by_hand| (has_record, record, work, by_hand)),
            Err(error) => Err(error),
        };
        match prepared {
            Ok((has_record, record, work, by_hand)) => {
                Ok(Self { settings, server, has_record, by_hand, record, work })
            }
            Err(error) => {
                server.session.close().await;
                Err(error)
            }
        }
    }

    /// Whether there is a record of `setup apply`. A complete revert removes it.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        self.has_record
    }

    /// A description of a set-up by hand, with the commands that undo it; empty if there is none.
    #[must_use]
    pub fn by_hand(&self) -> &str {
        &self.by_hand
    }

    /// The server's version, for people.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.server.server.tls.version
    }

    /// The user that this process has switched to, if it ran as root.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.server.owner.as_ref()
    }

    /// The plan, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Edit { path, .. } in &self.work.files {
            let path = shown(&path.display().to_string());
            let _ = writeln!(text, "  file     {path}: the marked block is removed");
        }
        let settings = &self.work.settings;
        if settings.iter().any(|(name, _)| name != SSL) {
            let off = statements::alter_system(SSL, OFF);
            let _ = writeln!(text, "  setting  {off}   (while the others change)");
        }
        let (ssl, files): (Vec<_>, Vec<_>) = settings.iter().partition(|(name, _)| name == SSL);
        let before = |(name, before): &(String, Option<String>)| setting(name, before.as_deref());
        let mut statements: Vec<_> = files.into_iter().chain(ssl.clone()).map(before).collect();
        if !settings.is_empty() && ssl.is_empty() {
            let altered = self.server.server.altered.get(SSL);
            let altered = altered.filter(|value| !(self.record.altering && *value == OFF));
            statements.push(setting(SSL, altered.map(String::as_str)));
        }
        for statement in statements {
            let _ = writeln!(text, "  setting  {}", harmless(&statement));
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

    /// Carries out the plan. `say` gets a line about each step that is done.
    pub async fn carry_out(self, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let Self { settings, server, record, work: todo, .. } = self;
        let Examined { session, server, place, .. } = server;
        let mut work =
            Work { settings: &settings, server: &server, place: &place, session, record, say };
        let outcome = take_back(&mut work, &todo).await;
        work.session.close().await;
        outcome
    }

    /// Ends the session without any change.
    pub async fn leave(self) {
        self.server.session.close().await;
    }
}

async fn take_back(work: &mut Work<'_>, todo: &UndoSteps) -> Result<(), Error> {
    // In reverse order: lines that let a role in are removed before the role.
    work.edit_files(&todo.files).await?;
    work.record.files.retain(|path, _| todo.unread.contains(path));
    work.write_record()?;
    if !todo.settings.is_empty() {
        work.take_back_settings(&todo.settings).await?;
        work.tell_refused().await?;
    }
    work.record.altering = false;
    work.record.settings.clear();
    work.write_record()?;
    for undo in &todo.statements {
        match work.execute(&undo.statement).await {
            // The role is gone, and its grants with it.
            Err(Error::Statement { cause, .. }) if cause.is_about_something_gone() => {}
            Err(Error::Statement { statement, cause, .. })
                if statement == statements::drop_role(&work.settings.server.session.user) =>
            {
                let remedy = by_hand::dropping(work.settings, &work.session).await;
                return Err(Error::Statement { statement, cause, remedy });
            }
            done => done?,
        }
        work.record.undo.retain(|known| known != undo);
        work.write_record()?;
    }
    // Statements are forgotten if it is unknown whether they were executed; the plan has shown them. One with a transaction
    // stays, because the server will know its outcome.
    work.record.undo.retain(|undo| undo.done || undo.transaction.is_some());
    work.write_record()
}

/// Whether there is a record, and its contents after the server was asked for unfinished statements.
async fn recorded(Examined { session, place, .. }: &Examined) -> Result<(bool, Record), Error> {
    let mut record = record::open(&place.data)?;
    let has_record = !record.is_empty();
    record::settle(&mut record, session).await?;
    Ok((has_record, record))
}

/// The parts of the record that can be undone: only what setup does on this server with these settings. The rest is reported,
/// and left unchanged on the server.
fn todo(settings: &Settings, examined: &Examined, record: &Record) -> Result<UndoSteps, Error> {
    let Examined { server, place, .. } = examined;
    let mut todo = UndoSteps::default();
    for path in record.files.keys() {
        let name = shown(&path.display().to_string());
        let now = match place.file(path) {
            Some(Ok(file)) => file.read(),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => {
                todo.left.push(format!(
                    "{name}: this server names it neither as hba_file nor as ident_file; if it has setup's block, \
                     remove that by hand"
                ));
                continue;
            }
        };
        let now = match now {
            Ok(now) => now,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                todo.left.push(format!("{name}: the file is gone"));
                continue;
            }
            Err(error) => {
                todo.left.push(format!(
                    "{name}: it cannot be read here ({error}); if it has setup's block, remove that by hand, or fix the error \
                     and revert again"
                ));
                todo.unread.push(path.clone());
                continue;
            }
        };
        let without =
            block::without(&now).map_err(|marks| Error::Marks { path: path.clone(), marks })?;
        if without == now {
            todo.left.push(format!("{name}: setup's block is gone already"));
        } else {
            todo.files.push(Edit { path: path.clone(), before: now, after: without, copy: None });
        }
    }
    for (name, change) in &record.settings {
        if !TLS_SETTINGS.contains(&name.as_str()) {
            todo.left.push(format!("{}: it is not a setting that setup changes", shown(name)));
        } else if record.altering || server.altered.get(name) == Some(&change.after) {
            todo.settings.push((name.clone(), change.before.clone()));
        } else {
            todo.left.push(format!("{name}: it has been changed since"));
        }
    }
    if !record.is_empty() {
        todo.left.extend(by_hand::foreign_lines(settings, server, place));
    }
    let session = &settings.server.session;
    for undo in record.undo.iter().rev() {
        let statement = shown(&undo.statement);
        if undo.database != session.database {
            let of = shown(&undo.database);
            todo.left.push(format!(
                "{statement}: that was in database {of}; revert there, too: --database {}",
                argument(&of)
            ));
        } else if !undoing(&session.user).contains(&undo.statement) {
            todo.left.push(format!(
                "{statement}: this statement does not belong to role {}: use --user with the right role",
                session.user
            ));
        } else if undo.done {
            todo.statements.push(undo.clone());
        } else if undo.transaction.is_some() {
            todo.left.push(format!(
                "{statement}: the server still executes what this undoes; wait, and revert again"
            ));
        } else {
            todo.left.push(format!(
                "{statement}: it is unknown whether there is anything to undo, because apply was interrupted there; do it by \
                 hand if so"
            ));
        }
    }
    Ok(todo)
}

/// All statements that can undo what setup does for a role.
fn undoing(role: &str) -> [String; 4] {
    [
        statements::drop_role(role),
        statements::forbid_login(role),
        statements::revoke_reload(role),
        statements::revoke_reserve(role),
    ]
}
