//! Agents that do anything, in random schedules, checked against invariants.

use std::sync::LazyLock;
use std::time::Duration;

use dev_agent::Svid;
use proptest::prelude::*;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Code;
use zeroize::Zeroizing;

use super::fake::{Call, Open, Stage, is, leap, message, nothing, refused, status, svid};
use crate::source::Identity;
use crate::source::workload_api::error::Error;
use crate::source::workload_api::{Connection, Source, limits};

/// A little more, because timers round.
const ROUNDING: Duration = Duration::from_millis(5);
/// How far the wall clock is set back and forward at most, in seconds, so that a long validity stays valid.
const AHEAD: std::ops::Range<i64> = -600..14_400;

/// The identities that an agent can send, with different validities: short, long, or in the future.
static SVIDS: LazyLock<Vec<Svid>> = LazyLock::new(|| {
    let times =
        [(0, 30), (0, 20 * 3600), (1, 300), (60, 3600), (1800, 3600), (7200, 60), (3600, 7200)];
    times.map(|(after, ttl)| svid(after, ttl)).into()
});

/// The one that is valid for long.
const BEST: usize = 1;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Refused,
    Unavailable,
    NotRegistered,
    Invalid,
}

#[derive(Debug, Clone, Copy)]
enum Message {
    Identity(usize),
    Nothing,
}

/// The next event, for whatever connection there is then.
#[derive(Debug, Clone, Copy)]
enum Event {
    Pass(Duration),
    /// The wall clock is set by this many seconds.
    Leap(i64),
    ReplaceSocket,
    /// The waiting call is answered.
    Answer(Option<Message>),
    FailCall(Fault),
    Send(Message),
    End,
    Fail(Fault),
}

fn some_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        4 => (0..SVIDS.len()).prop_map(Message::Identity),
        1 => Just(Message::Nothing),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => Just(Fault::Refused),
        2 => Just(Fault::Unavailable),
        2 => Just(Fault::NotRegistered),
        1 => Just(Fault::Invalid),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        // From a millisecond to seven minutes, each magnitude equally likely.
        6 => (0.0..13.0f64).prop_map(|power| Event::Pass(Duration::from_secs_f64(power.exp() / 1e3))),
        1 => (-300..2000i64).prop_map(Event::Leap),
        1 => Just(Event::ReplaceSocket),
        6 => prop::option::weighted(0.9, some_message()).prop_map(Event::Answer),
        4 => fault().prop_map(Event::FailCall),
        4 => some_message().prop_map(Event::Send),
        1 => Just(Event::End),
        2 => fault().prop_map(Event::Fail),
    ]
}

/// The state of a stage, and what was seen so far.
struct World {
    stage: Stage,
    /// The call that waits for its answer.
    call: Option<(Call, Instant)>,
    open: Option<Open>,
    /// Since when there has been neither.
    idle: Option<Instant>,
    /// The longest pause that the last end allows.
    longest: Duration,
    calls: u64,
    begun: Instant,
    /// By how much the wall clock was set ahead.
    ahead: i64,
    /// What was sent since the identity was last checked.
    sent: Vec<usize>,
    /// Whether the agent has ever answered that there is no entry.
    unregistered: bool,
    /// The identity that was last seen.
    last: Option<usize>,
}

