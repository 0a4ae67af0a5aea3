//! N22: `pgsvid status` without any configured address of the daemon.

use test_support::{Account, LIMIT, Program, Setup, free_address};

use super::PGSVID;

#[test]
fn n22_without_a_listener_the_answer_names_a_value_that_works() {
    let setup = Setup::new(PGSVID);
    // The flags of `run` are taken.
    let flags = setup.arguments();
    let all = ["status"].into_iter().chain(flags.iter().map(String::as_str));
    let asked = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    assert_eq!(asked.wait_exit(LIMIT).code(), Some(2));
    let said = asked.standard_error();
    // As it is printed, but for the port, which another test may have.
    let said = said.replace("127.0.0.1:9809", &free_address().to_string());
    let (_, value) = said.split_once("PGSVID_HEALTH_LISTEN=").unwrap_or_else(|| panic!("{said}"));
    let value = value.split(' ').next().unwrap();
    let (_, command) = said.trim().split_once("ask it with: pgsvid ").unwrap();
    let all = ["run"].into_iter().chain(flags.iter().map(String::as_str));
    let pgsvid =
        Program::spawn_as(Account::server(), PGSVID, all, &[("PGSVID_HEALTH_LISTEN", value)]);
    pgsvid.wait_for_event(LIMIT, |event| event["event"] == "reload-pending");
    let asked = Program::spawn_as(Account::server(), PGSVID, command.split(' '), &[]);
    asked.wait_exit(LIMIT);
    assert!(asked.standard_output().contains(Setup::SPIFFE_ID), "{}", asked.standard_error());
    // The other way that is named.
    let line = said.split('(').nth(1).unwrap();
    assert!(line.contains(&format!("listen = \"{value}\" below [health]")), "{said}");
    setup.configure(&format!("[health]\nlisten = \"{value}\""));
    let all = ["status"].into_iter().chain(flags.iter().map(String::as_str));
    let asked = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    asked.wait_exit(LIMIT);
    assert!(asked.standard_output().contains(Setup::SPIFFE_ID), "{}", asked.standard_error());
}
