//! What must not be applied is refused, and nothing has changed.

use test_support::Mode;

use crate::setup::{admin, bare, configure, publish, run, state};

const APPLY: [&str; 2] = ["apply", "--yes"];

#[test]
fn before_anything_is_published() {
    let setup = bare();
    configure(&setup, "", "");
    setup.cluster.start();
    let before = state(&setup);
    run(&setup, &APPLY).badly("nothing is published yet; run `pgsvid fetch`");
    assert_eq!(state(&setup), before);
}

#[test]
fn files_that_the_server_would_refuse() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let key = std::fs::canonicalize(setup.files.join("svid_key.pem")).unwrap();
    let mode =
        |mode| std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(mode));
    mode(0o644).unwrap();
    let before = state(&setup);
    run(&setup, &APPLY).badly("PostgreSQL would refuse the published files");
    assert_eq!(state(&setup), before);
    mode(0o600).unwrap();
    run(&setup, &APPLY).well();
}

#[test]
fn files_that_the_server_cannot_see() {
    let setup = bare();
    configure(&setup, "seen_as = \"/nowhere\"", "");
    publish(&setup);
    setup.cluster.start();
    run(&setup, &APPLY).badly("it cannot find /nowhere/svid.pem");
}

#[test]
fn by_somebody_without_the_power() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "CREATE ROLE weak LOGIN");
    let before = state(&setup);
    let name = test_support::Account::server().name();
    setup.cluster.set_hba("local all weak peer map=weak\nlocal all all peer");
    setup.cluster.set_ident(&format!("weak {name} weak"));
    setup.cluster.sighup();
    let said = run(&setup, &["apply", "--yes", "--superuser", "weak"]);
    said.badly("role weak is not a superuser; name one: --superuser postgres");
    run(&setup, &["apply", "--yes", "--superuser", "nobody-of-that-name"])
        .badly("sudo -u postgres");
    assert_eq!(state(&setup)[2..], before[2..]);
    setup.cluster.stop(Mode::Fast);
    run(&setup, &APPLY).badly("PostgreSQL is not running");
}

#[test]
fn over_a_block_that_somebody_has_damaged() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    run(&setup, &["apply", "--hba", "--yes"]).well();
    let path = setup.cluster.data_directory().join("pg_hba.conf");
    let text = std::fs::read_to_string(&path).unwrap();
    setup.cluster.set_hba(&text.replace("# END pgsvid setup", ""));
    let before = state(&setup);
    run(&setup, &["apply", "--hba", "--yes"]).badly("fix or remove them by hand");
    run(&setup, &["revert", "--yes"]).badly("fix or remove them by hand");
    assert_eq!(state(&setup), before);
}
