//! Notices when somebody changes or deletes a Secret: one watch for each, by its name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::settings::Target;
use crate::kubernetes::{Client, Event};
use crate::timing::Backoff;

/// First and longest pause before a watch is opened again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A watch that has lasted so long has not failed at once.
const LASTED: Duration = Duration::from_secs(60);
/// Shortest pause between two events: a server that sends them without end costs no more than this.
const PAUSE: Duration = Duration::from_millis(50);
/// How many versions of a Secret are known as pgsvid's own, or as seen.
const KNOWN: usize = 16;

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

/// The watches of all Secrets.
pub(super) struct Following {
    seen: watch::Receiver<Vec<Seen>>,
    report: watch::Sender<Vec<Seen>>,
    /// What was reported before the last attempt began.
    handled: Vec<Seen>,
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
        let (report, seen) = watch::channel(vec![Seen::Nothing; count]);
        let secrets = (0..count).map(|_| Known::default()).collect();
        Self { handled: vec![Seen::Nothing; count], seen, report, secrets, tasks: JoinSet::new() }
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
            let report = |seen: Seen| {
                report
                    .send_if_modified(|all| std::mem::replace(&mut all[at], seen.clone()) != seen);
            };
            watch_one(&client, &namespace, &name, since, report).await;
        });
    }

    /// Ends when a Secret was changed or deleted by somebody else since the last attempt began. Safe to cancel.
    pub(super) async fn changed(&mut self) -> Vec<usize> {
        loop {
            let news = self.news();
            if !news.is_empty() {
                return news;
            }
            if self.seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn news(&mut self) -> Vec<usize> {
        let seen = self.seen.borrow_and_update();
        let is_news = |at: &usize| {
            let known = &self.secrets[*at];
            seen[*at] != self.handled[*at]
                && match &seen[*at] {
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
    report: impl Fn(Seen),
) {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    let (mut gaps, mut deletions) = (0, 0);
    // Whether something may have happened that no watch has reported.
    let mut is_gap = false;
    loop {
        let begun = Instant::now();
        let watch = client.watch_secret(namespace, name, since.as_deref()).await;
        let watch = match watch {
            // Its version is too old.
            Err(error) if error.status() == Some(410) => {
                since = None;
                is_gap = true;
                None
            }
            Err(_) => None,
            Ok(watch) => Some(watch),
        };
        if let Some(mut watch) = watch {
            // It reports a Secret that exists, but not that one was deleted before.
            if since.is_none() && is_gap {
                gaps += 1;
                report(Seen::Gap(gaps));
            }
            is_gap = true;
            while let Ok(Some(event)) = watch.next().await {
                match event {
                    Event::Version(version) => {
                        since = Some(version.clone());
                        report(Seen::Version(version));
                    }
                    Event::Deleted => {
                        since = None;
                        deletions += 1;
                        report(Seen::Deleted(deletions));
                    }
                    Event::Missed => {
                        since = None;
                        break;
                    }
                }
                sleep(PAUSE).await;
            }
        }
        if begun.elapsed() >= LASTED {
            backoff.reset();
        }
        sleep(backoff.delay()).await;
    }
}
