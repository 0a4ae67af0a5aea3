//! What can be seen from outside: the probe, and the files that PostgreSQL's settings name.

use tokio::time::sleep;

use super::login;
use super::{ASKING, Attempt, Postgres, Server};
use crate::consumers::attempt::ReloadSession;
use crate::diagnose;
use crate::finding::{Code, Finding, Severity};
use crate::sql::{Session, TlsSettings};
use crate::survey::Files;
use crate::verify::{self, Client, Facts};
use crate::{survey, watching};

impl Postgres {
    /// The hosts to probe, and the port; `None` if there is nothing to probe.
    pub(super) fn place(&self) -> Option<(Vec<String>, u16)> {
        let place = self.named_place()?;
        match &self.server.claims {
            Some(claims) => claims.own(&self.server.name, place),
            None => Some(place),
        }
    }

    /// Its expected address, even if another server answers there.
    fn named_place(&self) -> Option<(Vec<String>, u16)> {
        let known = self.known.as_ref().map(|known| (known.listen_addresses.as_str(), known.port));
        self.server.verify.target.hosts(known, self.server.session.port)
    }

    /// Whether another server may answer at its expected address, because this one was not reached by its socket.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let Server { claims, name, .. } = &self.server;
        claims.as_ref().is_some_and(|claims| !claims.is_reached(name))
    }

    /// Records its address, if it was reached by its socket.
    pub(super) fn claim(&self, reached: bool) {
        if let Some(claims) = &self.server.claims {
            claims.note(&self.server.name, self.named_place().filter(|_| reached));
        }
    }

    /// The served certificate, and whether the server accepts the published leaf as a client's certificate.
    pub(super) async fn probe(&self, client: Option<&Client>) -> Option<Facts> {
        let (hosts, port) = self.place()?;
        // A session may be queried at the same time.
        let limit = verify::LONGEST.max(login::IDLE + login::LONGEST);
        self.pulse.step("verifying what PostgreSQL serves", limit);
        Some(self.server.verify.probe(&hosts, port, client).await)
    }

    /// Probes while a session is open. If the handshake takes long, the session is queried and closed in the meantime, because
    /// it delays a smart shutdown.
    pub(super) async fn probe_beside(
        &mut self,
        unasked: &mut Option<ReloadSession>,
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
                            early = login::told(unasked).await;
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

    /// The visible causes why the published set is not served. The reload may have applied pending edits, and only a new
    /// session shows them.
    pub(super) async fn look_for_causes(&mut self, reachable: bool) -> Vec<Finding> {
        if reachable {
            self.ask_settings().await;
        }
        let Some(settings) = &self.known else {
            return Vec::new();
        };
        // Watched before they are examined, so that no change in between is missed.
        self.changes_of_interest(Some(&self.files(settings)));
        let files = self.files(settings);
        let mut findings =
            diagnose::concerns(settings, &files, &self.server.paths, &self.server.session);
        findings.extend(diagnose::refused(&files));
        findings
    }

    /// For a server that has no TLS parameters in common with the probe, only files and settings show anything: whether
    /// PostgreSQL certainly cannot have loaded the published set, and what prevents a handshake.
    pub(super) async fn look_without_handshake(&mut self, attempt: &mut Attempt) {
        let mut findings = self.look_for_causes(attempt.reload_error.is_none()).await;
        findings.retain(|found| {
            let for_a_start_alone = found
                .object
                .as_ref()
                .is_some_and(|object| object.starts_with(diagnose::AT_A_START));
            let uncertain = matches!(
                found.code,
                Code::SslSettingSuspect | Code::TlsFilesOutsideSandbox | Code::TlsFileOutOfReach
            );
            found.severity == Severity::Failure && !for_a_start_alone && !uncertain
        });
        let session = &self.server.session;
        if let Some(settings) = &self.known {
            findings.extend(diagnose::without_clients(settings, session));
        }
        attempt.no_common_tls =
            Some(diagnose::no_common_tls(&attempt.facts, self.known.as_ref(), session));
        attempt.findings = findings;
    }

    /// Queries the server's present settings: an edit by the operator may have taken effect in the meantime.
    pub(super) async fn ask_settings(&mut self) {
        self.pulse.step(ASKING, login::LONGEST);
        if let Ok(session) = Session::connect_briefly(&self.server.session).await {
            if let Ok(settings) = session.tls_settings().await {
                self.known = Some(settings);
                self.claim(true);
            }
            session.close().await;
        }
    }

    pub(super) fn files(&self, settings: &TlsSettings) -> Files {
        let Server { session, paths, viewpoint, .. } = &self.server;
        survey::files(settings, session, paths, viewpoint)
    }

    /// Watches the directories of the socket, and of the files that PostgreSQL should load.
    pub(super) fn changes_of_interest(&self, files: Option<&Files>) {
        let mut paths = self.server.watched();
        if let Some(files) = files {
            let named = [
                &files.certificate,
                &files.private_key,
                &files.authorities,
                &files.revocation_lists,
                &files.parameters,
            ];
            let own = &self.server.viewpoint.directory;
            let resolved = watching::resolve_path(&own.join("file")).end;
            let named = named.into_iter().filter_map(|facts| facts.path.as_deref());
            let directories = named.flat_map(|path| watching::resolve_path(path).directories());
            // The published directory is watched by the loop in `rotation`.
            paths.extend(
                directories.filter(|it| !it.starts_with(own) && !it.starts_with(&resolved)),
            );
        }
        self.changes.follow(paths);
    }
}
