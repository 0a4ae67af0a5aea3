//! Reads the Secrets, and writes what differs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::contest::Writer;
use super::judge::{Step, Wanted, judge, latent_problems, object};
use super::kept::{decoded, lack};
use super::order::{Authorities, fingerprints, steps};
use super::read::Read;
use super::settings::{Field, Target};
use super::{Secrets, explain, report};
use crate::consumers::Publication;
use crate::finding::Finding;
use crate::kubernetes::{Error, Secret};
use crate::material::{Certificate, Fingerprint, pem};
use crate::publish::{self, Content, Fields};
use crate::timing;

/// How long one Secret may take at most: a request is repeated once, and a refusal explained.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Why the writer stops before it has looked at all Secrets.
pub(super) enum Stop {
    /// The API server cannot be asked at all.
    Asking(Finding),
    /// Another replica writes from now on.
    LeaseTask,
}

/// What could not be written so far.
#[derive(Default)]
struct NotWritten {
    /// A Secret with authorities alone.
    bundle: bool,
    /// A Secret with a leaf.
    leaf: bool,
}

impl NotWritten {
    fn note(&mut self, is_bundle: bool) {
        if is_bundle {
            self.bundle = true;
        } else {
            self.leaf = true;
        }
    }
}

impl Secrets {
    /// Writes the set to each Secret that does not hold it. Returns what is wrong.
    pub(super) async fn write(&mut self, publication: &Publication) -> Result<Vec<Finding>, Stop> {
        let mut found = Vec::new();
        let mut live: Vec<Read> = Vec::new();
        let mut in_secrets = HashSet::new();
        for at in 0..self.settings.targets.len() {
            self.pulse.step("reading Secrets", LIMIT);
            match self.read(at).await? {
                Ok(secret) => {
                    in_secrets.extend(self.present(at, secret.as_ref()));
                    live.push(Read::kept(secret, &live));
                }
                Err(finding) => {
                    found.push(finding);
                    live.push(Read::Failed);
                }
            }
        }
        let Publication { material, extra_authorities, .. } = publication;
        let now = fingerprints(material.authorities().chain(extra_authorities));
        // Only what this process has published: somebody who may write one Secret could plant an authority in the others.
        let is_gone = |it: &&Certificate| !now.contains(&it.fingerprint());
        let gone: Vec<Certificate> = self.before.iter().filter(is_gone).cloned().collect();
        let bundles: Vec<bool> = self.settings.targets.iter().map(Target::is_bundle).collect();
        let before = if in_secrets.is_empty() { fingerprints(&self.before) } else { in_secrets };
        let adds = !now.is_subset(&before);
        let mut lacks = NotWritten::default();
        for (at, authorities) in steps(&bundles, &before, &now) {
            let secret = match std::mem::replace(&mut live[at], Read::Failed) {
                Read::Found(secret) => Ok(secret),
                Read::Again => self.read(at).await?,
                Read::Failed => {
                    lacks.note(bundles[at]);
                    continue;
                }
            };
            let secret = match secret {
                Ok(secret) => secret,
                Err(finding) => {
                    lacks.note(bundles[at]);
                    found.push(finding);
                    continue;
                }
            };
            let target = &self.settings.targets[at];
            // Readers of the authorities would refuse a leaf of an authority that they lack.
            if lacks.bundle
                && adds
                && !bundles[at]
                && self.can_wait(at, publication, secret.as_ref())
            {
                found.push(explain::awaits_authorities(target));
                lacks.leaf = true;
                continue;
            }
            let mut extra = extra_authorities.clone();
            // They still need the authority of a leaf that could not be replaced.
            if authorities == Authorities::Both || (lacks.leaf && bundles[at]) {
                extra.extend(gone.iter().cloned());
            }
            let wanted = match self.wanted(at, publication, extra).await {
                Ok(wanted) => wanted,
                Err(error) => {
                    lacks.note(bundles[at]);
                    found.push(explain::field_not_made(&error));
                    continue;
                }
            };
            match self.write_one(at, &wanted, secret.as_ref()).await? {
                Ok(secret) => live[at] = Read::kept(Some(secret), &live),
                Err(finding) => {
                    lacks.note(bundles[at]);
                    found.push(finding);
                }
            }
        }
        if found.is_empty() {
            self.before = material.authorities().chain(extra_authorities).cloned().collect();
        }
        Ok(found)
    }

    /// Whether a Secret holds a leaf with enough life left to wait for authorities.
    fn can_wait(&self, at: usize, publication: &Publication, live: Option<&Secret>) -> bool {
        let (target, name) = (&self.settings.targets[at], publication.material.name());
        lack(target, live, name, timing::now()).is_none()
    }

