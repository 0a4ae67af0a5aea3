//! E14: connection pools of many drivers, with the code of examples/drivers, while certificates change.
//!
//! `scripts/test-drivers` runs all of them, in its long form; the form that runs with the other tests is short.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]

mod in_place;
mod phases;
mod programs;
mod sides;
mod table;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use phases::Plan;
use programs::Way;
use table::Row;

/// Which of examples/drivers, separated by blanks.
const DRIVERS: &str = "DRIVERS";
/// Whether this is the long form.
const LONG: &str = "DRIVERS_LONG";
const SHORT: &str = "psycopg node-postgres debian-pgjdbc";

#[test]
fn e14_no_pool_fails_while_sets_are_swapped_and_the_authority_changes() {
    let _alone = crate::BUSY.lock();
    let names = std::env::var(DRIVERS).unwrap_or_else(|_| SHORT.to_owned());
    let is_long = std::env::var_os(LONG).is_some();
    let ways: Vec<Way> = names.split_whitespace().flat_map(programs::ways_of).collect();
    let rows = if is_long { long(ways) } else { short(ways) };
    let markdown = table::markdown(&rows);
    println!("{markdown}");
    if is_long {
        let mut file = File::create(installed().join("table.md")).unwrap();
        file.write_all(markdown.as_bytes()).unwrap();
    }
    for Row { way, swapped, .. } in &rows {
        for (phase, counts) in swapped.phases() {
            let what = format!("{}, {phase}: {counts:?}", way.title());
            println!("{what}");
            if way.is_wrong() {
                // Otherwise nothing would have been measured.
                assert!(counts.failed > 0 || phase == "swaps", "{what}");
            } else {
                assert!(counts.failed == 0 && !counts.ended, "{what}");
                assert!(counts.succeeded >= 10, "{what}");
            }
        }
    }
}

/// All at once, only with the files of pgsvid.
fn short(ways: Vec<Way>) -> Vec<Row> {
    let plan = Plan {
        rotations: 20,
        between: Duration::from_millis(100),
        step: Duration::from_millis(300),
        swaps: Duration::from_secs(2),
        ttl: Duration::from_secs(600),
    };
    let running = ways.into_iter().filter(|way| !way.is_wrong()).map(|way| {
        thread::spawn(move || Row { swapped: phases::swapped(&way, &plan), in_place: None, way })
    });
    let running: Vec<_> = running.collect();
    running.into_iter().map(|one| one.join().unwrap()).collect()
}

/// One after the other, so that each has the machine for itself; leaves expire while the phases last.
fn long(ways: Vec<Way>) -> Vec<Row> {
    let plan = Plan {
        rotations: 20,
        between: Duration::from_millis(750),
        step: Duration::from_secs(2),
        swaps: Duration::from_secs(10),
        ttl: Duration::from_secs(10),
    };
    let mut rows = Vec::new();
    for way in ways {
        let swapped = phases::swapped(&way, &plan);
        println!("{}: {swapped:?}", way.title());
        let in_place = (!way.is_wrong()).then(|| phases::in_place(&way, &plan));
        println!("{} in place: {in_place:?}", way.title());
        rows.push(Row { way, swapped, in_place });
    }
    rows
}

/// Where scripts/lib/drivers.sh installs.
fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_pgsvid")).ancestors().nth(2).unwrap();
    target.join("drivers")
}
