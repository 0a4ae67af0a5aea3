//! The cost of `health.listen`: memory, and wake-ups without requests. `scripts/cost` measures a release build for minutes;
//! the form that runs with the other tests is short.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use test_support::{LIMIT, Pgsvid, Process, Setup, eventually};

/// Another binary than the one that is tested.
const BINARY: &str = "COST_BINARY";
/// How many daemons of each kind are started, and for how many seconds their wake-ups are counted.
const SAMPLES: &str = "COST_SAMPLES";
const SECONDS: &str = "COST_SECONDS";
/// A scraper, an orchestrator and a person have been there.
const SCRAPES: usize = 20;
/// What the listener may add, in KiB.
const MOST: i64 = 1024;

#[test]
fn the_listener_costs_less_than_a_mebibyte_and_wakes_nobody() {
    let binary = std::env::var(BINARY);
    let setup = Setup::new(binary.as_deref().unwrap_or(env!("CARGO_BIN_EXE_pgsvid")));
    let socket = setup.other.join("status.sock");
    // The first publishes, and lets PostgreSQL start; the others find what it has left.
    drop(setup.start());

    let mut started = [Vec::new(), Vec::new()];
    let mut asked = [Vec::new(), Vec::new()];
    for _ in 0..number(SAMPLES, 3) {
        for listens in [false, true] {
            let pgsvid = start(&setup, &socket, listens);
            started[usize::from(listens)].push(Memory::of(&pgsvid));
            if listens {
                for _ in 0..SCRAPES {
                    scrape(&socket);
                }
            }
            asked[usize::from(listens)].push(Memory::of(&pgsvid));
            pgsvid.terminate(LIMIT);
        }
    }
    for (when, [without, with]) in [("after the start", started), ("after 20 scrapes", asked)] {
        let (without, with) = (Memory::median(without), Memory::median(with));
        println!("cost: {when}: without a listener {without}; with one {with}");
        assert!(with.resident - without.resident < MOST, "{when}: {without} -> {with}");
        assert!(with.private - without.private < MOST, "{when}: {without} -> {with}");
    }

    let seconds = number(SECONDS, 0);
    if seconds > 0 {
        let [without, with] = [false, true].map(|listens| {
            let pgsvid = start(&setup, &socket, listens);
            let before = Process(pgsvid.daemon_pid()).work();
            std::thread::sleep(Duration::from_secs(seconds));
            let work = Process(pgsvid.daemon_pid()).work().since(before);
            pgsvid.terminate(LIMIT);
            work.sleeps
        });
        println!("cost: wake-ups in {seconds} s: without a listener {without}; with one {with}");
        assert!(with <= without + 1, "{without} -> {with}");
    }
}

/// A daemon that has done what it had to do: PostgreSQL serves its set.
fn start(setup: &Setup, socket: &Path, listens: bool) -> Pgsvid {
    let listen = format!("[health]\nlisten = 'unix:{}'", socket.display());
    setup.configure(if listens { &listen } else { "" });
    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    pgsvid.event("identity-received");
    pgsvid
}

fn scrape(socket: &Path) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

/// In KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    resident: i64,
    private: i64,
}

impl Memory {
    /// Once two looks at it are the same.
    fn of(pgsvid: &Pgsvid) -> Self {
        let look = || {
            let memory = Process(pgsvid.daemon_pid()).memory();
            let [resident, private] = [memory.resident, memory.private]
                .map(|kibibytes| i64::try_from(kibibytes).unwrap());
            Self { resident, private }
        };
        let mut last = look();
        eventually(LIMIT, "its memory keeps still", || {
            let before = std::mem::replace(&mut last, look());
            before.resident == last.resident
        });
        last
    }

    fn median(mut all: Vec<Self>) -> Self {
        let mut middle = |of: fn(&Self) -> i64| {
            all.sort_by_key(of);
            of(&all[all.len() / 2])
        };
        Self { resident: middle(|of| of.resident), private: middle(|of| of.private) }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB resident, {} KiB private", self.resident, self.private)
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}
