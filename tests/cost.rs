//! What `health.listen` costs: memory, and wake-ups while nobody asks. `scripts/cost` measures a release build for minutes;
//! what runs with the other tests is short.

#![allow(clippy::disallowed_methods, reason = "the kernel's own files are no published files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::fmt;
use std::fs;
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
            // The thread that writes files ends when it has had nothing to do for a while.
            let threads = || Process(pgsvid.pid()).threads().len();
            eventually(LIMIT, "it is at rest", || threads() <= 2);
            let before = wake_ups(&pgsvid);
            std::thread::sleep(Duration::from_secs(seconds));
            let woken = wake_ups(&pgsvid) - before;
            pgsvid.terminate(LIMIT);
            woken
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
    pgsvid.event("identity received");
    pgsvid
}

fn scrape(socket: &Path) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

/// How often its threads gave the processor back to wait.
fn wake_ups(pgsvid: &Pgsvid) -> u64 {
    let count = |thread| {
        let path = format!("/proc/{}/task/{thread}/status", pgsvid.pid());
        let text = fs::read_to_string(path).unwrap();
        figure(&text, "voluntary_ctxt_switches:")
    };
    Process(pgsvid.pid()).threads().into_iter().map(count).sum()
}

/// In KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    resident: i64,
    /// Shared with no other process.
    private: i64,
}

impl Memory {
    /// Once two looks at it are the same.
    fn of(pgsvid: &Pgsvid) -> Self {
        let look = || {
            let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", pgsvid.pid())).unwrap();
            let of = |name: &str| i64::try_from(figure(&text, name)).unwrap();
            let private = of("Private_Clean:") + of("Private_Dirty:");
            Self { resident: of("Rss:"), private }
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

/// The number behind a name, of a file of lines with names.
fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}
