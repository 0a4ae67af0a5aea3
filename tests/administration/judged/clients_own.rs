//! N63, N64, F71: what `check` says with the configuration of a client, which has an identity of its own.

use std::process::Command;

use dev_agent::Entry;
use serde_json::Value;
use test_support::{Account, Directory, Setup};

use crate::judged::{PGSVID, found, one, started_with};

const CLIENT: &str = "spiffe://example.org/ns/test/sa/client";

/// What `check` says for a client that connects to this name, and has published its set.
fn checked(setup: &Setup, directory: &Directory, host: &str, more: &[&str]) -> Value {
    let configuration = format!(
        "[workload_api]\nendpoint = '{}'\n[svid]\nspiffe_id = '{CLIENT}'\n[files]\ndirectory = '{}'\n[files.service]\nname = \
         'products'\n[files.service.options]\nhost = '{host}'\nhostaddr = '127.0.0.1'\nport = {}\nuser = 'client'\ndbname = 'postgres'\n",
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
