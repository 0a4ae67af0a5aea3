//! Handshakes, as pgsvid makes them to verify: without a login, and silent in the server's log.

use std::time::{Duration, Instant};

use pgsvid::verify::{self, Answer, Served};
use test_support::{Cluster, LIMIT};
use tokio::runtime::{Builder, Runtime};

/// Shakes hands with servers of 127.0.0.1.
pub(crate) struct Hand {
    runtime: Runtime,
    host: [String; 1],
}

impl Hand {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("makes a runtime");
        Self { runtime, host: ["127.0.0.1".to_owned()] }
    }

    /// What a new connection is shown; `None` if hands could not be shaken.
    pub(crate) fn shake(&self, port: u16) -> Option<Served> {
        let facts = self.runtime.block_on(verify::probe(&self.host, port, None));
        match facts.answer {
            Answer::Served(served) => Some(*served),
            _ => None,
        }
    }

    /// Shakes hands until this leaf is shown.
    pub(crate) fn until_shown(&self, cluster: &Cluster, leaf: &[u8]) {
        let deadline = Instant::now() + LIMIT;
        while self.shake(cluster.port()).is_none_or(|served| served.leaf.der() != leaf) {
            assert!(Instant::now() < deadline, "the new leaf is never served:\n{}", cluster.log());
        }
    }
}

/// Waits a little, so that what the one before has left to do is done.
pub(crate) fn rest(time: Duration) {
    std::thread::sleep(time);
}
