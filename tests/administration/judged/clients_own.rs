//! N63, N64, F71: what `check` says with the configuration of a client, which has an identity of its own.

use std::process::Command;

use dev_agent::Entry;
use serde_json::Value;
use test_support::{Account, Directory, Setup};

use crate::judged::{PGSVID, found, one, started_with};

const CLIENT: &str = "spiffe://example.org/ns/test/sa/client";

/// What `check` says for a client that connects to this name, and has published its set.
fn checked(setup: &Setup, directory: &Directory, host: &str, more: &[&str]) -> Value {
    checked_in(setup, directory, (host, "dbname = 'postgres'"), more)
}

/// The same with this line about the database.
fn checked_in(
    setup: &Setup,
    directory: &Directory,
    (host, database): (&str, &str),
    more: &[&str],
) -> Value {
    let configuration = format!(
        "[workload_api]\nendpoint = '{}'\n[svid]\nspiffe_id = '{CLIENT}'\n[files]\ndirectory = '{}'\n[files.service]\nname = \
         'products'\n[files.service.options]\nhost = '{host}'\nhostaddr = '127.0.0.1'\nport = {}\nuser = 'client'\n{database}\n",
        setup.agent.endpoint(),
        directory.path().display(),
        setup.cluster.port()
    );
    let configuration = setup.other.write("client.toml", configuration, 0o644);
    let pgsvid = |command: &[&str]| {
        let account = Account::server();
        let mut pgsvid = Command::new("setpriv");
        pgsvid.args([format!("--reuid={}", account.uid()), format!("--regid={}", account.gid())]);
        pgsvid.args(["--clear-groups", PGSVID]).args(command).arg("--config").arg(&configuration);
        pgsvid.output().unwrap()
    };
    let fetched = pgsvid(&["fetch"]);
    assert!(fetched.status.success(), "{fetched:?}");
    let report = pgsvid(&[&["check", "--format", "json"], more].concat());
    serde_json::from_slice(&report.stdout).unwrap_or_else(|error| panic!("{error}: {report:?}"))
}

/// A database of one identity, and a client of another, which may log in.
fn two() -> (Setup, Directory) {
    let setup = started_with("hostssl postgres client 127.0.0.1/32 cert");
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE client LOGIN");
    setup
        .agent
        .set_entries([
            Entry::new(Setup::SPIFFE_ID).dns("localhost"),
            Entry::new(CLIENT).dns("client"),
        ])
        .unwrap();
    (setup, Directory::new())
}

#[test]
fn n63_a_name_that_the_server_lacks_is_for_the_servers_entry_and_not_for_the_clients() {
    let (setup, directory) = two();
    let report = checked(&setup, &directory, "localhost", &["--as-client", "client"]);
    one(&report, "ok", "client-login");
    let report = checked(&setup, &directory, "other", &["--as-client", "client"]);
    let finding = one(&report, "failure", "served-certificate-name");
    let (cause, command) =
        (finding["cause"].as_str().unwrap(), finding["command"].as_str().unwrap());
    assert!(cause.contains("localhost"), "{finding:#}");
    assert!(command.contains(Setup::SPIFFE_ID) && !command.contains(CLIENT), "{finding:#}");
}

#[test]
fn n64_a_login_that_was_not_tried_is_reported_with_how_to_try_it() {
    let (setup, directory) = two();
    let report = checked(&setup, &directory, "other", &[]);
    let finding = one(&report, "skipped", "client-login");
    assert_eq!(finding["fix"], "add --as-client client", "{finding:#}");
    let report = checked(&setup, &directory, "localhost", &["--as-client", "client"]);
    assert!(found(&report, "skipped", "client-login").is_empty(), "{report:#}");
}

#[test]
fn f71_a_client_for_whose_role_no_connection_is_left_gets_that_reason() {
    let (setup, directory) = two();
    setup.cluster.sql("postgres", "postgres", "ALTER ROLE client CONNECTION LIMIT 0");
    let report = checked(&setup, &directory, "localhost", &["--as-client", "client"]);
    one(&report, "failure", "connection-slots");
}

/// libpq's database is the role's name then, and `check` logged in to another one.
#[test]
fn b138_a_service_without_a_database_is_tried_with_the_one_that_libpq_takes() {
    let (setup, directory) = two();
    let none = ("localhost", "");
    let report = checked_in(&setup, &directory, none, &["--as-client", "client"]);
    one(&report, "failure", "login-refused");
    assert!(found(&report, "ok", "client-login").is_empty(), "{report:#}");
    crate::judged::hba(&setup, "hostssl client client 127.0.0.1/32 cert");
    setup.cluster.sql("postgres", "postgres", "CREATE DATABASE client");
    let report = checked_in(&setup, &directory, none, &["--as-client", "client"]);
    one(&report, "ok", "client-login");
}

/// libpq loads a library of the name that stands before the colon.
#[test]
fn b141_no_service_file_names_a_key_with_a_colon_in_its_path() {
    let (setup, directory) = two();
    let colon = directory.subdirectory("pg:client");
    let configuration = format!(
        "[workload_api]\nendpoint = '{}'\n[svid]\nspiffe_id = '{CLIENT}'\n[files]\ndirectory = '{}'\n",
        setup.agent.endpoint(),
        colon.display(),
    );
    let service = "[files.service]\nname = 'products'\noptions = { host = 'localhost' }\n";
    let run = |more: &str, command: &[&str]| {
        let configuration = format!("{configuration}{more}");
        let configuration = setup.other.write("client.toml", configuration, 0o644);
        let all = command[..1].iter().copied().chain(["--config"]);
        let all = all.chain([configuration.to_str().unwrap()]).chain(command[1..].iter().copied());
        let program = test_support::Program::spawn_as(Account::server(), PGSVID, all, &[]);
        program.wait_exit(test_support::LIMIT).code()
    };
    assert_eq!(run(service, &["fetch"]), Some(2));
    assert!(std::fs::read_dir(&colon).unwrap().next().is_none(), "nothing is published");
    // A server reads its files as they are; only libpq must not.
    assert_eq!(run("", &["fetch"]), Some(0));
    assert_eq!(run("", &["exec", "--env", "npgsql", "--", "true"]), Some(125));
}

/// pgsvid restores what is removed from the file that it publishes.
#[test]
fn b145_a_remedy_about_a_published_service_file_names_the_configuration() {
    let (setup, directory) = two();
    let options = ("localhost", "dbname = 'postgres'\nchannel_binding = 'require'");
    let report = checked_in(&setup, &directory, options, &[]);
    let fix = one(&report, "warning", "service-method")["fix"].as_str().unwrap().to_owned();
    assert!(fix.contains("files.service.options") && fix.contains("restart pgsvid"), "{fix}");
}
