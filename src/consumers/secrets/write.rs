//! Reads the Secrets, and writes what differs.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::judge::{Step, Wanted, judge, object};
use super::kept::decoded;
use super::order::{Authorities, fingerprints, steps};
use super::settings::{Field, Target};
use super::{Secrets, explain, report};
use crate::consumers::Publication;
use crate::finding::Finding;
use crate::kubernetes::{Error, Secret};
use crate::material::{Certificate, pem};
use crate::publish::{self, Content, Fields};
use crate::timing;

/// How long one Secret may take at most: a request is repeated once, and a refusal explained.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Why the writer stops before it has looked at all Secrets.
pub(super) enum Stop {
    /// The API server cannot be asked at all.
    Asking(Finding),
    /// Another replica writes from now on.
    Turn,
}

/// Who has changed a Secret that held the set.
pub(super) enum Writer<'a> {
    /// Somebody has deleted it; Kubernetes does not record who.
    Deletes,
    /// These managers have set its fields; none if they are not recorded.
    Others(&'a [String]),
    /// Another process that applies under the same name as this one.
    SameName,
}

impl<'a> Writer<'a> {
    fn of(by: &'a [String], is_own: bool) -> Self {
        if is_own { Self::SameName } else { Self::Others(by) }
    }
}

/// A Secret, as it was read.
enum Read {
    /// It could not be read, or written.
    Failed,
    /// It has this state; `None` if it does not exist.
    Found(Option<Secret>),
}

impl Secrets {
    /// Writes the set to each Secret that does not hold it. Returns what is wrong.
    pub(super) async fn write(&mut self, publication: &Publication) -> Result<Vec<Finding>, Stop> {
        let mut found = Vec::new();
        let mut live: Vec<Read> = Vec::new();
        for at in 0..self.settings.targets.len() {
            self.pulse.step("reading Secrets", LIMIT);
            match self.read(at).await? {
                Ok(secret) => live.push(Read::Found(secret)),
                Err(finding) => {
                    found.push(finding);
                    live.push(Read::Failed);
                }
            }
        }
        let Publication { material, extra_authorities, .. } = publication;
        let now = fingerprints(material.authorities().chain(extra_authorities));
        let in_secrets = fingerprints(&self.present(&live));
        // Only what this process has published: somebody who may write one Secret could plant an authority in the others.
        let is_gone = |it: &&Certificate| !now.contains(&it.fingerprint());
        let gone: Vec<Certificate> = self.before.iter().filter(is_gone).cloned().collect();
        let bundles: Vec<bool> = self.settings.targets.iter().map(Target::is_bundle).collect();
        let before = if in_secrets.is_empty() { fingerprints(&self.before) } else { in_secrets };
        for (at, authorities) in steps(&bundles, &before, &now) {
            let Read::Found(secret) = std::mem::replace(&mut live[at], Read::Failed) else {
                continue;
            };
            let mut extra = extra_authorities.clone();
            if authorities == Authorities::Both {
                extra.extend(gone.iter().cloned());
            }
            let wanted = match self.wanted(at, publication, extra).await {
                Ok(wanted) => wanted,
                Err(error) => {
                    found.push(explain::unmade(&error));
                    continue;
                }
            };
            match self.write_one(at, &wanted, secret.as_ref()).await? {
                Ok(secret) => live[at] = Read::Found(Some(secret)),
                Err(finding) => found.push(finding),
            }
        }
        if found.is_empty() {
            self.before = material.authorities().chain(extra_authorities).cloned().collect();
        }
        Ok(found)
    }

    /// Reads a Secret, and watches it from there on. Returns it, `None` if it does not exist, or what is wrong.
    pub(super) async fn read(
        &mut self,
        at: usize,
    ) -> Result<Result<Option<Secret>, Finding>, Stop> {
        let target = &self.settings.targets[at];
        match self.client.secret(&target.namespace, &target.name).await {
            Ok(secret) => {
                self.noted(at, secret.as_ref());
                Ok(Ok(secret))
            }
            Err(error) => Ok(Err(self.failed(at, &error, false).await?)),
        }
    }

    /// The authorities that are in the Secrets of authorities alone, as PEM.
    fn present(&self, live: &[Read]) -> Vec<Certificate> {
        let targets = self.settings.targets.iter().zip(live);
        let mut present: Vec<Certificate> = Vec::new();
        for (target, secret) in targets.filter(|(target, _)| target.is_bundle()) {
            let Read::Found(Some(secret)) = secret else { continue };
            for (key, twice) in target.bundles() {
                let found = secret.data.get(key).and_then(|text| certificates(text, twice));
                for certificate in found.into_iter().flatten() {
                    if !present.contains(&certificate) {
                        present.push(certificate);
                    }
                }
            }
        }
        present
    }

