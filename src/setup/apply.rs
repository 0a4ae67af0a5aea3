//! `setup apply`: makes a PostgreSQL serve the published set.

use std::path::Path;

use super::carry_out::{Work, published};
use super::owner::{Owner, become_owner};
use super::plan::{self, Facts, FileNow, Plan, Step};
use super::record::{self, Record};
use super::server_files::ServerFiles;
use super::{Error, Settings};
use crate::publish::Place;
use crate::sql::{Administration, Session};
use crate::{diagnose, survey};

/// A plan for one server, and the session to carry it out.
pub struct Apply {
    settings: Settings,
    server: Examined,
    /// The record of earlier runs, if there is something to do now.
    record: Option<Record>,
    plan: Plan,
}

impl Apply {
    /// Examines the server and makes a plan. Changes nothing except this process's user, if that is root. `edit` allows
    /// changes to `pg_hba.conf` and `pg_ident.conf`.
    pub async fn prepare(settings: Settings, edit: bool) -> Result<Self, Error> {
        let server = examine(&settings).await?;
        let prepared = match Self::plan_for(&settings, &server, edit) {
            Ok((Some(mut record), plan)) => {
                record::settle(&mut record, &server.session).await.map(|()| (Some(record), plan))
            }
            prepared => prepared,
        };
        let prepared = match prepared {
            Ok((record, plan)) => check_access_files(&server, &plan).await.map(|()| (record, plan)),
            refused => refused,
        };
        match prepared {
            Ok((record, plan)) => Ok(Self { settings, server, record, plan }),
            Err(error) => {
                server.session.close().await;
                Err(error)
            }
        }
    }

    fn plan_for(
        settings: &Settings,
        Examined { server, place, .. }: &Examined,
        edit: bool,
    ) -> Result<(Option<Record>, Plan), Error> {
        // An unreadable record is no error here; it is one as soon as the record is needed.
        let altering = Record::read(&place.data).is_ok_and(|record| record.altering);
        let seen = survey::files(
            &server.tls,
            &settings.server.session,
            &settings.server.paths,
            &settings.server.viewpoint,
        );
        let facts = Facts {
            published: [
                seen.certificate.published,
                seen.private_key.published,
                seen.authorities.published,
            ],
            files: [now(place, &server.hba_file, edit), now(place, &server.ident_file, edit)],
            server: server.clone(),
            altering,
        };
        let plan = plan::plan(settings, &facts, edit)
            .map_err(|(path, marks)| Error::Marks { path, marks })?;
        if plan.alters_settings() {
            servable(settings, server)?;
        }
        let record = plan.has_steps().then(|| record::open(&place.data)).transpose()?;
        if record.as_ref().is_some_and(|record| record.altering != altering) {
            return Err(Error::AtWork);
        }
        Ok((record, plan))
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The server's version, for people.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.server.server.tls.version
    }

    /// The user that this process has become, if it was root's.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.server.owner.as_ref()
    }

    /// Carries out the plan. `say` gets a line about each step that is done.
    pub async fn carry_out(self, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let Self { settings, server: Examined { session, server, place, .. }, record, plan } = self;
        let Some(record) = record else {
            session.close().await;
            return Ok(());
        };
        let mut work =
            Work { settings: &settings, server: &server, place: &place, session, record, say };
        let outcome = work.all(&plan.steps).await;
        work.session.close().await;
        outcome
    }

    /// Ends the session without any change.
    pub async fn leave(self) {
        self.server.session.close().await;
    }
}

/// Fails if `pg_hba.conf` or `pg_ident.conf` must be edited, and PostgreSQL objects to one of their lines already. With TLS off
/// it objects to every hostssl line, so it is asked once TLS is on.
async fn check_access_files(
    Examined { session, server, .. }: &Examined,
    plan: &Plan,
) -> Result<(), Error> {
    let edits = plan.steps.iter().any(|step| matches!(step, Step::File { .. }));
    if !edits || server.tls.ssl.value != "on" {
        return Ok(());
    }
    let views = session.access().await.map_err(Error::Examination)?.unwrap_or_default();
    match views.bad.first() {
        Some(bad) => Err(Error::AlreadyWrong(bad.to_string())),
        None => Ok(()),
    }
}

