//! The agent as its supervision sees it: it is dialled, it sends messages, and another one may replace it.

use std::os::unix::fs::MetadataExt as _;

use zeroize::Zeroizing;

use crate::source::workload_api::allowance::Allowance;
use crate::source::workload_api::call::Call;
use crate::source::workload_api::error::Error;
use crate::source::workload_api::messages::Messages;
use crate::source::workload_api::{self, Endpoint, Exchangeable, channel};
use crate::watching::{self, Changes, Watching};

/// What the supervision needs of an agent. Tests use channels instead.
pub(super) trait Agent {
    type Stream: Stream;

    /// Ends when the agent may be dialled. Returns the present socket, if there is one.
    async fn ready(&mut self) -> Option<SocketId>;

    /// Opens the stream and waits for its first message; `None` if the agent ends the stream normally. The caller limits the
    /// time.
    async fn dial(&self) -> Result<(Self::Stream, Option<Zeroizing<Vec<u8>>>), Error>;

    /// The first entry of the path to the socket that other users could have put there.
    fn exchangeable(&self) -> Option<Exchangeable>;

    /// Ends when another socket than `known` is at the path. Safe to cancel.
    async fn another(&mut self, known: Option<SocketId>);
}

/// The messages of one connection, which lasts as long as this value.
pub(super) trait Stream {
    /// The next message; `None` if the agent has ended the stream normally. Safe to cancel.
    async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Error>;
}

impl Stream for Messages {
    async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        Messages::next(self).await
    }
}

/// Identifies a socket at a path, and changes when its mode is changed: device, inode, and the time of the inode's last
/// change. File systems reuse the number of a removed inode.
pub(super) type SocketId = (u64, u64, i64, i64);

/// An agent at its address.
pub(super) struct Address {
    endpoint: Endpoint,
    changes: Changes,
    /// The agent's remaining processor time.
    allowance: Allowance,
}

impl Address {
    pub(super) fn new(endpoint: Endpoint, watching: &Watching, allowance: Allowance) -> Self {
        let directory = match &endpoint {
            Endpoint::Unix(path) => Some(watching::parent(path)),
            Endpoint::Tcp(_) => None,
        };
        let changes = watching.directories(directory);
        Self { endpoint, changes, allowance }
    }

    fn socket(&self) -> Option<SocketId> {
        let Endpoint::Unix(path) = &self.endpoint else { return None };
        let stat = std::fs::metadata(path).ok()?;
        Some((stat.dev(), stat.ino(), stat.ctime(), stat.ctime_nsec()))
    }
}

impl Agent for Address {
    type Stream = Messages;

    async fn ready(&mut self) -> Option<SocketId> {
        self.allowance.enough().await;
        // Changes until now do not end the next pause early.
        self.changes.settle();
        self.socket()
    }

    async fn dial(&self) -> Result<(Messages, Option<Zeroizing<Vec<u8>>>), Error> {
        channel::open(&self.endpoint, &self.allowance, Call::x509_svids()).await
    }

    fn exchangeable(&self) -> Option<Exchangeable> {
        workload_api::exchangeable(&self.endpoint)
    }

    /// Other events in the socket's directory are ignored.
    async fn another(&mut self, known: Option<SocketId>) {
        while self.socket().is_none_or(|now| Some(now) == known) {
            self.changes.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn comes(agent: &mut Address, known: Option<SocketId>) -> bool {
        timeout(Duration::from_secs(5), agent.another(known)).await.is_ok()
    }

    #[tokio::test]
    async fn a_socket_is_another_one_once_it_was_recreated_or_got_another_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let (watching, task) = Watching::start().unwrap();
        tokio::spawn(task);
        let mut agent = Address::new(Endpoint::Unix(path.clone()), &watching, Allowance::new());
        assert_eq!(agent.ready().await, None);

        let _first = UnixListener::bind(&path).unwrap();
        assert!(comes(&mut agent, None).await, "it has come");
        let first = agent.ready().await;
        assert!(first.is_some());

        drop(std::fs::File::create(directory.path().join("beside")).unwrap());
        let short = timeout(Duration::from_millis(200), agent.another(first)).await;
        assert!(short.is_err(), "what happens beside it is no other socket");

        // An agent whose socket becomes accessible only now: the failed attempt is repeated.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(comes(&mut agent, first).await, "it has another mode");
        let open = agent.ready().await;

        std::fs::remove_file(&path).unwrap();
        let gone = timeout(Duration::from_millis(200), agent.another(open)).await;
        assert!(gone.is_err(), "none is no other one");
        let _second = UnixListener::bind(&path).unwrap();
        assert!(comes(&mut agent, open).await, "it was recreated");
    }
}
