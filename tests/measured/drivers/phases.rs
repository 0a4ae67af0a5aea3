//! What happens while a pool opens connections: rotations, a change of the authority, swaps every few milliseconds.

use std::cell::Cell;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use dev_agent::Svid;
use test_support::{LIMIT, Program};
use tokio::time::Instant;

use super::in_place::InPlace;
use super::programs::Way;
use super::sides::Sides;

/// Between two swaps, beside what a swap itself takes.
const BETWEEN_SWAPS: Duration = Duration::from_millis(5);

/// How many connections a phase of swaps has at least.
const LEAST: u64 = 10;

/// How many sets are swapped.
const KEPT: usize = 10;

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
    /// Whether the program ended by itself.
    pub(super) ended: bool,
}

/// All phases.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) rotations: Counts,
    pub(super) authority: Counts,
    pub(super) swaps: Counts,
    /// How many there were in the last phase.
    pub(super) number_of_swaps: usize,
}

impl Outcome {
    pub(super) fn phases(&self) -> [(&'static str, Counts); 3] {
        [("rotations", self.rotations), ("authority", self.authority), ("swaps", self.swaps)]
    }
}

/// What brings certificates to a client.
pub(super) trait Bring {
    fn files(&self) -> &Path;
    /// Brings the newest SVID, and returns when it is there.
    fn bring(&self, svid: &Svid);
    /// Remembers the present set, for [`Bring::swap`].
    fn keep(&self, svid: &Svid);
    /// Nothing is brought any more, except by [`Bring::swap`].
    fn end(&self);
    /// Makes one of the sets that were kept the present one, chosen by a running number.
    fn swap(&self, number: usize);
}

/// With the files of a pgsvid.
pub(super) fn swapped(way: &Way, plan: &Plan) -> Outcome {
    let sides = Sides::start(plan.ttl);
    run(&sides, way, plan, &sides.publisher(way), !way.is_wrong())
}

/// With files that are rewritten in place.
pub(super) fn in_place(way: &Way, plan: &Plan) -> Outcome {
    let sides = Sides::start(plan.ttl);
    let place = InPlace::new(way, sides.setup.cluster.port(), &sides.client_svid());
    run(&sides, way, plan, &place, false)
}

/// `is_good`: the pool must open connections all the time.
fn run(sides: &Sides, way: &Way, plan: &Plan, client: &dyn Bring, is_good: bool) -> Outcome {
    let agent = &sides.setup.agent;
    let staged = way.staged();
    // Both sides have what the agent has sent last, and the pool has opened connections since.
    let settle = |pause: Duration| {
        client.bring(&sides.client_svid());
        sides.wait_served();
        sleep(pause);
        if is_good {
            sides.wait_logins(3);
        }
    };
    let in_phase = |phase: &dyn Fn()| {
        // A leaf is young when a program begins.
        agent.rotate().unwrap();
        client.bring(&sides.client_svid());
        sides.wait_served();
        let mark = sides.setup.cluster.log_mark();
        let program = staged.start(&sides.readers(client.files()));
        sides.wait_logins(1);
        phase();
        let (failed, ended) = stop(&program, is_good);
        Counts { succeeded: sides.logins_since(mark), failed, ended }
    };
    let rotations = in_phase(&|| {
        for _ in 0..plan.rotations {
            agent.rotate().unwrap();
            settle(plan.between);
        }
    });
    let authority = in_phase(&|| {
        agent.prepare_root().unwrap();
        settle(plan.step);
        agent.activate_authority().unwrap();
        agent.rotate().unwrap();
        settle(plan.step);
        agent.revoke_authority().unwrap();
        agent.rotate().unwrap();
        settle(plan.step);
    });
    // Only the client's sets change from here on, and none of them expires.
    sides.lengthen_lives();
    for _ in 0..KEPT {
        agent.rotate().unwrap();
        let svid = sides.client_svid();
        client.bring(&svid);
        client.keep(&svid);
    }
    let number = Cell::new(0);
    let swaps = in_phase(&|| {
        client.end();
        let (began, mark) = (Instant::now(), sides.setup.cluster.log_mark());
        // A busy machine needs longer for some connections.
        let too_few = || is_good && sides.logins_since(mark) < LEAST;
        while began.elapsed() < plan.swaps || (began.elapsed() < LIMIT && too_few()) {
            client.swap(number.get());
            number.set(number.get() + 1);
            sleep(BETWEEN_SWAPS);
        }
    });
    Outcome { rotations, authority, swaps, number_of_swaps: number.get() }
}

/// Ends the program, and returns how many attempts failed, and whether it had ended by itself.
fn stop(program: &Program, is_good: bool) -> (u64, bool) {
    let ended = !program.is_running();
    program.terminate(LIMIT);
    let (output, errors) = (program.standard_output(), program.standard_error());
    let told = output.lines().last().and_then(|line| line.split_once(" failed=")?.1.parse().ok());
    let failed = match told {
        Some(failed) => failed,
        None if ended && !is_good => lines_of_failures(&errors),
        None => panic!("no counts in {output:?}\n{errors}"),
    };
    if failed > 0 {
        for line in errors.lines().take(3) {
            println!("  {line}");
        }
    }
    (failed, ended)
}

/// What a program has told before it ended.
fn lines_of_failures(errors: &str) -> u64 {
    let failures = errors.lines().filter(|line| line.starts_with("failed:"));
    failures.count().try_into().unwrap()
}
