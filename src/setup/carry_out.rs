//! Carries out steps one after the other, and restores what PostgreSQL refuses.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::plan::Step;
use super::record::{Record, Undo};
use super::server_files::{Editable, ServerFiles};
use super::{Error, Settings, block};
use crate::consumers::Server;
use crate::material::Material;
use crate::publish::{self, Place};
use crate::sql::{Administration, BadLine, Session};
use crate::verify::{self, Client, Expected, Verdict};
use crate::{diagnose, sql, survey, timing};

/// How often the published set is read again if a rotation happens at the same time.
const TRIES: u32 = 3;

/// The work on one server. `say` gets a line about each step that is done.
pub(super) struct Work<'a> {
    pub(super) settings: &'a Settings,
    pub(super) server: &'a Administration,
    pub(super) place: &'a ServerFiles,
    pub(super) session: Session,
    pub(super) record: Record,
    pub(super) say: &'a mut dyn FnMut(&str),
}

impl Work<'_> {
    /// Carries out all steps in the order of the plan. Each is recorded before it is done.
    pub(super) async fn all(&mut self, steps: &[Step]) -> Result<(), Error> {
        self.sql(steps).await?;
        self.alter(steps).await?;
        self.edit(steps).await?;
        // Every reload also reads the settings, including changes that others have left.
        if steps.iter().any(|step| matches!(step, Step::File { .. })) && self.should_serve(steps) {
            self.verify().await.map_err(Error::NotServed)?;
        }
        Ok(())
    }

    /// Whether the server should serve the published set after these steps.
    fn should_serve(&self, steps: &[Step]) -> bool {
        let tls = &self.server.tls;
        let now = [&tls.certificate, &tls.private_key, &tls.authorities, &tls.ssl];
        let wanted = self.settings.wanted();
        steps.iter().any(|step| matches!(step, Step::Setting { .. }))
            || wanted.iter().zip(now).all(|((_, wanted), now)| *wanted == now.value)
    }

    async fn sql(&mut self, steps: &[Step]) -> Result<(), Error> {
        for step in steps {
            let Step::Sql { statement, undo } = step else { continue };
            let database = self.settings.server.session.database.clone();
            // If this process is killed before the record says "done", the server can tell by the transaction's ID.
            let transaction = Some(
                self.session.begin().await.map_err(|cause| self.not_executed(statement, cause))?,
            );
            let undo = undo.clone();
            self.record.undo.push(Undo { database, statement: undo, done: false, transaction });
            self.write_record()?;
            if let Err(cause) = self.session.commit(statement).await {
                let error = self.not_executed(statement, cause);
                if error.is_refusal() {
                    // PostgreSQL refused the statement, so it was certainly not executed.
                    self.record.undo.pop();
                    self.write_record()?;
                }
                return Err(error);
            }
            (self.say)(statement);
            if let Some(undo) = self.record.undo.last_mut() {
                undo.done = true;
                undo.transaction = None;
            }
            self.write_record()?;
        }
        Ok(())
    }

    async fn edit(&mut self, steps: &[Step]) -> Result<(), Error> {
        let now: String =
            timing::utc(timing::now()).chars().filter(char::is_ascii_alphanumeric).collect();
        let mut edits = Vec::new();
        for step in steps {
            let Step::File { path, before, after, .. } = step else { continue };
            let file = editable(self.place, path)?;
            let copy = file.copy_name(&now);
            // The first copy is the one from before the first run.
            self.record.files.entry(path.clone()).or_insert_with(|| file.beside(&copy));
            let (path, before, after) = (path.clone(), before.clone(), after.clone());
            edits.push(Edit { path, before, after, copy: Some(copy) });
        }
        self.write_record()?;
        let outcome = self.edit_files(&edits).await;
        if outcome.is_err() {
            // The restored text has no block of setup's. An unreadable file may have one.
            let place = self.place;
            self.record.files.retain(|path, _| {
                let text = editable(place, path).ok().and_then(|file| file.read().ok());
                text.is_none_or(|text| block::is_in(&text))
            });
            self.write_record()?;
        }
        outcome
    }

    /// Writes files, lets PostgreSQL check them before it loads them, and restores all files if it objects.
    pub(super) async fn edit_files(&mut self, edits: &[Edit]) -> Result<(), Error> {
        if edits.is_empty() {
            return Ok(());
        }
        if let Some(wrong) = self.objection().await? {
            return Err(Error::AlreadyWrong(wrong));
        }
        let mut done = Vec::new();
        for edit in edits {
            if let Err(error) = self.write(edit) {
                self.put_back(&done, &error.to_string())?;
                return Err(error);
            }
            done.push(edit);
        }
        // If the check fails, the files are restored, too.
        let objection = match self.objection().await {
            Ok(None) => None,
            Ok(Some(objection)) => Some(Error::Objection(objection)),
            Err(error) => Some(error),
        };
        if let Some(objection) = objection {
            self.put_back(&done, &objection.to_string())?;
            return Err(objection);
        }
        for Edit { path, copy, .. } in edits {
            let file = editable(self.place, path)?;
            let copied = copy
                .as_ref()
                .map(|copy| format!("; what was there is in {}", file.beside(copy).display()));
            (self.say)(&format!("wrote {}{}", path.display(), copied.unwrap_or_default()));
        }
        self.reload().await
    }

    fn write(&self, Edit { path, before, after, copy }: &Edit) -> Result<(), Error> {
        editable(self.place, path)?
            .edit(before, after, copy.as_deref())
            .map_err(|cause| Error::File { path: path.clone(), cause })
    }

    fn put_back(&self, done: &[&Edit], objection: &str) -> Result<(), Error> {
        for Edit { path, before, after, copy } in done.iter().rev() {
            let file = editable(self.place, path)?;
            file.edit(after, before, None).map_err(|cause| Error::NotPutBack {
                objection: objection.to_owned(),
                path: path.clone(),
                cause,
            })?;
            // A restored file needs no copy.
            if let Some(copy) = copy {
                file.remove_copy(copy);
            }
        }
        Ok(())
    }

    /// PostgreSQL's objection to the files as they are now.
    async fn objection(&self) -> Result<Option<String>, Error> {
        // Whether a hostssl line is right depends on whether TLS is on, and a session learns that when it starts.
        let session =
            Session::connect(&self.settings.session()).await.map_err(Error::Examination)?;
        let views = session.access().await;
        session.close().await;
        let views = views.map_err(Error::Examination)?.unwrap_or_default();
        Ok(views.bad.first().map(BadLine::to_string))
    }

    /// Reports what PostgreSQL would refuse of the files that its settings name now, because it would not start again.
    pub(super) async fn tell_refused(&mut self) -> Result<(), Error> {
        let superuser = self.settings.session();
        let session = Session::connect(&superuser).await.map_err(Error::Examination)?;
        let tls = session.tls_settings().await;
        session.close().await;
        let tls = tls.map_err(Error::Examination)?;
        if tls.ssl.value != "on" {
            return Ok(());
        }
        let Server { session, paths, viewpoint, .. } = &self.settings.server;
        for found in diagnose::refused(&survey::files(&tls, session, paths, viewpoint)) {
            (self.say)(&format!(
                "but with this PostgreSQL will not start again: {}; {}",
                found.text,
                found.fix.unwrap_or_default()
            ));
        }
        Ok(())
    }

    pub(super) async fn execute(&mut self, statement: &str) -> Result<(), Error> {
        let outcome = self.session.execute(statement).await;
        outcome.map_err(|cause| self.not_executed(statement, cause))?;
        (self.say)(statement);
        Ok(())
    }

    fn not_executed(&self, statement: &str, cause: sql::Error) -> Error {
        let remedy = matches!(cause, sql::Error::EventTrigger { .. })
            .then(|| cause.remedy(&self.settings.session()))
            .flatten();
        Error::Statement { statement: statement.to_owned(), remedy, cause }
    }

    pub(super) async fn reload(&mut self) -> Result<(), Error> {
        self.session.reload().await.map_err(|cause| Error::Statement {
            statement: "SELECT pg_reload_conf()".to_owned(),
            cause,
            remedy: None,
        })
    }

    /// Probes the server. `Ok` is a sentence: which address serves the published set, or that this is not proven because
    /// there is nothing to probe. `Err` is what the server serves instead, or why there is no published set.
    pub(super) async fn verify(&self) -> Result<String, String> {
        let tls = &self.server.tls;
        let known = Some((tls.listen_addresses.as_str(), tls.port));
        let target = &self.settings.server.verify.target;
        let Some((hosts, port)) = target.hosts(known, self.settings.server.session.port) else {
            return Ok("not proven: there is no TCP listener to probe, or postgres.verify is none"
                .to_owned());
        };
        let mut sentence = String::new();
        for _ in 0..TRIES {
            let material = published(self.settings)?;
            let client = Client::of(&material, timing::now());
            let facts = verify::probe(&hosts, port, client.as_ref()).await;
            let now = timing::now();
            let expected =
                Expected::of(&material, &[], Vec::new()).with_clients(survey::clients(tls));
            let verdict = verify::judge(&facts, &expected, now);
            if verdict == Verdict::Current {
                return Ok(format!("proven: {} serves the published certificate", facts.address));
            }
            sentence = diagnose::explain(verdict, &facts, now).text;
            // A rotation may have happened in between; otherwise another try changes nothing.
            if published(self.settings).is_ok_and(|newer| newer.leaf() == material.leaf()) {
                break;
            }
        }
        Err(sentence)
    }

    pub(super) fn write_record(&self) -> Result<(), Error> {
        self.record.write(&self.place.data)
    }
}