    /// The fields of one Secret.
    pub(super) async fn wanted(
        &mut self,
        at: usize,
        publication: &Publication,
        extra: Vec<Certificate>,
    ) -> Result<Wanted, publish::Error> {
        let fields: Vec<(String, Field)> = self.settings.targets[at]
            .fields
            .iter()
            .map(|(key, field)| (key.clone(), field.clone()))
            .collect();
        let material = Arc::clone(&publication.material);
        let mut encoder = std::mem::take(&mut self.fields[at]);
        let encode = move |encoder: &mut Fields| {
            let contents: Vec<&Content> = fields.iter().map(|(_, it)| &it.content).collect();
            let all = encoder.encode(&contents, &material, &extra)?;
            let in_base64 = |((key, field), bytes): ((String, Field), Zeroizing<Vec<u8>>)| {
                let mut text = Zeroizing::new(STANDARD.encode(&*bytes));
                if field.base64 {
                    text = Zeroizing::new(STANDARD.encode(text.as_bytes()));
                }
                (key, text)
            };
            Ok(fields.into_iter().zip(all).map(in_base64).collect())
        };
        let reads = self.settings.targets[at]
            .fields
            .values()
            .any(|it| it.content.password_file().is_some());
        // A password may be on a file system that does not answer.
        let (encoder, wanted) = if reads {
            let blocking = spawn_blocking(move || {
                let wanted = encode(&mut encoder);
                (encoder, wanted)
            });
            match blocking.await {
                Ok(both) => both,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        } else {
            let wanted = encode(&mut encoder);
            (encoder, wanted)
        };
        self.fields[at] = encoder;
        wanted
    }

    /// Writes one Secret, if it differs. Returns it as it is then, or what is wrong.
    async fn write_one(
        &mut self,
        at: usize,
        wanted: &Wanted,
        live: Option<&Secret>,
    ) -> Result<Result<Secret, Finding>, Stop> {
        let target = self.settings.targets[at].clone();
        let manager = self.settings.kubernetes.field_manager.clone();
        let held = self.states[at].holds;
        let step = judge(&target, wanted, live, &manager);
        match &step {
            Step::Nothing => {
                self.states[at].holds = true;
                return Ok(Ok(live.cloned().unwrap_or_default()));
            }
            Step::Missing => {
                let found = explain::missing(&target, self.existed[at]);
                return Ok(Err(self.lost(at, found)));
            }
            Step::Immutable => return Ok(Err(self.lost(at, explain::immutable(&target)))),
            Step::Owned { fields, by } => {
                return Ok(Err(self.lost(at, explain::owned(&target, fields, by))));
            }
            Step::Create | Step::Apply { .. } => {}
        }
        if let Some(turn) = &self.turn
            && !turn.now().is_writer(Instant::now())
        {
            return Err(Stop::Turn);
        }
        self.pulse.step("writing Secrets", LIMIT);
        let object = object(&target, wanted, live, &manager);
        let applied = self.client.apply_secret(&target.namespace, &target.name, &object).await;
        drop(object);
        match applied {
            Ok(secret) => {
                self.noted(at, Some(&secret));
                // The answer is what the API server has stored: an admission policy may have changed it.
                if !matches!(judge(&target, wanted, Some(&secret), &manager), Step::Nothing) {
                    return Ok(Err(self.lost(at, explain::altered(&target))));
                }
                self.states[at].written = Some(timing::now());
                self.states[at].holds = true;
                match &step {
                    Step::Create if held && self.is_repeated => {
                        self.restored(at);
                        report::created_again(&target);
                        self.contest(at, &Writer::Deletes);
                    }
                    Step::Create => report::created(&target),
                    Step::Apply { fields, by, is_own }
                        if held && self.is_repeated && !fields.is_empty() =>
                    {
                        self.restored(at);
                        report::restored(&target, fields, by, *is_own);
                        self.contest(at, &Writer::of(by, *is_own));
                    }
                    _ => {}
                }
                Ok(Ok(secret))
            }
            Err(error) => {
                let finding = self.failed(at, &error, true).await?;
                Ok(Err(finding))
            }
        }
    }

    /// Records the version of a Secret, and watches it from there on.
    fn noted(&mut self, at: usize, secret: Option<&Secret>) {
        self.existed[at] |= secret.is_some();
        let version = secret.map(|it| it.metadata.resource_version.as_str());
        self.following.note(at, version);
        self.following.watch(at, &self.observer, &self.settings.targets[at]);
    }

    fn lost(&mut self, at: usize, finding: Finding) -> Finding {
        self.states[at].holds = false;
        finding
    }

    /// The finding about a failed request, unless no other request would fare better.
    async fn failed(&mut self, at: usize, error: &Error, writes: bool) -> Result<Finding, Stop> {
        let target = self.settings.targets[at].clone();
        let finding = explain::failed(&self.client, &self.settings, &target, error, writes).await;
        if error.is_of_connection() {
            return Err(Stop::Asking(finding));
        }
        Ok(self.lost(at, finding))
    }

    fn restored(&mut self, at: usize) {
        self.states[at].restored += 1;
        if self.contests[at].restored(Instant::now()) {
            self.said_contested[at] = false;
        }
    }

    /// Says once that somebody changes a Secret again and again.
    fn contest(&mut self, at: usize, writer: &Writer<'_>) {
        if !self.contests[at].is_contested(Instant::now()) {
            return;
        }
        let found = explain::contested(&self.settings, at, writer);
        if !std::mem::replace(&mut self.said_contested[at], true) {
            report::contested(&found);
        }
        self.concerns.retain(|it| it.object != found.object);
        self.concerns.push(found);
    }
}

/// The certificates of a field, if it holds any.
fn certificates(text: &str, twice: bool) -> Option<Vec<Certificate>> {
    pem::decode_certificates(&decoded(text, twice)?).ok()
}
