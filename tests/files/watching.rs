//! Floods of changes in a watched directory.

#![allow(clippy::print_stdout, reason = "the figures are what documents tell")]
#![allow(clippy::disallowed_methods, reason = "real processes run on the real clock")]

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dev_agent::{DevAgent, Entry, Stop};
use test_support::{Directory, LIMIT, Program, eventually};

#[test]
fn a16_a_flood_of_changes_costs_next_to_nothing_and_hides_none() {
    let directory = Directory::new();
    let (sockets, svids) = (directory.subdirectory("sockets"), directory.subdirectory("svids"));
    let builder = DevAgent::builder(sockets.join("agent.sock"));
    let builder = builder.entry(Entry::new("spiffe://example.org/db")).ttl(Duration::from_secs(2));
    let agent = builder.start().unwrap();
    let endpoint = agent.endpoint();
    let arguments = ["run", "--endpoint", &endpoint, "--directory", &svids.display().to_string()];
    let pgsvid = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &[]);
    let is_current = || {
        std::fs::read_to_string(svids.join("svid.pem"))
            .is_ok_and(|it| it == agent.svid().chain_pem())
    };
    eventually(LIMIT, "an SVID is published", is_current);

    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| flood(&sockets, &stop, &changes));
        let (before, begun) = (pgsvid.process().work(), Instant::now());
        let from = changes.load(Ordering::Relaxed);
        // The agent's renewals are the clock.
        let issued = agent.activity().issued;
        agent.wait_until(LIMIT, |activity| activity.issued >= issued + 4).unwrap();
        let (work, passed) = (pgsvid.process().work().since(before), begun.elapsed());
        let made = changes.load(Ordering::Relaxed) - from;
        // A new socket among all that is seen, too: the next try by the clock is farther and farther off.
        agent.stop(Stop::Kill);
        agent.restart().unwrap();
        eventually(LIMIT, "the new agent's SVID is published", is_current);
        stop.store(true, Ordering::Relaxed);
        println!(
            "a16: {made} changes: busy for {:?} of {passed:?}, {} sleeps",
            work.busy, work.sleeps
        );
        assert!(work.busy * 10 < passed, "{made} changes: busy for {:?} of {passed:?}", work.busy);
    });
}

/// Changes two files in turns: the kernel makes one event of equal ones that follow each other.
fn flood(directory: &Path, stop: &AtomicBool, changes: &AtomicU64) {
    let files = ["a", "b"].map(|name| File::create(directory.join(name)).unwrap());
    while !stop.load(Ordering::Relaxed) {
        for file in &files {
            file.set_permissions(Permissions::from_mode(0o600)).unwrap();
        }
        changes.fetch_add(2, Ordering::Relaxed);
    }
}
