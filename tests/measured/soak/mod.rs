//! X06: thousands of rotations among random faults.
//!
//! `scripts/soak` runs the long form; the form that runs with the other tests is short.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]

mod faults;
mod figures;
mod place;

use std::collections::BTreeMap;

use test_support::{Dice, with_mounts};

use faults::FAULTS;
use figures::Figures;
use place::Place;

/// How many rotations, and the seed, where they are not the usual.
const ROTATIONS: &str = "SOAK_ROTATIONS";
const SEED: &str = "SOAK_SEED";
/// A fault comes once in so many rotations.
const FAULT_ONCE_IN: u32 = 5;

#[test]
fn x06_among_random_faults_no_rotation_is_missed_and_nothing_grows() {
    with_mounts(|| {
        let rotations = std::env::var(ROTATIONS).map_or(500, |text| text.parse().unwrap());
        let mut dice = Dice::from_environment(SEED);
        println!("soak: {rotations} rotations, {SEED}={}", dice.seed());
        let mut place = Place::start();
        // Caches are full and pools have their size by then.
        let warm_up = (rotations / 10).max(50);
        let mut struck: BTreeMap<&str, u32> = BTreeMap::new();
        let (mut warm, mut most) = (Figures::default(), Figures::default());
        for rotation in 1..=rotations {
            if dice.once_in(FAULT_ONCE_IN) {
                let (name, strike) = dice.one_of(&FAULTS);
                place.begin(name);
                strike(&mut place, &mut dice);
                *struck.entry(name).or_default() += 1;
            } else {
                place.begin("nothing");
                place.setup.agent.rotate().unwrap();
            }
            place.assert_newest_is_served();
            if rotation == warm_up {
                warm = place.figures();
            } else if rotation > warm_up && rotation % 10 == 0 {
                most = most.highest(place.figures());
            }
            if rotation % 500 == 0 {
                println!("soak: {rotation} rotations; {}", place.figures());
            }
        }
        let last = place.quiet_figures();
        let total: u32 = struck.values().sum();
        println!("soak: {rotations} rotations, all served, among {total} faults");
        for (name, times) in &struck {
            println!("soak:   {times:5} x {name}");
        }
        println!("soak: after {warm_up} rotations: {warm}");
        println!("soak: highest since:         {most}");
        println!("soak: at the end, at rest:   {last}");
        place.report_log();
        last.assert_no_more_than(warm);
        most.assert_bounded();
    });
}
