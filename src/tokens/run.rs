//! The task that renews tokens and keeps their files.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::claims::Claims;
use super::entry::Entry;
use super::feed::{self, Known};
use super::keyring::Keyring;
use super::obtain::{Obtained, obtain};
use super::prove::prove;
use super::report;
use super::settings::Settings;
use crate::publish::{self, Present};
use crate::source::SourceState;
use crate::source::workload_api::JwtClient;
use crate::status::Status;
use crate::timing::{self, Clocks};
use crate::watching::{Changes, Watching};

/// The clock may be set, and a machine may sleep: the times are compared at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// How long the tokens of an earlier run raise no alarm.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// Shortest time between two turns for changes by others: of files, and of the keys.
const CALM: Duration = Duration::from_secs(1);
/// Shortest wait of a timer.
const SHORTEST: Duration = Duration::from_millis(20);

/// The tokens, before they are renewed.
pub struct Tokens {
    hint: Option<String>,
    /// The configured SPIFFE ID, if there is one.
    wanted: Option<String>,
    client: Arc<JwtClient>,
    entries: Vec<Entry>,
    bundle: Option<Keyring>,
    identity: watch::Receiver<SourceState>,
    /// The SPIFFE ID of the current identity.
    spiffe_id: Option<String>,
    known: watch::Sender<Known>,
    status: watch::Sender<Status>,
    written: watch::Sender<u64>,
    files: Changes,
    begun: Instant,
}

/// What has happened.
enum WakeReason {
    Identity,
    Keys,
    Files,
    Clock,
    Timer,
}

impl Tokens {
    /// Prepares the task. `identity` is the source's state; the results go into `status`. The receiver counts the files that
    /// were written.
    #[must_use]
    pub fn new(
        settings: Settings,
        identity: watch::Receiver<SourceState>,
        status: watch::Sender<Status>,
        watching: &Watching,
    ) -> (Self, watch::Receiver<u64>) {
        let directories: Vec<_> =
            settings.files().map(|file| file.directory().to_owned()).collect();
        let Settings { endpoint, hint, spiffe_id: wanted, tokens, bundle } = settings;
        let now = timing::now();
        let (written, receiver) = watch::channel(0);
        let tokens = Self {
            hint,
            wanted,
            client: Arc::new(JwtClient::new(endpoint)),
            entries: tokens.into_iter().map(|token| Entry::new(token, now)).collect(),
            bundle: bundle.map(Keyring::new),
            identity,
            spiffe_id: None,
            known: watch::Sender::new(Known::default()),
            status,
            written,
            files: watching.directories(directories),
            begun: Instant::now(),
        };
        (tokens, receiver)
    }

