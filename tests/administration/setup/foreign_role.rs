//! A35: somebody who may create roles has created the role before `setup apply` gives it rights; and there are more roles
//! than an answer may have.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use test_support::Account;

use crate::setup::{admin, bare, configure, publish, run};

/// The commands that the notes about the role print.
fn remedies(plan: &str) -> Vec<&str> {
    plan.lines()
        .filter(|line| line.starts_with("  note     role pgsvid exists already"))
        .map(|line| line.split_once("if that is not intended: ").unwrap().1)
        .collect()
}

/// Runs a command as it was printed, as the user that may be the superuser.
fn paste(command: &str) {
    let account = Account::server();
    let output = Command::new("bash")
        .args(["-c", command])
        .uid(account.uid())
        .gid(account.gid())
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
}

#[test]
fn a35_a_role_that_somebody_else_has_created_is_reported_before_it_gets_rights() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    admin(
        &setup.cluster,
        "CREATE ROLE \"Creator x\" LOGIN CREATEROLE; SET ROLE \"Creator x\"; \
         CREATE ROLE pgsvid LOGIN CREATEROLE PASSWORD 'mine'; CREATE ROLE theirs; RESET ROLE; \
         GRANT pgsvid TO \"Creator x\"; GRANT theirs TO pgsvid; ALTER ROLE pgsvid REPLICATION",
    );
    let plan = || run(&setup, &["apply", "--dry-run"]).well();
    let shown = plan();
    for words in [
        "has CREATEROLE, REPLICATION, which pgsvid does not need",
        "has a password, with which others may log in as it",
        "is a member of theirs",
        "has the members Creator x, who get all of its grants",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let found = remedies(&shown);
    assert_eq!(found.len(), 4, "{shown}");
    found.into_iter().for_each(paste);
    assert_eq!(remedies(&plan()), [""; 0]);
    run(&setup, &["apply", "--yes"]).well();
    assert_eq!(remedies(&plan()), [""; 0]);
}

#[test]
fn a35_a_password_that_is_configured_is_no_surprise() {
    let setup = bare();
    let password = setup.other.write("password", "mine", 0o600);
    configure(&setup, "", "");
    setup.configure(&format!("[postgres]\npassword_file = '{}'", password.display()));
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "CREATE ROLE pgsvid LOGIN PASSWORD 'mine'");
    let shown = run(&setup, &["apply", "--dry-run"]).well();
    assert_eq!(remedies(&shown), [""; 0], "{shown}");
}

#[test]
fn what_a_role_needs_to_end_sessions_is_no_surprise_if_it_is_to_end_them() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let grant = "CREATE ROLE pgsvid LOGIN; GRANT pg_read_all_stats, pg_signal_backend TO pgsvid";
    admin(&setup.cluster, grant);
    let plan = || run(&setup, &["apply", "--dry-run"]).well();
    assert_eq!(remedies(&plan()).len(), 1);
    setup.configure("[postgres]\nclient_svid_life = '1h'\nend_sessions = 'after 10m'");
    assert_eq!(remedies(&plan()), [""; 0]);
}

#[test]
fn a37_a_server_with_any_number_of_roles_can_be_set_up() {
    let setup = bare();
    configure(
        &setup,
        "",
        "[[roles]]\nspiffe_id = \"spiffe://example.org/x\"\nrole = \"r7\"\ncn = \"x\"",
    );
    publish(&setup);
    setup.cluster.start();
    admin(
        &setup.cluster,
        "SET allow_system_table_mods = on; \
         INSERT INTO pg_authid SELECT (100000 + n)::oid, 'r' || n, n <= 1000, true, false, false, true, false, false, -1 \
         FROM generate_series(1, 210000) AS n",
    );
    run(&setup, &["apply", "--yes"]).well();
    run(&setup, &["revert", "--yes"]).well();
}
