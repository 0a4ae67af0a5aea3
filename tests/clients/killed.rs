//! X08: the daemons of both sides are killed at random, while both rotate and clients connect.

use std::time::Duration;

use test_support::{Counts, Dice, LIMIT, Program, Reconnecting, Signal, eventually};

use crate::both::Both;
use crate::campaign::Many;

/// How many kills, and the seed of a run to be repeated.
const KILLS: &str = "KILLS";
const SEED: &str = "KILLS_SEED";
/// Clients of tokio-postgres, and psql.
const CLIENTS: (usize, usize) = (4, 2);
/// A rotation takes some milliseconds, a start some more.
const MOST_BETWEEN: u32 = 400;

#[test]
fn x08_killed_at_random_under_rotation_and_load_postgresqls_side_never_notices() {
    let kills: u32 = std::env::var(KILLS).map_or(10, |text| text.parse().unwrap());
    let mut dice = Dice::from_environment(SEED);
    println!("{SEED}={}", dice.seed());
    let both = Both::start("");
    let (agent, cluster) = (&both.setup.agent, &both.setup.cluster);
    let log = cluster.log_mark();
    let postmaster = cluster.pid();
    let psql: Vec<_> = (0..CLIENTS.1).map(|_| Reconnecting::start(both.psql())).collect();
    let many = Many::start(CLIENTS.0, &both.files.join("pg_service.conf"), cluster.port());
    let mut longest = Duration::ZERO;
    for _ in 0..kills {
        let victim: &Program = if dice.once_in(2) { both.client() } else { both.server() };
        agent.rotate().unwrap();
        std::thread::sleep(Duration::from_millis(dice.between(0..=MOST_BETWEEN).into()));
        let daemon = victim.daemon();
        daemon.signal(Signal::KILL);
        let killed = tokio::time::Instant::now();
        eventually(LIMIT, "there is another daemon", || victim.daemon().0 != daemon.0);
        longest = longest.max(killed.elapsed());
    }
    agent.rotate().unwrap();
    both.settled_on_newest();

    let mut counts = many.stop();
    for one in psql {
        let Counts { succeeded, failures } = one.stop();
        counts.succeeded += succeeded;
        counts.failures.extend(failures);
    }
    println!(
        "{kills} kills, {} connections, at most {longest:?} without a daemon",
        counts.succeeded
    );
    assert_eq!(counts.failed(), 0, "{counts}");
    assert!(counts.succeeded > u64::from(kills), "{counts}");
    assert_eq!(cluster.pid(), postmaster);
    let said = cluster.log_since(log);
    let wrong = ["ERROR:", "FATAL:", "PANIC:", "could not load", "key values mismatch"];
    // The word for a session of the daemon's own, which ends with it.
    let own = |line: &str| line.contains(" pgsvid@postgres ") && line.contains(" to client lost");
    let wrong: Vec<_> = said
        .lines()
        .filter(|line| wrong.iter().any(|word| line.contains(word)) && !own(line))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for side in [both.client(), both.server()] {
        assert!(side.is_running(), "its parent lives");
        assert!(side.terminate(LIMIT).success());
    }
}
