//! What has happened to the agent so far, for tests to wait for and for the binary to report.

use tokio::sync::watch;

/// Counters since the agent was built; a restart does not reset them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Activity {
    /// Connections that were accepted, those with a misbehaviour included.
    pub connections: u64,
    /// Connections that are open.
    pub open_connections: u64,
    /// Requests that arrived, of whatever method and outcome.
    pub requests: u64,
    /// X.509-SVID streams that are open.
    pub open_streams: u64,
    /// X.509-SVID messages that were handed to streams. They may not have left the process yet.
    pub messages: u64,
    /// SVIDs that were issued for entries: at start, at renewals, when entries changed. Those of
    /// one occasion are counted at once.
    pub issued: u64,
}

/// The counters' owner.
#[derive(Debug, Default)]
pub(crate) struct Recorder(watch::Sender<Activity>);

impl Recorder {
    pub(crate) fn record(&self, change: impl FnOnce(&mut Activity)) {
        self.0.send_modify(change);
    }

    pub(crate) fn now(&self) -> Activity {
        *self.0.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Activity> {
        self.0.subscribe()
    }
}
