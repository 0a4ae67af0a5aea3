//! What can be seen from outside: the probe, and the files that PostgreSQL's settings name.

use std::path::PathBuf;

use tokio::time::sleep;

use super::login::{self, Unasked};
use super::{ASKING, Postgres, Server};
use crate::diagnose;
use crate::finding::Finding;
use crate::sql::{Session, TlsSettings};
use crate::survey::Files;
use crate::verify::{self, Client, Facts};
use crate::{survey, watching};

impl Postgres {
    /// The hosts to probe, and the port; `None` if there is nothing to be seen.
    pub(super) fn place(&self) -> Option<(Vec<String>, u16)> {
        let known = self.known.as_ref().map(|known| (known.listen_addresses.as_str(), known.port));
        self.server.verify.target.hosts(known, self.server.session.port)
    }

    /// What is served, and what becomes of the published leaf as a client's.
    pub(super) async fn probe(&self, client: Option<&Client>) -> Option<Facts> {
        let (hosts, port) = self.place()?;
        // A session may be asked meanwhile.
        let limit = verify::LONGEST.max(login::IDLE + login::LONGEST);
        self.pulse.step("verifying what PostgreSQL serves", limit);
        Some(self.server.verify.probe(&hosts, port, client).await)
    }

    /// The same while a session is open. One that would have to wait for an answer for long is asked meanwhile, and
    /// closed: it holds up a smart shutdown.
    pub(super) async fn probe_beside(
        &mut self,
        unasked: &mut Option<Unasked>,
        client: Option<&Client>,
    ) -> Option<Facts> {
        if unasked.is_none() {
            return self.probe(client).await;
        }
        let mut early = None;
        let facts = {
            let mut probe = Box::pin(self.probe(client));
            tokio::select! {
                biased;
                facts = &mut probe => facts,
                () = sleep(login::IDLE) => {
                    let asked = async {
                        if let Some(unasked) = unasked.take() {
                            early = unasked.told().await;
                        }
                    };
                    tokio::join!(probe, asked).0
                }
            }
        };
        if let Some(told) = early {
            self.take_note(told);
        }
        facts
    }

    /// What can be seen from here of why the published set is not served. The reload may have applied pending
    /// edits, and only a new session shows them.
    pub(super) async fn look_for_causes(&mut self, reachable: bool) -> Vec<Finding> {
        if reachable {
            self.ask_settings().await;
        }
        let Some(settings) = &self.known else {
            return Vec::new();
        };
        // Watched before they are looked at, so that no mending falls in between.
        self.changes_of_interest(Some(&self.files(settings)));
        let files = self.files(settings);
        let mut findings =
            diagnose::concerns(settings, &files, &self.server.paths, &self.server.session);
        findings.extend(diagnose::refused(&files));
        findings
    }

    /// What the server's settings are now, if it says so: an edit of the operator's may have come into force meanwhile.
    pub(super) async fn ask_settings(&mut self) {
        self.pulse.step(ASKING, login::LONGEST);
        if let Ok(session) = Session::connect_briefly(&self.server.session).await {
            if let Ok(settings) = session.tls_settings().await {
                self.known = Some(settings);
            }
            session.close().await;
        }
    }

    pub(super) fn files(&self, settings: &TlsSettings) -> Files {
        let Server { session, paths, viewpoint, .. } = &self.server;
        survey::files(settings, session, paths, viewpoint)
    }

    /// Watches the socket's directory, and those of the files that PostgreSQL should take.
    pub(super) fn changes_of_interest(&self, files: Option<&Files>) {
        let mut paths = vec![self.server.session.host.clone()];
        if let Some(files) = files {
            paths.extend(
                [&files.certificate, &files.private_key, &files.authorities]
                    .into_iter()
                    .filter_map(|facts| facts.path.as_deref().map(watching::parent))
                    // Our own directory is watched by the loop.
                    .filter(|path: &PathBuf| *path != self.server.viewpoint.directory),
            );
        }
        self.changes.follow(paths);
    }
}
