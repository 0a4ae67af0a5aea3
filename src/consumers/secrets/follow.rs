//! Notices when somebody changes or deletes a Secret: one watch for each, by its name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::settings::Target;
use crate::kubernetes::{Client, Error, Event};
use crate::timing::Backoff;

/// First and longest pause before a watch is opened again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A watch that has lasted so long has not failed at once.
const LASTED: Duration = Duration::from_secs(60);
/// Shortest pause between two events: a server that keeps sending them costs no more than this.
const PAUSE: Duration = Duration::from_millis(50);
/// How many versions of a Secret are known as pgsvid's own, or as seen.
const KNOWN: usize = 16;
/// How often a watch may fail in a row before that is reported.
const TRIES: u32 = 4;
/// A watch that is open for so long works.
const HELD: Duration = Duration::from_secs(5);
/// How often a Secret without a watch is read at least.
const BLIND: Duration = Duration::from_secs(30);

/// What a watch has last reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    Version(String),
    /// It was deleted, for the so-manieth time: each deletion is news.
    Deleted(u32),
    /// A watch was opened for the so-manieth time without a version from which it could go on: what happened before is not known.
    Gap(u32),
}

/// What is known of one watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Report {
    seen: Seen,
    /// Why it does not work; `None` if it does, or was not opened yet.
    fault: Option<Fault>,
}

/// Why a watch does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Whether the API server refuses it (403).
    pub(super) is_refused: bool,
    /// The error, for people.
    pub(super) cause: String,
    /// How often it has failed in a row.
    tries: u32,
}

impl Fault {
    fn of(error: &Error) -> Self {
        Self { is_refused: error.status() == Some(403), cause: error.to_string(), tries: 0 }
    }

    fn is_reported(&self) -> bool {
        self.is_refused || self.tries >= TRIES
    }
}

/// The watches of all Secrets.
pub(super) struct Following {
    seen: watch::Receiver<Vec<Report>>,
    report: watch::Sender<Vec<Report>>,
    /// What was reported before the last attempt began.
    handled: Vec<Report>,
    secrets: Vec<Known>,
    tasks: JoinSet<()>,
}

/// What the attempts know of one Secret.
#[derive(Default)]
struct Known {
    versions: VecDeque<String>,
    exists: bool,
    watched: bool,
}

impl Following {
    /// Watches nothing yet.
    pub(super) fn new(count: usize) -> Self {
        let (report, seen) = watch::channel(vec![Report::default(); count]);
        let secrets = (0..count).map(|_| Known::default()).collect();
        Self {
            handled: vec![Report::default(); count],
            seen,
            report,
            secrets,
            tasks: JoinSet::new(),
        }
    }

    /// An attempt begins: what was reported until now is handled by it.
    pub(super) fn begin(&mut self) {
        self.handled.clone_from(&self.seen.borrow_and_update());
    }

    /// Records what an attempt has read or written: the version, or that the Secret does not exist.
    pub(super) fn note(&mut self, at: usize, version: Option<&str>) {
        let known = &mut self.secrets[at];
        known.exists = version.is_some();
        if let Some(version) = version.filter(|it| !known.versions.iter().any(|known| known == it))
        {
            known.versions.push_back(version.to_owned());
            if known.versions.len() > KNOWN {
                known.versions.pop_front();
            }
        }
    }

    /// Watches a Secret from the version that was noted on. The second call changes nothing.
    pub(super) fn watch(&mut self, at: usize, client: &Arc<Client>, target: &Target) {
        let known = &mut self.secrets[at];
        if std::mem::replace(&mut known.watched, true) {
            return;
        }
        let since = known.versions.back().filter(|_| known.exists).cloned();
        let (client, report) = (Arc::clone(client), self.report.clone());
        let (namespace, name) = (target.namespace.clone(), target.name.clone());
        self.tasks.spawn(async move {
            let report = |change: &dyn Fn(&mut Report)| {
                report.send_if_modified(|all| {
                    let before = all[at].clone();
                    change(&mut all[at]);
                    all[at] != before
                });
            };
            watch_one(&client, &namespace, &name, since, report).await;
        });
    }