    /// Runs until `stop`. Fails only if a directory was replaced: the next process can use the new one.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), publish::Error> {
        let client = Arc::clone(&self.client);
        let feed = feed::run(Arc::clone(&client), self.identity.clone(), self.known.clone());
        let feed = std::pin::pin!(feed);
        // Every message costs the check of each key set in it.
        let feed = client.counted(feed);
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            error = self.work() => Err(error),
            never = feed => match never {},
        }
    }

    async fn work(&mut self) -> publish::Error {
        self.adopt().await;
        self.follow_identity();
        let (mut keys, mut clocks) = (self.known.subscribe(), Clocks::compared());
        loop {
            let worked = self.turn(&mut keys, &mut clocks).await;
            self.tell();
            if let Err(error) = worked {
                return error;
            }
        }
    }

    async fn turn(
        &mut self,
        keys: &mut watch::Receiver<Known>,
        clocks: &mut Clocks,
    ) -> Result<(), publish::Error> {
        self.renew().await?;
        self.write_keys().await?;
        self.raise();
        self.tell();
        let wait = self.wait();
        let turn = tokio::select! {
            changed = self.identity.changed() => {
                if changed.is_err() {
                    // The source has ended, and its owner reports why.
                    return std::future::pending().await;
                }
                WakeReason::Identity
            }
            _ = keys.changed() => WakeReason::Keys,
            () = self.files.changed() => WakeReason::Files,
            _ = clocks.leap() => WakeReason::Clock,
            () = sleep(wait) => WakeReason::Timer,
        };
        match turn {
            WakeReason::Identity => self.follow_identity(),
            WakeReason::Keys => {
                sleep(CALM).await;
                self.verify_again();
            }
            WakeReason::Files => {
                self.restore().await?;
                sleep(CALM).await;
            }
            WakeReason::Clock => {
                let now = timing::now();
                self.entries.iter_mut().for_each(|entry| entry.leapt(now));
            }
            // The kernel may have reported nothing, as on NFS.
            WakeReason::Timer => self.restore().await?,
        }
        Ok(())
    }

    /// Reads the tokens of an earlier run, so that a restart loses no alarm.
    async fn adopt(&mut self) {
        for entry in &mut self.entries {
            if let Ok(Present::File(bytes)) = entry.output.present().await
                && let Some(claims) =
                    std::str::from_utf8(&bytes).ok().and_then(|text| Claims::read(text).ok())
            {
                entry.adopt(&claims, self.wanted.as_deref());
            }
        }
        self.tell();
    }

    /// Another SPIFFE ID makes every token due. What the agent sends otherwise makes those due that it has not given: it may be
    /// back.
    fn follow_identity(&mut self) {
        let state = self.identity.borrow_and_update();
        let (spiffe_id, is_streaming) = (feed::spiffe_id(&state), feed::is_streaming(&state));
        drop(state);
        let now = timing::now();
        if self.spiffe_id != spiffe_id {
            let id = spiffe_id.as_deref();
            self.entries.iter_mut().for_each(|entry| entry.identity_change(id, now));
            self.spiffe_id = spiffe_id;
        } else if is_streaming {
            let failing = self.entries.iter_mut().filter(|it| it.state.problem.is_some());
            failing.for_each(|entry| entry.hurry(now));
        }
    }

    /// Verifies what was written by the newest keys, if there are any.
    fn verify_again(&mut self) {
        if let Known { bundles: Some(bundles), trouble: None } = &*self.known.borrow() {
            let now = timing::now();
            self.entries.iter_mut().for_each(|entry| entry.verify_again(bundles, now));
        }
    }

    /// Asks for the tokens that are due, one after the other.
    async fn renew(&mut self) -> Result<(), publish::Error> {
        let Some(spiffe_id) = self.spiffe_id.clone() else { return Ok(()) };
        for at in 0..self.entries.len() {
            let Some(entry) = self.entries.get_mut(at) else { continue };
            if !entry.due.left(timing::now()).is_zero() {
                continue;
            }
            entry.asking();
            let (audience, hint) = (&entry.token.audience, self.hint.as_deref());
            let obtained = obtain(&self.client, audience, &spiffe_id, hint, timing::now).await;
            let proven = match obtained {
                Ok(obtained) => prove(&self.known, &spiffe_id, obtained).await,
                Err(failure) => Err(failure),
            };
            let Some(entry) = self.entries.get_mut(at) else { continue };
            let result = match proven {
                Ok((Obtained { token, claims }, proof)) => {
                    let bytes = Zeroizing::new(token.as_bytes().to_vec());
                    entry.output.put(bytes).await.map(|written| (written, claims, proof))
                }
                Err(failure) => Err(failure),
            };
            let now = timing::now();
            match result {
                Ok((written, claims, proof)) => {
                    entry.succeeded(&claims, &proof, written, now);
                    if written {
                        report::written(&entry.state, &claims, &proof, entry.due.left(now));
                        self.written.send_modify(|count| *count += 1);
                    }
                }
                Err(failure) => {
                    let (delay, is_news) = entry.failed(&failure, now);
                    let has_old = entry.state.expires.is_some_and(|end| end > now);
                    if let Some(found) = &entry.state.problem {
                        report::failed(found, &failure, delay, is_news, has_old);
                    }
                    failure.into_end()?;
                }
            }
            self.tell();
        }
        Ok(())
    }

    /// Writes the file of the JWT bundle, if its contents have changed.
    async fn write_keys(&mut self) -> Result<(), publish::Error> {
        let (Some(ring), Some(spiffe_id)) = (&mut self.bundle, &self.spiffe_id) else {
            return Ok(());
        };
        let known = self.known.borrow().clone();
        match ring.update(known, spiffe_id).await {
            Ok(true) => self.written.send_modify(|count| *count += 1),
            Ok(false) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes the files again that somebody else has changed.
    async fn restore(&mut self) -> Result<(), publish::Error> {
        for entry in &mut self.entries {
            entry.repair.look(&entry.output, &mut entry.state).await?;
        }
        if let Some(ring) = &mut self.bundle {
            ring.repair.look(&ring.output, &mut ring.state).await?;
        }
        self.tell();
        Ok(())
    }

    fn raise(&mut self) {
        let (now, early) = (timing::now(), self.begun.elapsed() < FIRST_ANSWER);
        let has_identity = self.spiffe_id.is_some();
        for entry in &mut self.entries {
            if !early || entry.state.writes > 0 {
                entry.raise(has_identity, now);
            }
        }
    }

    /// Until the next token or report is due.
    fn wait(&self) -> Duration {
        let now = timing::now();
        let has_identity = self.spiffe_id.is_some();
        let due = self.entries.iter().filter(|_| has_identity).map(|entry| entry.due.left(now));
        let quiet = FIRST_ANSWER.saturating_sub(self.begun.elapsed());
        let alarms = self.entries.iter().filter_map(|entry| {
            let wait = entry.until_alarm(now)?;
            Some(if entry.state.writes > 0 { wait } else { wait.max(quiet) })
        });
        let retry = self.bundle.iter().filter(|_| has_identity).filter_map(|ring| ring.retry);
        let repairs = self.entries.iter().map(|it| &it.repair);
        let repairs = repairs.chain(self.bundle.iter().map(|ring| &ring.repair));
        let repairs = repairs.filter_map(|it| it.again);
        let repairs = repairs.map(|at| at.saturating_duration_since(Instant::now()));
        let next = due.chain(alarms).chain(retry.map(|due| due.left(now))).chain(repairs).min();
        next.unwrap_or(LOOK_AGAIN).clamp(SHORTEST, LOOK_AGAIN)
    }

    fn tell(&self) {
        let bundle = self.bundle.iter().map(|ring| &ring.state);
        let states: Vec<_> =
            self.entries.iter().map(|entry| &entry.state).chain(bundle).cloned().collect();
        self.status.send_if_modified(|status| {
            let changed = status.tokens != states;
            status.tokens = states;
            changed
        });
    }
}
