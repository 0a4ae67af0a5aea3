//! Clients that log in to each node again and again, and an eye on how many primaries there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use test_support::{ConnectLoop, Counts, Psql};

use crate::patroni::cluster::Cluster;

const PAUSE: Duration = Duration::from_millis(100);
/// What a client reads while a node is down, and while it starts: on purpose, or it is a failure.
const DOWN: [&str; 2] = ["Connection refused", "the database system is"];
/// What a client may read, too, while a node stops on purpose.
const STOPS: [&str; 5] = [
    "EOF detected",
    "server closed the connection unexpectedly",
    "terminating connection",
    "timeout expired",
    "Connection reset by peer",
];

pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    outage: Arc<AtomicBool>,
    /// How many attempts met a node that was down.
    down: Arc<AtomicU64>,
    clients: Vec<ConnectLoop>,
    primaries: JoinHandle<(u64, u64)>,
}

/// What was seen.
pub(crate) struct Seen {
    clients: Counts,
    down: u64,
    /// How often the primaries were counted, and how often there were several.
    looks: u64,
    several: u64,
}

impl Watch {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let (stop, outage) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let down = Arc::<AtomicU64>::default();
        let of_clients = Arc::clone(&down);
        let clients = cluster.clients.iter().map(|directory| {
            let psql = Psql::new()
                .env("PGSERVICEFILE", directory.join("pg_service.conf"))
                .env("PGSERVICE", "db")
                .script("SELECT 1");
            let (outage, down) = (Arc::clone(&outage), Arc::clone(&of_clients));
            ConnectLoop::start(move || {
                let planned = outage.load(Ordering::Relaxed);
                let output = psql.run();
                sleep(PAUSE);
                let planned = planned || outage.load(Ordering::Relaxed);
                let says = |texts: &[&str]| texts.iter().any(|text| output.stderr.contains(text));
                let is_down = planned && (says(&DOWN) || says(&STOPS));
                if output.status.success() {
                    return Ok(());
                }
                if !is_down {
                    return Err(output.stderr);
                }
                down.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        });
        let clients = clients.collect();
        let sessions: Vec<_> = cluster
            .nodes
            .iter()
            .map(|node| {
                let patroni = &node.patroni;
                Psql::new()
                    .env("PGHOST", patroni.socket_directory())
                    .env("PGPORT", patroni.port().to_string())
                    .env("PGCONNECT_TIMEOUT", "2")
                    .user("postgres")
                    .database("postgres")
                    .script("SELECT pg_is_in_recovery()")
            })
            .collect();
        let ended = Arc::clone(&stop);
        let primaries = thread::spawn(move || {
            let (mut looks, mut several) = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                let count = || sessions.iter().filter(|psql| psql.run().stdout == "f").count();
                // One that was just demoted may have been asked before, so two looks in a row count.
                several += u64::from(count() > 1 && count() > 1);
                looks += 1;
                sleep(PAUSE);
            }
            (looks, several)
        });
        Self { stop, outage, down, clients, primaries }
    }

    /// Whether a node is down, or changes its role, on purpose.
    pub(crate) fn outage(&self, is_planned: bool) {
        self.outage.store(is_planned, Ordering::Relaxed);
    }

    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Counts { succeeded: 0, failures: BTreeMap::new() };
        for counts in self.clients.into_iter().map(ConnectLoop::stop) {
            all.succeeded += counts.succeeded;
            for (message, count) in counts.failures {
                *all.failures.entry(message).or_default() += count;
            }
        }
        let (looks, several) = self.primaries.join().unwrap();
        let down = self.down.load(Ordering::Relaxed);
        all.succeeded -= down;
        Seen { clients: all, down, looks, several }
    }
}

impl Seen {
    pub(crate) fn assert_well(&self) {
        assert_eq!(self.several, 0, "{self}");
        assert_eq!(self.clients.failed(), 0, "{self}");
        assert!(self.clients.succeeded > 10 && self.looks > 10, "{self}");
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, down, looks, several } = self;
        write!(
            f,
            "logins: {down} met a node that was down; of the others {clients}; {looks} counts of the primaries, {several} with more than one"
        )
    }
}