    /// Why changes of a Secret are not noticed at once; `None` if they are.
    pub(super) fn fault(&self, at: usize) -> Option<Fault> {
        self.seen.borrow()[at].fault.clone().filter(Fault::is_reported)
    }

    /// How soon the Secrets are read again because one of them is not watched; `None` if all are.
    pub(super) fn blind(&self) -> Option<Duration> {
        let is_blind = (0..self.secrets.len()).any(|at| self.fault(at).is_some());
        is_blind.then(|| BLIND.mul_f64(1.0 - fastrand::f64() / 3.0))
    }

    /// Ends when a Secret was changed or deleted by somebody else since the last attempt began. Safe to cancel.
    pub(super) async fn changed(&mut self) -> Vec<usize> {
        loop {
            let news = self.news();
            if !news.is_empty() {
                return news;
            }
            self.reported().await;
        }
    }

    /// Ends when a watch reports something more. Safe to cancel.
    pub(super) async fn reported(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn news(&mut self) -> Vec<usize> {
        let seen = self.seen.borrow_and_update();
        let told = |report: &Report| report.fault.as_ref().is_some_and(Fault::is_reported);
        let is_news = |at: &usize| {
            let known = &self.secrets[*at];
            if told(&seen[*at]) != told(&self.handled[*at]) {
                return true;
            }
            seen[*at].seen != self.handled[*at].seen
                && match &seen[*at].seen {
                    Seen::Nothing => false,
                    Seen::Version(version) => !known.versions.contains(version),
                    Seen::Deleted(_) => known.exists,
                    Seen::Gap(_) => true,
                }
        };
        (0..seen.len()).filter(is_news).collect()
    }
}

async fn watch_one(
    client: &Client,
    namespace: &str,
    name: &str,
    mut since: Option<String>,
    report: impl Fn(&dyn Fn(&mut Report)),
) {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    let (mut gaps, mut deletions, mut tries) = (0, 0, 0);
    // Whether something may have happened that no watch has reported.
    let mut is_gap = false;
    let tell = |seen: Seen| report(&|all| all.seen = seen.clone());
    loop {
        let begun = Instant::now();
        let watch = client.watch_secret(namespace, name, since.as_deref()).await;
        let mut is_held = false;
        let fault = match watch {
            // Its version is too old.
            Err(error) if error.status() == Some(410) => {
                since = None;
                is_gap = true;
                None
            }
            Err(error) => Some(Fault::of(&error)),
            Ok(mut watch) => {
                // It reports a Secret that exists, but not that one was deleted before.
                if since.is_none() && is_gap {
                    gaps += 1;
                    tell(Seen::Gap(gaps));
                }
                is_gap = true;
                loop {
                    let event = if is_held {
                        watch.next().await
                    } else {
                        let first = timeout(HELD, watch.next()).await;
                        is_held = !matches!(first, Ok(Ok(None) | Err(_)));
                        if is_held {
                            tries = 0;
                            report(&|all| all.fault = None);
                        }
                        let Ok(event) = first else { continue };
                        event
                    };
                    match event {
                        Ok(Some(Event::Version(version))) => {
                            since = Some(version.clone());
                            tell(Seen::Version(version));
                        }
                        Ok(Some(Event::Deleted)) => {
                            since = None;
                            deletions += 1;
                            tell(Seen::Deleted(deletions));
                        }
                        Ok(Some(Event::Unread)) => {
                            gaps += 1;
                            tell(Seen::Gap(gaps));
                        }
                        Ok(Some(Event::Missed)) => {
                            since = None;
                            break None;
                        }
                        // The API server ends each watch after some minutes.
                        Ok(None) if is_held => break None,
                        Ok(None) => {
                            let cause = "it ends the watch at once".to_owned();
                            break Some(Fault { is_refused: false, cause, tries: 0 });
                        }
                        Err(error) => break Some(Fault::of(&error)),
                    }
                    sleep(PAUSE).await;
                }
            }
        };
        if let Some(fault) = fault {
            tries += 1;
            report(&|all| all.fault = Some(Fault { tries, ..fault.clone() }));
        }
        if begun.elapsed() >= LASTED {
            backoff.reset();
        }
        sleep(backoff.delay()).await;
    }
}
