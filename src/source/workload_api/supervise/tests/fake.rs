//! An agent made of channels only, with a wall clock and a log that tests can read.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use dev_agent::{Authority, Entry, Flaw, Svid};
use pgsvid_proto::X509svidResponse;
use prost::Message as _;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use zeroize::Zeroizing;

use crate::material::{Expectations, Material};
use crate::source::workload_api::error::Error;
use crate::source::workload_api::supervise::Supervisor;
use crate::source::workload_api::supervise::agent::{Agent, SocketId, Stream};
use crate::source::workload_api::{
    Connection, Endpoint, Exchangeable, Selection, Settings, Source,
};
use crate::source::{Identity, SourceState};
use crate::timing::{self, Clocks};
use crate::watching::Watching;

/// Longer than the supervision ever waits.
const LONG: Duration = Duration::from_secs(6 * 3600);

type Bytes = Zeroizing<Vec<u8>>;
type Messages = mpsc::UnboundedReceiver<Result<Bytes, Error>>;
type Answer = Result<(Messages, Option<Bytes>), Error>;

/// The supervision's end of the channels.
pub(super) struct Fake {
    dials: mpsc::UnboundedSender<oneshot::Sender<Answer>>,
    socket: watch::Receiver<u64>,
}

/// The ID of a socket; 0 means none.
fn id(number: u64) -> Option<SocketId> {
    (number > 0).then_some((number, 0, 0, 0))
}

impl Agent for Fake {
    type Stream = Messages;

    async fn ready(&mut self) -> Option<SocketId> {
        id(*self.socket.borrow_and_update())
    }

    async fn dial(&self) -> Answer {
        let (answer, answered) = oneshot::channel();
        let _ = self.dials.send(answer);
        match answered.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }

    fn exchangeable(&self) -> Option<Exchangeable> {
        None
    }

    async fn another(&mut self, known: Option<SocketId>) {
        let other = |number: &u64| id(*number).is_some_and(|now| Some(now) != known);
        if self.socket.wait_for(other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Stream for Messages {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.recv().await.transpose()
    }
}

/// The test's end: the calls, and their results.
pub(super) struct Stage {
    dials: mpsc::UnboundedReceiver<oneshot::Sender<Answer>>,
    socket: watch::Sender<u64>,
    state: watch::Receiver<SourceState>,
    log: Log,
    supervision: JoinHandle<Result<(), Error>>,
    _logging: tracing::subscriber::DefaultGuard,
}

/// A call that waits for its answer.
pub(super) struct Call(oneshot::Sender<Answer>);

/// An open stream. Dropping it ends it normally.
#[must_use]
pub(super) struct Open(mpsc::UnboundedSender<Result<Bytes, Error>>);

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Source)) -> Self {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone());
        let logging = tracing::subscriber::set_default(subscriber.finish());
        START.set(Some(Instant::now()));
        AHEAD.set(0);
        let (mut source, state) = Source::new(settings(), Watching::blind());
        change(&mut source);
        let (dials, dialled) = mpsc::unbounded_channel();
        let (socket, number) = watch::channel(1);
        let mut supervisor =
            Supervisor::new(source, Fake { dials, socket: number }, Clocks::of(wall));
        let supervision = tokio::spawn(async move { supervisor.supervise().await });
        Self { dials: dialled, socket, state, log, supervision, _logging: logging }
    }

    /// The next call.
    pub(super) async fn call(&mut self) -> Call {
        Call(timeout(LONG, self.dials.recv()).await.expect("it dials again").unwrap())
    }

    /// The next call, and how long it took to come.
    pub(super) async fn timed(&mut self) -> (Call, Duration) {
        let begun = Instant::now();
        (self.call().await, begun.elapsed())
    }

    /// Asserts that nothing is dialled for this time.
    #[track_caller]
    pub(super) fn undisturbed(&mut self, time: Duration) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            assert!(timeout(time, self.dials.recv()).await.is_err(), "dialled: {caller}");
        }
    }

    /// Whether a call waits.
    pub(super) fn is_calling(&self) -> bool {
        !self.dials.is_empty()
    }

    /// Another socket replaces the agent's.
    pub(super) fn replace_socket(&self) {
        self.socket.send_modify(|number| *number += 1);
    }

    /// The supervision's end.
    pub(super) async fn ended(&mut self) -> Result<(), Error> {
        timeout(LONG, &mut self.supervision).await.expect("it ends").unwrap()
    }

    pub(super) fn is_running(&self) -> bool {
        !self.supervision.is_finished()
    }

    pub(super) fn now(&self) -> SourceState {
        self.state.borrow().clone()
    }

    /// The state as a log line would show it: connection, identity.
    pub(super) fn shown(&self) -> (&'static str, &'static str) {
        let now = self.now();
        let connection = match now.connection().expect("an agent") {
            Connection::Connecting => "connecting",
            Connection::Streaming => "streaming",
            Connection::NotRegistered => "not registered",
            Connection::Failed(_) => "failed",
        };
        let identity = match now.identity {
            Identity::Waiting => "waiting",
            Identity::Current(_) => "current",
            Identity::Withdrawn(_) => "withdrawn",
        };
        (connection, identity)
    }

    /// Whether the identity, withdrawn or not, is this one.
    pub(super) fn holds(&self, svid: &Svid) -> bool {
        let now = self.now();
        now.identity.material().is_some_and(|material| is(material, svid))
    }

    /// The names of the events since the last call.
    pub(super) fn said(&self) -> Vec<String> {
        self.log.take()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.supervision.abort();
    }
}