    /// Reads a Secret, and watches it from there on. Returns it, `None` if it does not exist, or what is wrong.
    pub(super) async fn read(
        &mut self,
        at: usize,
    ) -> Result<Result<Option<Secret>, Finding>, Stop> {
        let target = &self.settings.targets[at];
        match self.client.secret(&target.namespace, &target.name).await {
            Ok(mut secret) => {
                self.noted(at, secret.as_mut());
                Ok(Ok(secret))
            }
            Err(error) => Ok(Err(self.failed(at, &error, false).await?)),
        }
    }

    /// The authorities that are in a Secret of authorities alone, as PEM.
    fn present(&self, at: usize, secret: Option<&Secret>) -> HashSet<Fingerprint> {
        let target = &self.settings.targets[at];
        let Some(secret) = secret.filter(|_| target.is_bundle()) else { return HashSet::new() };
        let mut present = HashSet::new();
        for (key, twice) in target.bundles() {
            let found = secret.data.get(key).and_then(|text| certificates(text, twice));
            present.extend(fingerprints(&found.unwrap_or_default()));
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
        let step = judge(&target, wanted, live, &manager);
        let is_changed = self.held[at] == Some(self.generation);
        match &step {
            Step::Nothing => {
                self.holds(at);
                self.latent_problem(at, live);
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
            Step::Apply { fields, .. } if is_changed && !fields.is_empty() && self.pauses(at) => {
                return Ok(Err(self.lost(at, explain::restored_later(&target, false))));
            }
            Step::Create if is_changed && self.pauses(at) => {
                return Ok(Err(self.lost(at, explain::restored_later(&target, true))));
            }
            Step::Create | Step::Apply { .. } => {}
        }
        if let Some(turn) = &self.turn
            && !turn.now().is_writer(Instant::now())
        {
            return Err(Stop::LeaseTask);
        }
        self.pulse.step("writing Secrets", LIMIT);
        let object = object(&target, wanted, live, &manager);
        let applied = self.client.apply_secret(&target.namespace, &target.name, &object).await;
        drop(object);
        match applied {
            Ok(mut secret) => {
                self.noted(at, Some(&mut secret));
                // The answer is what the API server has stored: an admission policy may have changed it.
                if !matches!(judge(&target, wanted, Some(&secret), &manager), Step::Nothing) {
                    return Ok(Err(self.lost(at, explain::altered(&target))));
                }
                self.latent_problem(at, Some(&secret));
                self.states[at].written = Some(timing::now());
                self.holds(at);
                match &step {
                    Step::Create if is_changed => {
                        self.restored(at);
                        report::created_again(&target);
                        self.contest(at, &Writer::Deletes);
                    }
                    Step::Create => report::created(&target),
                    Step::Apply { fields, by, is_own } if is_changed && !fields.is_empty() => {
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

    /// Records the version of a Secret, watches it from there on, and drops what is not pgsvid's.
    fn noted(&mut self, at: usize, secret: Option<&mut Secret>) {
        self.existed[at] |= secret.is_some();
        let (target, manager) =
            (&self.settings.targets[at], &self.settings.kubernetes.field_manager);
        let version = secret.map(|it| {
            it.keep(manager, |key| target.fields.contains_key(key));
            it.metadata.resource_version.as_str()
        });
        self.following.note(at, version);
        if let Some(observer) = self.observers.get(at / super::WATCHES) {
            self.following.watch(at, observer, &self.settings.targets[at]);
        }
    }

    /// Records that a Secret holds the set.
    fn holds(&mut self, at: usize) {
        self.states[at].holds = true;
        self.held[at] = Some(self.generation);
    }

    /// Whether the Secret's restoration has to wait, because somebody changes it again and again.
    fn pauses(&self, at: usize) -> bool {
        let now = Instant::now();
        self.contests[at].not_before(now) > now
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

    /// Records what will keep the next set from a Secret.
    fn latent_problem(&mut self, at: usize, live: Option<&Secret>) {
        let target = &self.settings.targets[at];
        let manager = &self.settings.kubernetes.field_manager;
        let latent_problems =
            live.map(|live| latent_problems(target, live, manager)).unwrap_or_default();
        for latent_problem in latent_problems {
            self.concern(explain::doubted(&self.settings.targets[at], &latent_problem));
        }
    }

    /// Records a concern, instead of an earlier one of its kind about the same Secret.
    pub(super) fn concern(&mut self, found: Finding) {
        self.concerns.retain(|it| (it.code, &it.object) != (found.code, &found.object));
        self.concerns.push(found);
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
        self.concern(found);
    }
}

/// The certificates of a field, if it holds any.
fn certificates(text: &str, twice: bool) -> Option<Vec<Certificate>> {
    pem::decode_certificates(&decoded(text, twice)?).ok()
}