/// A server that can be set up from here.
pub(super) struct Examined {
    /// The user that this process has switched to, if it ran as root.
    pub(super) owner: Option<Owner>,
    /// A superuser's session.
    pub(super) session: Session,
    /// The facts about the server that the superuser can query.
    pub(super) server: Administration,
    /// The server's files.
    pub(super) place: ServerFiles,
}

/// Switches to the server's user, logs in, and opens the server's directories.
pub(super) async fn examine(settings: &Settings) -> Result<Examined, Error> {
    let superuser = settings.session();
    let owner = become_owner(&superuser).await?;
    let session = Session::connect(&superuser).await.map_err(|cause| Error::Login {
        user: superuser.user.clone(),
        remedy: remedy(&cause, &superuser),
        cause,
    })?;
    let paths = &settings.server.paths;
    let map = settings.published_map();
    let mut files = vec![paths.certificate.as_path(), &paths.private_key, &paths.bundle];
    files.extend(map.as_deref());
    let user = &settings.server.session.user;
    let found = session.administration(user, &settings.roles.roles(), &files).await;
    let refused = match found {
        Ok(Some(server)) => match ServerFiles::open(&server) {
            Ok(place) => return Ok(Examined { owner, session, server, place }),
            Err(error) => error,
        },
        Ok(None) => Error::NoSuperuser(superuser.user),
        Err(error) => Error::Examination(error),
    };
    session.close().await;
    Err(refused)
}

fn remedy(cause: &crate::sql::Error, superuser: &crate::sql::Settings) -> Option<String> {
    use crate::sql::Error as Cause;
    match cause {
        Cause::Refused { login: true, .. } | Cause::NoLogin(_) => {
            let access = survey::access(superuser, None);
            let given = access.and_then(|it| diagnose::superuser_of_others(&it, superuser));
            Some(given.unwrap_or_else(|| {
            "run this as the operating-system user that may log in as it over the socket: sudo -u postgres pgsvid setup …"
                .to_owned()
            }))
        }
        cause => cause.remedy(superuser),
    }
}

fn now(place: &ServerFiles, path: &Path, edit: bool) -> FileNow {
    let (text, fixed) = match place.file(path) {
        Some(Ok(file)) => {
            (file.read().map_err(|error| error.to_string()), edit.then(|| file.fixed()).flatten())
        }
        Some(Err(error)) => (Err(error.to_string()), None),
        None => (Err("the server names no such file".to_owned()), None),
    };
    FileNow { path: path.to_owned(), text, fixed }
}

/// Fails if no set is published that this server would accept.
fn servable(settings: &Settings, server: &Administration) -> Result<(), Error> {
    published(settings).map_err(|why| match &settings.place {
        Place::Directory(it) => Error::NotPublished { directory: it.directory.clone(), why },
        Place::InPlace(_) | Place::Memory => Error::NoSet { why },
    })?;
    let paths = &settings.server.paths;
    let unseen = [&paths.certificate, &paths.private_key, &paths.bundle]
        .into_iter()
        .find(|path| !server.sees.contains(*path));
    if let Some(path) = unseen {
        return Err(Error::Unusable {
            cause: format!("it cannot find {}", path.display()),
            fix:
                "let PostgreSQL see the directory, or set files.seen_as to its path for PostgreSQL"
                    .to_owned(),
        });
    }
    let files = survey::published_files(
        &settings.server.session,
        &settings.server.paths,
        &settings.server.viewpoint,
    );
    match diagnose::refused(&files).into_iter().next() {
        Some(found) => {
            Err(Error::Unusable { cause: found.text, fix: found.fix.unwrap_or_default() })
        }
        None => Ok(()),
    }
}
