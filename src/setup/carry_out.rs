//! Carries steps out, one after the other, and puts back what PostgreSQL refuses.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::place::{Editable, Place};
use super::plan::Step;
use super::record::{Record, Undo};
use super::{Error, Settings, block};
use crate::consumers::Server;
use crate::material::Material;
use crate::sql::{Administration, BadLine, Session, statements};
use crate::verify::{self, Client, Expected, Verdict};
use crate::{diagnose, publish, sql, survey, timing};

/// How often the published set is read again when a rotation comes in between.
const TRIES: u32 = 3;

/// The work on one server. `say` is told what was done, in a line each.
pub(super) struct Work<'a> {
    pub(super) settings: &'a Settings,
    pub(super) server: &'a Administration,
    pub(super) place: &'a Place,
    pub(super) session: Session,
    pub(super) record: Record,
    pub(super) say: &'a mut dyn FnMut(&str),
}

impl Work<'_> {
    /// Everything, in the order of the plan. What is about to be done is recorded before it is done.
    pub(super) async fn all(&mut self, steps: &[Step]) -> Result<(), Error> {
        self.sql(steps).await?;
        self.alter(steps).await?;
        self.edit(steps).await?;
        // Each reload reads the settings, too, and what others have left there.
        if steps.iter().any(|step| matches!(step, Step::File { .. })) && self.should_serve(steps) {
            self.verify().await.map_err(Error::NotServed)?;
        }
        Ok(())
    }

    /// Whether the published set is to be served by now.
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
            // If this process is killed before the record says "done", the server can tell by the number.
            let transaction = Some(
                self.session.begin().await.map_err(|cause| self.not_executed(statement, cause))?,
            );
            let undo = undo.clone();
            self.record.undo.push(Undo { database, statement: undo, done: false, transaction });
            self.write_record()?;
            if let Err(cause) = self.session.commit(statement).await {
                let error = self.not_executed(statement, cause);
                if error.is_refusal() {
                    // It was not done, for certain.
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
            // The first copy is the one from before us.
            self.record.files.entry(path.clone()).or_insert_with(|| file.beside(&copy));
            let (path, before, after) = (path.clone(), before.clone(), after.clone());
            edits.push(Edit { path, before, after, copy: Some(copy) });
        }
        self.write_record()?;
        let outcome = self.edit_files(&edits).await;
        if outcome.is_err() {
            // What was put back is none of ours. A file that cannot be read may have a block.
            let place = self.place;
            self.record.files.retain(|path, _| {
                let text = editable(place, path).ok().and_then(|file| file.read().ok());
                text.is_none_or(|text| block::is_in(&text))
            });
            self.write_record()?;
        }
        outcome
    }

    /// Writes files, lets PostgreSQL examine them before it reads them, and puts all back if it objects.
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
        // A question that fails is no consent.
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
            // What was put back needs no copy.
            if let Some(copy) = copy {
                file.remove_copy(copy);
            }
        }
        Ok(())
    }

    /// What PostgreSQL has against the files as they are now.
    async fn objection(&self) -> Result<Option<String>, Error> {
        // Whether TLS is on decides whether a hostssl line is right, and a session learns that when it begins.
        let session =
            Session::connect(&self.settings.session()).await.map_err(Error::Examination)?;
        let views = session.access().await;
        session.close().await;
        let views = views.map_err(Error::Examination)?.unwrap_or_default();
        Ok(views.bad.first().map(BadLine::to_string))
    }

    /// Says what PostgreSQL would refuse of the files that its settings name now: it would not start again.
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
                "but PostgreSQL will not start again as it is: {}; {}",
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

    /// What the server serves, if it is the published set; else the verdict in words.
    pub(super) async fn verify(&self) -> Result<String, String> {
        let tls = &self.server.tls;
        let known = Some((tls.listen_addresses.as_str(), tls.port));
        let target = &self.settings.server.verify.target;
        let Some((hosts, port)) = target.hosts(known, self.settings.server.session.port) else {
            return Ok(
                "not proven: there is no TCP listener to look at, or postgres.verify is none"
                    .to_owned(),
            );
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
            // A rotation may have come in between; else nothing will be different.
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

/// The statement that gives a setting a value, or leaves it to postgresql.conf.
pub(super) fn setting(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => statements::alter_system(name, value),
        None => statements::alter_system_reset(name),
    }
}

/// A file to be written.
#[derive(Debug)]
pub(super) struct Edit {
    /// The file.
    pub(super) path: PathBuf,
    /// What it has to hold now.
    pub(super) before: String,
    /// What it will hold.
    pub(super) after: String,
    /// Name of the copy of what it holds now, beside it, if one is wanted.
    pub(super) copy: Option<OsString>,
}

/// The file of that path, which has to be one of the two that the server names.
fn editable<'a>(place: &'a Place, path: &Path) -> Result<&'a Editable, Error> {
    let failed = |cause| Error::File { path: path.to_owned(), cause };
    match place.file(path) {
        Some(Ok(file)) => Ok(file),
        Some(Err(error)) => Err(failed(io::Error::new(error.kind(), error.to_string()))),
        None => Err(failed(io::Error::other("it is neither hba_file nor ident_file"))),
    }
}

/// The set that is published now, or why there is none.
pub(super) fn published(settings: &Settings) -> Result<Material, String> {
    let found = publish::examine(&settings.publish, &[], &settings.expectations, timing::now())
        .map_err(|error| error.to_string())?;
    match found.trust {
        // Root looks at what another user has published.
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
    if found.missing_links.is_empty() {
        return Ok(material);
    }
    Err(format!("there is no link through ..data: {}", found.missing_links.join(", ")))
}
