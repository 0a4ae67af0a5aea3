//! The loop in paused time, with real files, and an agent and consumers that do what the test says.

use std::fs;
use std::sync::Mutex;

use dev_agent::{Authority, Entry, Flaw};
use tempfile::TempDir;
use test_support::checked;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::*;
use crate::consumers::delivery::Asked;
use crate::consumers::fake::{Behaviour, Call, Done, Fake};
use crate::hooks::Hook;
use crate::publish::{self, Publisher, model::settings};
use crate::source::SourceDetails;
use crate::source::workload_api::{AgentState, Connection};
use crate::verify::Verdict;

const EVERY: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);

/// A running loop, and the test's ends of its channels.
pub(super) struct Running {
    directory: TempDir,
    authority: Authority,
    source: watch::Sender<SourceState>,
    pub(super) status: watch::Receiver<Status>,
    behaviours: Vec<watch::Sender<Behaviour>>,
    calls: Vec<mpsc::UnboundedReceiver<Call>>,
    again: Arc<Notify>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Starts a loop with this many consumers.
    fn start(consumers: usize) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), consumers)
    }

    /// Starts a loop in this directory, where an earlier run may have published a set.
    fn start_in(directory: TempDir, consumers: usize) -> Self {
        Self::start_with(directory, consumers, Vec::new(), None)
    }

    /// Starts a loop with hooks.
    pub(super) fn start_with(
        directory: TempDir,
        consumers: usize,
        hooks: Vec<Hook>,
        line: Option<Line>,
    ) -> Self {
        let publisher = Publisher::open(files(&directory)).unwrap();
        let pulse = Pulse::default();
        let (mut behaviours, mut calls, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..consumers {
            let (set, behaviour) = watch::channel(Behaviour::WELL);
            let (sender, receiver) = mpsc::unbounded_channel();
            let fake = Fake { behaviour, calls: sender, pulse: pulse.beside(number) };
            all.push(Consumer::fake(&number.to_string(), fake, EVERY));
            behaviours.push(set);
            calls.push(receiver);
        }
        let (source, state) =
            watch::channel(SourceState::new(SourceDetails::Agent(AgentState::default())));
        let again = Arc::new(Notify::new());
        let watching = Watching::blind();
        let settings = Settings {
            expectations: Expectations::default(),
            before: None,
            extra_authorities: Vec::new(),
            publish_every: Duration::ZERO,
            servers: Vec::new(),
            poolers: Vec::new(),
            patroni: None,
            clients: Vec::new(),
            secrets: None,
            served: Vec::new(),
            hooks,
        };
        let parts = Parts {
            target: Target::here(publisher),
            source: state,
            again: Arc::clone(&again),
            consumers: all,
            pulse,
            files: watching.directories([]),
            authorities: ExtraAuthorities::read(Vec::new(), &watching).unwrap(),
            line,
        };
        let (rotation, status) = Rotation::of(&settings, parts);
        let stop = CancellationToken::new();
        let ended = tokio::spawn(rotation.run(stop.clone()));
        let authority = Authority::new("example.org", false).unwrap();
        Self { directory, authority, source, status, behaviours, calls, again, stop, ended }
    }

    pub(super) fn behave(&self, consumer: usize, behaviour: Behaviour) {
        self.behaviours[consumer].send_replace(behaviour);
    }

    /// The agent sends a new identity; returns its certificate.
    pub(super) fn issue(&self) -> String {
        let svid = self.authority.issue(&Entry::new("spiffe://example.org/db").dns("db")).unwrap();
        let material = Arc::new(checked(&svid, timing::now()));
        self.source.send_modify(|state| {
            state.agent_mut().unwrap().connection = Connection::Streaming;
            state.identity = Identity::Current(material);
        });
        svid.chain_pem()
    }

    fn published(&self) -> Option<String> {
        fs::read_to_string(self.directory.path().join("svid.pem")).ok()
    }

    pub(super) fn generation(&self) -> u64 {
        self.status.borrow().published.as_ref().map_or(0, |published| published.generation)
    }

    /// The calls to a consumer since the last time.
    fn calls(&mut self, consumer: usize) -> Vec<Call> {
        std::iter::from_fn(|| self.calls[consumer].try_recv().ok()).collect()
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// The tests' settings for publishing.
fn files(directory: &TempDir) -> publish::Settings {
    publish::Settings { keep_until_expiry: false, ..settings(directory.path()) }
}

/// Level and name of each line of the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // Without a global subscriber, other tests' threads may mark a line as one that nobody wants, for all threads.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn lines(&self) -> Vec<(String, String)> {
        let text = self.0.lock().unwrap();
        let lines = String::from_utf8_lossy(&text).into_owned();
        let line = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            (field("level"), field("event"))
        };
        lines.lines().map(line).filter(|(_, event)| !event.is_empty()).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn reloads(calls: &[Call]) -> Vec<(u64, Instant)> {
    let only =
        |(done, generation, at): &Call| (*done == Done::Reload).then_some((*generation, *at));
    calls.iter().filter_map(only).collect()
}

fn times_of_looks(calls: &[Call]) -> Vec<Instant> {
    let only = |(done, _, at): &Call| (*done == Done::Look).then_some(*at);
    calls.iter().filter_map(only).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_identity_is_published_then_loaded_then_looked_at() {
    let mut running = Running::start(1);
    let certificate = running.issue();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.published(), Some(certificate));
    let calls = running.calls(0);
    let done: Vec<_> = calls.iter().map(|(done, generation, _)| (*done, *generation)).collect();
    assert_eq!(done, [(Done::Reload, 1), (Done::Look, 1)]);
    assert_eq!(running.status.borrow().consumers[0].verdict, Some(Verdict::Current));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_at_rest_is_only_looked_at_and_seldom() {
    let mut running = Running::start(1);
    running.issue();
    sleep(Duration::from_secs(1)).await;
    running.calls(0);
    sleep(HOUR).await;
    let calls = running.calls(0);
    assert_eq!((reloads(&calls).len(), times_of_looks(&calls).len()), (0, 12));
    assert_eq!(running.generation(), 1);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_waiting_is_enough_for_is_tried_soon_and_what_somebody_has_to_fix_slowly() {
    for (asked, first, longest) in [(Asked::NotYet, 0.5, 10.0), (Asked::Refused, 5.0, 60.0)] {
        let mut running = Running::start(1);
        running.behave(0, Behaviour { asked, verdict: Verdict::StillOld, takes: Duration::ZERO });
        running.issue();
        sleep(HOUR).await;
        let at = times_of_looks(&running.calls(0));
        let pauses: Vec<f64> = at.windows(2).map(|it| (it[1] - it[0]).as_secs_f64()).collect();
        // Each pause is random, and the longest possible pause doubles up to a limit.
        let most = pauses.iter().copied().fold(0.0, f64::max);
        assert!(pauses[0] <= first * 2.0, "{asked:?}: {pauses:?}");
        assert!(most <= longest && most > longest / 2.0, "{asked:?}: {pauses:?}");
        running.behave(0, Behaviour::WELL);
        sleep(Duration::from_secs(90)).await;
        assert_eq!(running.status.borrow().consumers[0].problem, None);
        assert_eq!(reloads(&running.calls(0)).len(), 1, "the reload that it was owed");
        running.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_set_is_reloaded_every_five_minutes_at_most() {
    let mut running = Running::start(1);
    running.behave(0, Behaviour { verdict: Verdict::StillOld, ..Behaviour::WELL });
    running.issue();
    sleep(HOUR).await;
    let at = reloads(&running.calls(0));
    assert!((11..=13).contains(&at.len()), "{}", at.len());
    let apart = at.windows(2).map(|pair| pair[1].1 - pair[0].1).min();
    assert!(apart >= Some(Duration::from_secs(300)), "{apart:?}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_identity_takes_the_place_of_the_retries_of_an_older_one() {
    let mut running = Running::start(1);
    running.behave(0, Behaviour { verdict: Verdict::StillOld, ..Behaviour::WELL });
    running.issue();
    sleep(Duration::from_secs(60)).await;
    running.calls(0);
    let newer = running.issue();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(running.published(), Some(newer));
    let calls = running.calls(0);
    assert!(
        calls.len() > 3 && calls.iter().all(|(_, generation, _)| *generation == 2),
        "{calls:?}"
    );
    assert_eq!(reloads(&calls).len(), 1);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_publishes_and_reloads_again() {
    let mut running = Running::start(1);
    running.issue();
    sleep(Duration::from_secs(1)).await;
    running.calls(0);
    running.again.notify_one();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.generation(), 2);
    assert_eq!(reloads(&running.calls(0)).len(), 1);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_set_waits_for_a_slow_consumer_ten_seconds_and_no_longer() {
    let running = Running::start(1);
    for (takes, wait) in [(4, 4), (3600, 10)] {
        running.behave(0, Behaviour { takes: Duration::from_secs(takes), ..Behaviour::WELL });
        let first = running.issue();
        sleep(Duration::from_secs(1)).await;
        let second = running.issue();
        sleep(Duration::from_millis(wait * 1000 - 1500)).await;
        assert_eq!(running.published(), Some(first), "{takes}");
        running.behave(0, Behaviour::WELL);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(running.published(), Some(second), "{takes}");
        assert_eq!(running.status.borrow().consumers[0].verdict, Some(Verdict::Current));
    }
    running.end().await;
}

/// Their attempts take turns: there is always one that has just begun.
#[tokio::test(start_paused = true)]
async fn q17_several_slow_consumers_delay_the_next_set_no_longer_than_one() {
    const SLOW: usize = 6;
    let running = Running::start(SLOW);
    for at in 0..SLOW {
        let takes = Duration::from_millis(7000 + 400 * u64::try_from(at).unwrap());
        running
            .behave(at, Behaviour { asked: Asked::NotYet, verdict: Verdict::Unreachable, takes });
    }
    for _ in 0..5 {
        running.issue();
        sleep(Duration::from_millis(47_300)).await;
        let wanted = running.issue();
        sleep(Duration::from_millis(10_200)).await;
        assert_eq!(running.published(), Some(wanted));
        sleep(Duration::from_millis(33_100)).await;
    }
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn of_many_identities_that_come_meanwhile_the_newest_alone_is_published() {
    let mut running = Running::start(1);
    running.behave(0, Behaviour { takes: Duration::from_secs(8), ..Behaviour::WELL });
    running.issue();
    let mut newest = String::new();
    for _ in 0..5 {
        sleep(Duration::from_secs(1)).await;
        newest = running.issue();
    }
    sleep(Duration::from_secs(20)).await;
    assert_eq!((running.published(), running.generation()), (Some(newest), 2));
    assert_eq!(reloads(&running.calls(0)).len(), 2);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn no_consumer_waits_for_another() {
    let mut running = Running::start(2);
    running.behave(0, Behaviour { takes: HOUR, ..Behaviour::WELL });
    let begun = Instant::now();
    running.issue();
    sleep(Duration::from_secs(1)).await;
    let at_once = times_of_looks(&running.calls(1));
    assert!(at_once.len() == 1 && at_once[0] - begun < Duration::from_millis(200));
    let second = running.issue();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(running.published(), Some(second));
    assert_eq!(reloads(&running.calls(1)).len(), 1);
    // The own checks of consumer 1 continue, too.
    sleep(HOUR).await;
    assert!(times_of_looks(&running.calls(1)).len() >= 11);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_consumer_that_fails_is_retried_alone() {
    let mut running = Running::start(2);
    running.behave(
        0,
        Behaviour { asked: Asked::NotYet, verdict: Verdict::Unreachable, takes: Duration::ZERO },
    );
    running.issue();
    sleep(Duration::from_secs(120)).await;
    assert!(running.calls(0).len() > 10);
    assert_eq!(running.calls(1).len(), 2, "one reload and one look");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_never_answers_is_no_rest_of_the_loop() {
    let running = Running::start(1);
    running.issue();
    sleep(Duration::from_secs(1)).await;
    let stuck = || running.status.borrow().pulse.stuck_at();
    sleep(HOUR).await;
    assert_eq!(stuck(), None);
    running.behave(0, Behaviour { takes: HOUR * 24, ..Behaviour::WELL });
    sleep(EVERY * 2).await;
    assert_eq!(stuck(), Some("asking a fake"));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_end_an_attempt_has_five_seconds() {
    for (takes, ends) in [(3, 3), (3600, 5)] {
        let running = Running::start(1);
        running.behave(0, Behaviour { takes: Duration::from_secs(takes), ..Behaviour::WELL });
        running.issue();
        sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        running.end().await;
        assert!(begun.elapsed().abs_diff(Duration::from_secs(ends)) < Duration::from_millis(200));
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_takes_part_the_set_is_published_and_looked_after() {
    let running = Running::start(0);
    let certificate = running.issue();
    sleep(Duration::from_secs(1)).await;
    fs::remove_file(running.directory.path().join("svid.pem")).unwrap();
    sleep(LOOK_AGAIN + Duration::from_secs(1)).await;
    assert_eq!(running.published(), Some(certificate));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn each_trouble_is_reported_once() {
    let (log, _guard) = Log::start();
    let running = Running::start(1);
    running.behave(0, Behaviour { verdict: Verdict::StillOld, ..Behaviour::WELL });
    running.issue();
    sleep(HOUR).await;
    assert_eq!(log.lines(), [("ERROR".to_owned(), "not-in-force".to_owned())]);
    // Another set that waits for the same reason is no alarm of its own.
    running.issue();
    sleep(HOUR).await;
    assert_eq!(log.lines()[1..], [("INFO".to_owned(), "still-not-in-force".to_owned())]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn n01_an_expired_set_of_an_earlier_run_is_reported_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("example.org", false).unwrap();
    let entry = Entry::new("spiffe://example.org/db").with(Flaw::Expired(Duration::from_secs(2)));
    let svid = authority.issue(&entry).unwrap();
    let mut publisher = Publisher::open(files(&directory)).unwrap();
    let before = timing::now() - Duration::from_secs(4);
    publisher.publish(&checked(&svid, before), &[]).unwrap();
    drop(publisher);

    let (log, _guard) = Log::start();
    let mut running = Running::start_in(directory, 1);
    running.behave(0, Behaviour { verdict: Verdict::Expired, ..Behaviour::WELL });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(log.lines()[0], ("WARN".to_owned(), "set-expired".to_owned()));
    assert!(!times_of_looks(&running.calls(0)).is_empty());
    {
        let status = running.status.borrow();
        assert!(status.published.as_ref().is_some_and(|it| it.not_after <= timing::now()));
        assert_eq!(status.consumers[0].verdict, Some(Verdict::Expired));
        assert!(!status.readiness(timing::now()).is_ready() && !status.has_started(timing::now()));
    }
    let certificate = running.issue();
    running.behave(0, Behaviour::WELL);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((running.published(), running.generation()), (Some(certificate), 1));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn n02_a_reload_that_waits_becomes_a_warning_and_then_an_alarm() {
    let (log, _guard) = Log::start();
    let running = Running::start(1);
    let down =
        Behaviour { asked: Asked::NotYet, verdict: Verdict::Unreachable, takes: Duration::ZERO };
    running.behave(0, down);
    running.issue();
    sleep(Duration::from_secs(50)).await;
    assert_eq!(log.lines(), [("INFO".to_owned(), "reload-pending".to_owned())]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.lines()[1..], [("WARN".to_owned(), "reload-pending".to_owned())]);
    sleep(HOUR / 4).await;
    assert_eq!(log.lines()[2..], [("ERROR".to_owned(), "not-in-force".to_owned())]);
    // It counts as pending all the time.
    let counts = |outcome| running.status.borrow().history.count(outcome);
    assert_eq!(counts(status::Outcome::Failed), 0);
    assert!(counts(status::Outcome::Pending) > 10);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn n03_a_certificate_that_expires_is_looked_at_then() {
    let mut running = Running::start(1);
    running.issue();
    sleep(Duration::from_secs(1)).await;
    let end = running.status.borrow().published.as_ref().unwrap().not_after;
    let left = end.duration_since(timing::now()).unwrap();
    running.calls(0);
    // The wall clock of the tests stands still.
    let before = Instant::now();
    sleep(left + Duration::from_secs(2)).await;
    let calls = times_of_looks(&running.calls(0));
    assert!(
        calls.iter().any(|at| (*at - before).abs_diff(left) < Duration::from_secs(2)),
        "{calls:?}"
    );
    running.end().await;
}
