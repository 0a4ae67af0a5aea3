//! Instructions of what is done to each message, counted by valgrind: they do not depend on how busy the machine is, so
//! they can guard against work that has grown. Unoptimised, as the tests are built; each bound is twice what was counted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "scripts/test shows what was measured")]

use std::process::Command;

/// Twice what one check took, and one encoding, in November 2026: 4,050,000 and 1,500,000.
const CHECK: u64 = 17_700_000;
const ENCODE: u64 = 3_000_000;

/// Instructions that valgrind has counted in a run of the program.
fn counted(what: &str, times: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env!("CARGO_BIN_EXE_counted"))
        .args([what, &times.to_string()])
        .output()
        .expect("runs valgrind (Debian's package of that name)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    line.and_then(|(_, figure)| figure.trim().parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

/// Instructions of doing it once.
fn each(what: &str) -> u64 {
    // Keys differ from run to run, and so does the work of making them; of many times it is a small part.
    let times = 50;
    counted(what, times).saturating_sub(counted(what, 0)) / u64::from(times)
}

#[test]
fn checking_a_message_takes_no_more_instructions_than_it_should() {
    let instructions = each("check");
    println!("checking a message with one intermediate: {instructions} instructions");
    assert!(instructions < CHECK, "{instructions} instructions; {CHECK} are twice what it took");
    assert!(instructions > CHECK / 20, "{instructions} instructions: was anything checked?");
}

#[test]
fn encoding_a_set_takes_no_more_instructions_than_it_should() {
    let instructions = each("encode");
    println!("encoding a set with one intermediate: {instructions} instructions");
    assert!(instructions < ENCODE, "{instructions} instructions; {ENCODE} are twice what it took");
    assert!(instructions > ENCODE / 20, "{instructions} instructions: was anything encoded?");
}
