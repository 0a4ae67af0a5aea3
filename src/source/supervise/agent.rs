//! The agent as its supervision sees it: it is dialled, it sends messages, and another one may take its place.

use std::os::unix::fs::MetadataExt as _;

use zeroize::Zeroizing;

use crate::source::allowance::Allowance;
use crate::source::error::Error;
use crate::source::messages::Messages;
use crate::source::{Endpoint, channel};
use crate::watching::{self, Changes, Watching};

/// What the supervision needs of an agent. Tests put channels in its place.
pub(super) trait Agent {
    type Stream: Stream;

    /// Ends when the agent may be dialled. Returns which socket is in its place, if there is one.
    async fn ready(&mut self) -> Option<SocketId>;

    /// Opens the stream and waits for its first message, which is absent if the agent ends it in order. The caller bounds the
    /// time.
    async fn dial(&self) -> Result<(Self::Stream, Option<Zeroizing<Vec<u8>>>), Error>;

    /// Ends when there is another socket in its place than this one. May be cancelled without loss.
    async fn another(&mut self, known: Option<SocketId>);
}

/// The messages of one connection, which lasts as long as this value.
pub(super) trait Stream {
    /// The next message; `None` if the agent has ended the stream in order. May be cancelled without loss.
    async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Error>;
}

impl Stream for Messages {
    async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        Messages::next(self).await
    }
}

/// What tells one socket from the next at the same path, or from itself before its mode was changed: device, inode, and the
/// time of the inode's last change. File systems give the number of a removed inode to the next file.
pub(super) type SocketId = (u64, u64, i64, i64);

/// An agent at its address.
pub(super) struct Address {
    endpoint: Endpoint,
    changes: Changes,
    /// What the agent may cost.
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
        // What changed until now does not cut the next pause short.
        self.changes.settle();
        self.socket()
    }

    async fn dial(&self) -> Result<(Messages, Option<Zeroizing<Vec<u8>>>), Error> {
        channel::open(&self.endpoint, &self.allowance).await
    }

    /// Whatever else happens in the socket's directory is passed over.
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
    async fn a_socket_is_another_one_once_it_was_made_anew_or_got_another_mode() {
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

        // An agent that is allowed to us only now: the try that failed is made again.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(comes(&mut agent, first).await, "it has another mode");
        let open = agent.ready().await;

        std::fs::remove_file(&path).unwrap();
        let gone = timeout(Duration::from_millis(200), agent.another(open)).await;
        assert!(gone.is_err(), "none is no other one");
        let _second = UnixListener::bind(&path).unwrap();
        assert!(comes(&mut agent, open).await, "it was made anew");
    }
}
