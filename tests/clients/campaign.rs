//! P23: as many clients as there are connection slots connect again and again, while both sides rotate.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use rustls::ClientConfig;
use test_support::{Counts, Reconnecting};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;

use crate::both::Both;
use crate::one_directory::{Failure, configuration_of, connect_with};

const ROTATIONS: usize = 100;
/// Clients of tokio-postgres, and psql.
const CLIENTS: (usize, usize) = (24, 4);
/// psql leaves without waiting for its server process to end, and has the next one by then.
const OVERLAP: usize = CLIENTS.1;
/// For superusers (PostgreSQL's default), and for pgsvid's role (its connection limit).
const RESERVED: usize = 3 + 3;

#[test]
fn p23_p25_no_client_fails_while_all_slots_are_in_use_and_both_sides_rotate_a_hundred_times() {
    let slots = CLIENTS.0 + CLIENTS.1 + OVERLAP + RESERVED;
    let mut both = Both::start_with("", &format!("max_connections = {slots}"));
    let service_file = both.files.join("pg_service.conf");
    let psql: Vec<_> = (0..CLIENTS.1).map(|_| Reconnecting::start(both.psql())).collect();
    let many = Many::start(CLIENTS.0, &service_file, both.setup.cluster.port());
    for _ in 0..ROTATIONS {
        both.rotate();
    }
    let mut counts = many.stop();
    let by_tokio = counts.succeeded;
    for running in psql {
        let of_one = running.stop();
        counts.succeeded += of_one.succeeded;
        for (message, times) in of_one.failures {
            *counts.failures.entry(message).or_default() += times;
        }
    }
    // Nobody has promised that a slot is free; that is no rotation's fault.
    let no_slot = |message: &String| {
        message.contains("too many clients") || message.contains("remaining connection slots")
    };
    let without_slot: u64 = counts
        .failures
        .iter()
        .filter(|(message, _)| no_slot(message))
        .map(|(_, times)| times)
        .sum();
    println!(
        "{} clients, max_connections = {slots}, {ROTATIONS} rotations of both sides: {} connections ({by_tokio} of \
         tokio-postgres, {} of libpq), {without_slot} found no free slot, {} failed because of a rotation",
        CLIENTS.0 + CLIENTS.1,
        counts.succeeded,
        counts.succeeded - by_tokio,
        counts.failed() - without_slot,
    );
    assert_eq!(counts.failed(), without_slot, "{counts}");
    assert!(without_slot < counts.succeeded / 20, "{counts}");
    let rotations = u64::try_from(ROTATIONS).unwrap();
    assert!(by_tokio > 5 * rotations && counts.succeeded - by_tokio > rotations, "{counts}");
}

/// Clients of tokio-postgres, which read the service file for each connection, as libpq does.
pub(crate) struct Many {
    stop: watch::Sender<bool>,
    worker: JoinHandle<Counts>,
}

impl Many {
    pub(crate) fn start(clients: usize, service_file: &Path, port: u16) -> Self {
        let (stop, stopped) = watch::channel(false);
        let service_file = service_file.to_owned();
        let worker = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let clients: Vec<_> = (0..clients)
                    .map(|_| tokio::spawn(reconnect(service_file.clone(), port, stopped.clone())))
                    .collect();
                let mut all = Counts::default();
                for client in clients {
                    let counts = client.await.unwrap();
                    all.succeeded += counts.succeeded;
                    for (message, times) in counts.failures {
                        *all.failures.entry(message).or_default() += times;
                    }
                }
                all
            })
        });
        Self { stop, worker }
    }

    pub(crate) fn stop(self) -> Counts {
        self.stop.send_replace(true);
        self.worker.join().unwrap()
    }
}

async fn reconnect(service_file: PathBuf, port: u16, stopped: watch::Receiver<bool>) -> Counts {
    let mut counts = Counts::default();
    while !*stopped.borrow() {
        let connected = match through(&service_file) {
            Ok(tls) => connect_with(tls, port).await,
            Err(error) => Err(error),
        };
        match connected {
            Ok(()) => counts.succeeded += 1,
            Err(error) => *counts.failures.entry(said(&error)).or_default() += 1,
        }
    }
    counts
}

/// The files that the service file names at this moment. It names one generation.
fn through(service_file: &Path) -> Result<ClientConfig, Failure> {
    let text = fs::read_to_string(service_file)?;
    let values: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(values.get("sslmode"), Some(&"verify-full"), "{text}");
    let open = |keyword: &str| -> io::Result<File> {
        File::open(values.get(keyword).ok_or(io::ErrorKind::NotFound)?)
    };
    configuration_of(open("sslcert")?, open("sslkey")?, open("sslrootcert")?)
}

/// Without what differs from one failure to the next.
fn said(error: &Failure) -> String {
    match error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code) {
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => "too many clients".to_owned(),
        _ => format!("{error:?}"),
    }
}