/// A file to write.
#[derive(Debug)]
pub(super) struct Edit {
    /// The file.
    pub(super) path: PathBuf,
    /// The text that it must have now.
    pub(super) before: String,
    /// The new text.
    pub(super) after: String,
    /// The name of the copy of its old text in the same directory, if one is wanted.
    pub(super) copy: Option<OsString>,
}

/// The file with this path, which must be one of the two that the server names.
fn editable<'a>(place: &'a ServerFiles, path: &Path) -> Result<&'a Editable, Error> {
    let failed = |cause| Error::File { path: path.to_owned(), cause };
    match place.file(path) {
        Some(Ok(file)) => Ok(file),
        Some(Err(error)) => Err(failed(io::Error::new(error.kind(), error.to_string()))),
        None => Err(failed(io::Error::other("it is neither hba_file nor ident_file"))),
    }
}

/// The published set, or the reason why there is none.
pub(super) fn published(settings: &Settings) -> Result<Material, String> {
    let now = timing::now();
    let directory = match &settings.place {
        Place::Directory(directory) => directory,
        Place::InPlace(place) => return place.read(&settings.expectations, now),
        Place::Memory => return Err("files.directory is not set".to_owned()),
    };
    let found = publish::examine(directory, &settings.expectations, now)
        .map_err(|error| error.to_string())?;
    let missing = found.missing_of_set(directory);
    match found.trust {
        // Root examines what another user has published.
        Ok(_) | Err(publish::Error::WrongOwner { ours: 0, .. }) => {}
        Err(error) => return Err(error.to_string()),
    }
    if let Some(obstacle) = found.obstacle {
        return Err(obstacle.to_string());
    }
    let material = match found.set {
        None => return Err("nothing is published yet".to_owned()),
        Some(Err(unusable)) => return Err(unusable.to_string()),
        Some(Ok(material)) => material,
    };
    if missing.is_empty() {
        return Ok(material);
    }
    Err(format!("these names are not links through ..data: {}", missing.join(", ")))
}