impl World {
    fn new() -> Self {
        // It persists: another test covers a first request that ends the program.
        let stage = Stage::with(Source::persist);
        Self {
            stage,
            call: None,
            open: None,
            idle: Some(Instant::now()),
            longest: ROUNDING,
            calls: 0,
            begun: Instant::now(),
            ahead: 0,
            sent: Vec::new(),
            unregistered: false,
            last: None,
        }
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Pass(time) => return self.pass(time).await,
            Event::Leap(seconds) if AHEAD.contains(&(self.ahead + seconds)) => {
                self.ahead += seconds;
                leap(seconds);
            }
            Event::Leap(_) => {}
            Event::ReplaceSocket => self.stage.replace_socket(),
            Event::Answer(first) => {
                if let Some((call, _)) = self.call.take_if(|(call, _)| !call.is_given_up()) {
                    let open = call.answer(first.map(|first| self.bytes(first)));
                    self.longest = limits::BACKOFF.1;
                    // Without a message it ends.
                    self.open = Some(open).filter(|_| first.is_some());
                }
            }
            Event::FailCall(fault) => {
                if let Some((call, _)) = self.call.take_if(|(call, _)| !call.is_given_up()) {
                    call.fail(self.error(fault));
                }
            }
            Event::Send(sent) => {
                if let Some(open) = self.open.take() {
                    open.send_bytes(self.bytes(sent));
                    self.open = Some(open);
                }
            }
            Event::End => {
                if self.open.take().is_some() {
                    self.longest = limits::BACKOFF.1;
                }
            }
            Event::Fail(fault) => {
                if let Some(open) = self.open.take() {
                    open.fail(self.error(fault));
                }
            }
        }
        self.pass(Duration::from_millis(1)).await;
    }

    fn error(&mut self, fault: Fault) -> Error {
        let (error, longest) = match fault {
            Fault::Refused => (refused(), limits::BACKOFF.1),
            Fault::Unavailable => (status(Code::Unavailable), limits::BACKOFF.1),
            Fault::NotRegistered => (status(Code::PermissionDenied), limits::UNREGISTERED.1),
            Fault::Invalid => (status(Code::InvalidArgument), limits::PERMANENT),
        };
        self.unregistered |= matches!(fault, Fault::NotRegistered);
        self.longest = longest;
        error
    }

    fn bytes(&mut self, sent: Message) -> Zeroizing<Vec<u8>> {
        match sent {
            Message::Identity(which) => {
                self.sent.push(which);
                message(&SVIDS[which])
            }
            Message::Nothing => nothing(),
        }
    }

    /// Lets time pass, and checks whenever the supervision does something.
    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // In steps, so that an end of the supervision's own is seen soon.
            let step = left.min(Duration::from_secs(1));
            if let Ok(call) = timeout(step, self.stage.call()).await {
                self.called(call);
            }
            self.look();
            if Instant::now() >= end {
                return;
            }
        }
    }

    /// A call: never while there is another connection.
    fn called(&mut self, call: Call) {
        if let Some((before, since)) = self.call.take() {
            assert!(before.is_given_up(), "two calls at once");
            let longest = limits::FIRST_MESSAGE + limits::BACKOFF.1 + ROUNDING;
            assert!((limits::FIRST_MESSAGE..=longest).contains(&since.elapsed()));
        }
        if let Some(open) = self.open.take() {
            assert!(open.is_left(), "a call beside a connection");
        }
        self.calls += 1;
        self.idle = None;
        self.call = Some((call, Instant::now()));
    }

    fn look(&mut self) {
        assert!(self.stage.is_running(), "it never ends");
        let now = self.stage.now();

        // It must dial again in time.
        let left = self.open.as_ref().is_some_and(Open::is_left);
        let given_up = self.call.as_ref().is_some_and(|(call, _)| call.is_given_up());
        let none = self.call.is_none() && self.open.is_none();
        if left || none || given_up {
            let idle = *self.idle.get_or_insert_with(Instant::now);
            let longest = match (left, given_up) {
                // What it closes itself is dialled again at once.
                (true, _) => Duration::ZERO,
                (_, true) => limits::BACKOFF.1,
                _ => self.longest,
            };
            assert!(idle.elapsed() <= longest + ROUNDING, "{:?} without a call", idle.elapsed());
        } else {
            self.idle = None;
        }

        // Once there is an identity there is always one: the last good one, until another one is sent.
        let material = match &now.identity {
            Identity::Waiting => {
                assert!(self.last.is_none(), "the identity is lost");
                return;
            }
            Identity::Current(material) => {
                assert!(!matches!(now.connection(), Some(Connection::NotRegistered)));
                material
            }
            Identity::Withdrawn(material) => {
                assert!(self.unregistered, "nobody has withdrawn it");
                material
            }
        };
        let sent = std::mem::take(&mut self.sent);
        let mut candidates = self.last.into_iter().chain(sent);
        let found = candidates.find(|which| is(material, &SVIDS[*which]));
        assert!(found.is_some(), "it is neither the last one nor one that was sent since");
        self.last = found;
    }

    /// From now on the agent serves its best identity, and holds each connection: it must be accepted within the longest
    /// pause, and once the clock has passed its start.
    async fn recover(&mut self) {
        let begun = Instant::now();
        let early = Duration::from_secs(AHEAD.start.unsigned_abs());
        let longest = limits::PERMANENT + limits::FIRST_MESSAGE + early;
        while !matches!(self.stage.now().identity, Identity::Current(material) if is(&material, &SVIDS[BEST]))
            || self.stage.shown().0 != "streaming"
        {
            assert!(begun.elapsed() <= longest, "it recovers");
            self.happen(Event::Answer(Some(Message::Identity(BEST)))).await;
            self.happen(Event::Send(Message::Identity(BEST))).await;
            self.pass(Duration::from_secs(1)).await;
        }
    }

    /// The same for this time. Returns how often the agent was dialled.
    async fn hold(&mut self, time: Duration) -> u64 {
        let (before, end) = (self.calls, Instant::now() + time);
        while let Ok(call) = timeout_at(end, self.stage.call()).await {
            self.called(call);
            self.happen(Event::Answer(Some(Message::Identity(BEST)))).await;
            self.recover().await;
        }
        self.calls - before
    }
}

proptest! {
    // `PROPTEST_CASES=100000 cargo test --lib random_schedules_of_an_agent` is the campaign. A schedule covers hours of an
    // agent's life and takes 25 ms, so the default number of cases is a fourth of the usual.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: ProptestConfig::default().cases / 4,
        ..ProptestConfig::default()
    })]

    #[test]
    fn in_random_schedules_of_an_agent_there_is_one_connection_soon_and_the_identity_stays(
        events in prop::collection::vec(event(), 0..30)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let mut world = World::new();
            let count = events.len() as u64;
            for event in events {
                world.happen(event).await;
            }
            // No storm, whatever happens.
            let most = 2 * count + world.begun.elapsed().as_secs() + 2;
            assert!(world.calls <= most, "{} calls", world.calls);

            // Everything is good again. It comes to rest once earlier events have been handled: a clock that was set, a
            // socket that was replaced, an overdue renewal.
            world.recover().await;
            let calls = world.hold(limits::REPLACED.1 * 2).await;
            assert!(calls <= 10, "{calls} calls");
            let calls = world.hold(limits::REPLACED.1).await;
            assert_eq!(calls, 0, "it is at rest");
            assert_eq!(world.stage.shown(), ("streaming", "current"));
        });
    }
}
