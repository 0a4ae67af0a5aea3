//! What happens while a pool opens connections: rotations, a change of the authority, swaps every few milliseconds.

use std::thread::sleep;
use std::time::Duration;

use test_support::{LIMIT, Program};
use tokio::time::Instant;

use super::in_place::InPlace;
use super::programs::Way;
use super::sides::Sides;

/// Between two swaps, beside what a swap itself takes.
const BETWEEN_SWAPS: Duration = Duration::from_millis(5);

/// How long everything takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How many rotations of both sides.
    pub(super) rotations: u32,
    /// The pause after each.
    pub(super) between: Duration,
    /// The pause after each step of a change of the authority.
    pub(super) step: Duration,
    /// How long sets are swapped every few milliseconds.
    pub(super) swaps: Duration,
    /// How long a leaf lives.
    pub(super) ttl: Duration,
}

/// Connections of one pool in one phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    /// Sessions that PostgreSQL has let in, by its log.
    pub(super) succeeded: u64,
    /// Attempts that failed, by the program.
    pub(super) failed: u64,
}

/// All phases.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) rotations: Counts,
    pub(super) authority: Counts,
    pub(super) swaps: Counts,
    /// How many sets there were in the last phase.
    pub(super) sets: u64,
}

impl Outcome {
    pub(super) fn phases(&self) -> [(&'static str, Counts); 3] {
        [("rotations", self.rotations), ("authority", self.authority), ("swaps", self.swaps)]
    }
}

/// With the files of a pgsvid.
pub(super) fn swapped(way: &Way, plan: &Plan) -> Outcome {
    let sides = Sides::start(plan.ttl);
    let publisher = sides.publisher(way);
    let wait = || publisher.wait_published(&sides.client_svid());
    run(&sides, way, plan, publisher.files.path(), &wait, &|| publisher.publications())
}

/// With files that are rewritten in place.
pub(super) fn in_place(way: &Way, plan: &Plan) -> Outcome {
    let sides = Sides::start(plan.ttl);
    let place = InPlace::new(way, sides.setup.cluster.port(), &sides.client_svid());
    let sets = std::cell::Cell::new(0);
    let rewrite = || {
        sets.set(sets.get() + 1);
        place.rewrite(&sides.client_svid());
    };
    run(&sides, way, plan, place.files.path(), &rewrite, &|| sets.get())
}

/// `deliver` brings the client its newest SVID.
fn run(
    sides: &Sides,
    way: &Way,
    plan: &Plan,
    files: &std::path::Path,
    deliver: &dyn Fn(),
    sets: &dyn Fn() -> u64,
) -> Outcome {
    let agent = &sides.setup.agent;
    let staged = way.staged();
    // Both sides have what the agent has sent last, and the pool has opened connections since.
    let settle = |pause: Duration| {
        deliver();
        sides.wait_served();
        sleep(pause);
        if !way.is_wrong() {
            sides.wait_logins(3);
        }
    };
    let in_phase = |phase: &dyn Fn()| {
        // A leaf is young when a program begins.
        agent.rotate().unwrap();
        deliver();
        sides.wait_served();
        let mark = sides.setup.cluster.log_mark();
        let program = staged.start(&sides.readers(files));
        sides.wait_logins(1);
        phase();
        let failed = stop(&program);
        Counts { succeeded: sides.logins_since(mark), failed }
    };
    let rotations = in_phase(&|| {
        for _ in 0..plan.rotations {
            agent.rotate().unwrap();
            settle(plan.between);
        }
    });
    let authority = in_phase(&|| {
        agent.prepare_authority().unwrap();
        settle(plan.step);
        agent.activate_authority().unwrap();
        agent.rotate().unwrap();
        settle(plan.step);
        agent.revoke_authority().unwrap();
        agent.rotate().unwrap();
        settle(plan.step);
    });
    let before = std::cell::Cell::new(0);
    let swaps = in_phase(&|| {
        before.set(sets());
        let began = Instant::now();
        while began.elapsed() < plan.swaps {
            agent.rotate().unwrap();
            deliver();
            sleep(BETWEEN_SWAPS);
        }
    });
    Outcome { rotations, authority, swaps, sets: sets() - before.get() }
}

/// Ends the program, and returns how many attempts failed.
fn stop(program: &Program) -> u64 {
    program.terminate(LIMIT);
    let output = program.standard_output();
    let last = output.lines().last().unwrap_or_default();
    let (_, failed) = last
        .split_once(" failed=")
        .unwrap_or_else(|| panic!("no counts in {output:?}\n{}", program.standard_error()));
    let failed = failed.parse().unwrap();
    if failed > 0 {
        let errors = program.standard_error();
        for line in errors.lines().take(3) {
            println!("  {line}");
        }
    }
    failed
}
