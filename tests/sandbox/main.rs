//! The sandbox, seen from outside, and from within by a process that enters it as the daemon does and then misbehaves.
//!
//! The process is this very program, started with [`intruder::VARIABLE`] set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod daemon;
mod intruder;
mod within;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    if std::env::var_os(intruder::VARIABLE).is_some() {
        return intruder::main();
    }
    let test = |name: &str, run: fn()| {
        let run = move || -> Result<(), Failed> {
            run();
            Ok(())
        };
        Trial::test(name, run)
    };
    let tests = vec![
        test("planted_attempts_are_refused", within::planted_attempts_are_refused),
        test("what_is_needed_is_allowed", within::what_is_needed_is_allowed),
        test("turned_off_nothing_is_refused", within::turned_off_nothing_is_refused),
        test("threads_that_run_already_are_no_sandbox", within::threads_are_no_sandbox),
        test("the_daemon_is_confined_and_says_so", daemon::is_confined_and_says_so),
        test("core_dumps_are_off_without_a_sandbox_too", daemon::core_dumps_are_off_without_too),
        test("a_name_is_looked_up_at_start_or_not_at_all", daemon::a_name_is_looked_up_at_start),
        test(
            "who_has_no_capabilities_gives_none_up",
            daemon::who_has_no_capabilities_gives_none_up,
        ),
        test("a_directory_that_is_not_there_yet_is_named", daemon::an_absent_directory_is_named),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}