impl Call {
    pub(super) fn serve(self, svid: &Svid) -> Open {
        self.answer(Some(message(svid)))
    }

    /// Opens the stream with this message; without one it ends.
    pub(super) fn answer(self, first: Option<Bytes>) -> Open {
        let (sender, messages) = mpsc::unbounded_channel();
        let _ = self.0.send(Ok((messages, first)));
        Open(sender)
    }

    pub(super) fn fail(self, error: Error) {
        let _ = self.0.send(Err(error));
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }
}

impl Open {
    pub(super) fn send(&self, svid: &Svid) {
        self.send_bytes(message(svid));
    }

    pub(super) fn send_bytes(&self, message: Bytes) {
        let _ = self.0.send(Ok(message));
    }

    pub(super) fn fail(self, error: Error) {
        let _ = self.0.send(Err(error));
    }

    /// Whether the supervision has closed it.
    pub(super) fn is_left(&self) -> bool {
        self.0.is_closed()
    }
}

/// Lets every task do what it can do now.
pub(super) async fn meanwhile() {
    sleep(Duration::from_millis(1)).await;
}

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
    static AHEAD: Cell<i64> = const { Cell::new(0) };
}

/// The start of all wall clocks of these tests: an hour ahead, so that an SVID that is issued later is still issued before
/// it.
static BEGIN: LazyLock<SystemTime> = LazyLock::new(|| timing::now() + Duration::from_secs(3600));

/// The wall clock: the paused time, plus what it was set ahead.
pub(super) fn wall() -> SystemTime {
    let passed = START.get().map(|start| start.elapsed()).unwrap_or_default();
    let ahead = Duration::from_secs(AHEAD.get().unsigned_abs());
    let time = *BEGIN + passed;
    if AHEAD.get() < 0 { time - ahead } else { time + ahead }
}

/// Sets the wall clock ahead, in seconds.
pub(super) fn leap(seconds: i64) {
    AHEAD.set(AHEAD.get() + seconds);
}

static AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::new("example.org", false).unwrap());

/// An SVID that becomes valid this many seconds after the start, for `ttl` seconds.
pub(super) fn svid(after: u64, ttl: u64) -> Svid {
    // Not while the time is locked.
    LazyLock::force(&AUTHORITY);
    let begins = *BEGIN + Duration::from_secs(after);
    let after = Flaw::NotYetValid(begins.duration_since(timing::now()).unwrap());
    let entry = Entry::new("spiffe://example.org/db").with(after).ttl(Duration::from_secs(ttl));
    AUTHORITY.issue(&entry).unwrap()
}

pub(super) fn message(svid: &Svid) -> Bytes {
    let response = X509svidResponse { svids: vec![svid.to_message()], ..Default::default() };
    response.encode_to_vec().into()
}

/// A message that is rejected.
pub(super) fn nothing() -> Bytes {
    Bytes::default()
}

pub(super) fn is(material: &Material, svid: &Svid) -> bool {
    material.leaf().der() == svid.leaf()
}

pub(super) fn status(code: Code) -> Error {
    Error::Answered { code, text: "on purpose".to_owned() }
}

pub(super) fn refused() -> Error {
    Error::Refused("unix:///nowhere/agent.sock".to_owned())
}

pub(super) fn settings() -> Settings {
    Settings {
        endpoint: Endpoint::Unix("/nowhere/agent.sock".into()),
        selection: Selection::default(),
        expectations: Expectations::default(),
        federated_bundles: false,
    }
}

/// The log at level info and above.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let name = |line: Value| line["fields"]["event"].as_str().unwrap_or("unnamed").to_owned();
        // Missing names are not the supervision's concern.
        let names = lines.map(|line| name(line.unwrap()));
        names.filter(|name| name != "identity-warning").collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
