//! `setup apply`: from nothing to a PostgreSQL that serves what is published.

use std::path::Path;

use super::carry_out::{Work, published};
use super::plan::{self, Facts, FileNow, Plan};
use super::record::{self, Lock, Record};
use super::{Error, Settings, block};
use crate::postgres::{Administration, Session};
use crate::{diagnose, survey};

/// A plan for one server, and the session to carry it out in.
pub struct Apply {
    settings: Settings,
    session: Session,
    server: Administration,
    /// The record of what was done before, if something is to be done now.
    recorded: Option<(Lock, Record)>,
    plan: Plan,
}

impl Apply {
    /// Examines the server and makes a plan; changes nothing. `edit` lets it write to `pg_hba.conf` and
    /// `pg_ident.conf`.
    pub async fn prepare(settings: Settings, edit: bool) -> Result<Self, Error> {
        let (session, server) = examine(&settings).await?;
        match Self::plan_for(&settings, &server, edit) {
            Ok((recorded, plan)) => Ok(Self { settings, session, server, recorded, plan }),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    fn plan_for(
        settings: &Settings,
        server: &Administration,
        edit: bool,
    ) -> Result<(Option<(Lock, Record)>, Plan), Error> {
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
            files: [now(&server.hba_file), now(&server.ident_file)],
            server: server.clone(),
        };
        let plan = plan::plan(settings, &facts, edit)
            .map_err(|(path, marks)| Error::Marks { path, marks })?;
        if plan.alters_settings() {
            servable(settings, server)?;
        }
        let recorded = plan.has_steps().then(|| record::open(server)).transpose()?;
        Ok((recorded, plan))
    }

    /// What will be done.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The server's version, for people.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.server.tls.version
    }

    /// Does it. `say` is told what was done, in a line each.
    pub async fn carry_out(self, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let Self { settings, session, server, recorded, plan } = self;
        let Some((_lock, record)) = recorded else {
            session.close().await;
            return Ok(());
        };
        let mut work = Work { settings: &settings, server: &server, session, record, say };
        let outcome = work.all(&plan.steps).await;
        work.session.close().await;
        outcome
    }

    /// Ends without having done anything.
    pub async fn leave(self) {
        self.session.close().await;
    }
}

/// A superuser's session, and what it sees.
pub(super) async fn examine(settings: &Settings) -> Result<(Session, Administration), Error> {
    let superuser = settings.session();
    let session = Session::connect(&superuser).await.map_err(|cause| Error::Login {
        user: superuser.user.clone(),
        remedy: remedy(&cause, &superuser),
        cause,
    })?;
    let paths = &settings.server.paths;
    let map = settings.published_map();
    let mut files = vec![paths.certificate.as_path(), &paths.private_key, &paths.bundle];
    files.extend(map.as_deref());
    let found = session.administration(&settings.server.session.user, &files).await;
    let refused = match found {
        Ok(Some(server)) => return Ok((session, server)),
        Ok(None) => Error::NoSuperuser(superuser.user),
        Err(error) => Error::Examination(error),
    };
    session.close().await;
    Err(refused)
}

fn remedy(cause: &crate::postgres::Error, superuser: &crate::postgres::Settings) -> Option<String> {
    use crate::postgres::Error as Cause;
    match cause {
        Cause::Refused { login: true, .. } | Cause::NoLogin(_) => Some(
            "run this as the operating-system user that may be it over the socket: sudo -u postgres pgsvid setup …"
                .to_owned(),
        ),
        cause => cause.remedy(superuser),
    }
}

fn now(path: &Path) -> FileNow {
    (path.to_owned(), block::read(path).map(|(_, text)| text).map_err(|error| error.to_string()))
}

/// Whether there is a set that this server would take.
fn servable(settings: &Settings, server: &Administration) -> Result<(), Error> {
    let directory = || settings.publish.directory.clone();
    published(settings).map_err(|why| Error::NotPublished { directory: directory(), why })?;
    let paths = &settings.server.paths;
    let unseen = [&paths.certificate, &paths.private_key, &paths.bundle]
        .into_iter()
        .find(|path| !server.sees.contains(*path));
    if let Some(path) = unseen {
        return Err(Error::Unusable {
            cause: format!("it cannot find {}", path.display()),
            fix: "let it see the directory, or say with files.seen_as where it is for PostgreSQL"
                .to_owned(),
        });
    }
    let files = survey::published_files(
        &settings.server.session,
        &settings.server.paths,
        &settings.server.viewpoint,
    );
    match diagnose::refused(&files).into_iter().next() {
        Some(found) => Err(Error::Unusable { cause: found.cause, fix: found.fix }),
        None => Ok(()),
    }
}
