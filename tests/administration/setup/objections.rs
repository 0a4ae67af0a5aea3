//! PostgreSQL refuses what was applied: everything is restored.

use crate::setup::{admin, bare, configure, publish, run, serve_own_files, state, with_cluster};

#[test]
fn tls_files_that_are_not_served_put_the_settings_back() {
    // The published files are right; something else keeps PostgreSQL from turning TLS on.
    let setup = with_cluster(|cluster| cluster.conf("ssl_crl_file = '/nowhere/crl.pem'"));
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "ALTER SYSTEM SET ssl_cert_file = 'mine.pem'");
    let before = state(&setup);
    let said = run(&setup, &["apply", "--yes"]).badly("the settings have their old values again");
    assert!(said.contains("TLS"), "{said}");
    let after = state(&setup);
    assert_eq!(after[2], before[2]);
    setup.cluster.restart();
    // Role and grant are there, and can be taken back.
    run(&setup, &["revert", "--yes"]).well();
    assert_eq!(state(&setup)[..5], before[..5]);
}

#[test]
fn a_map_that_does_not_compile_is_never_read() {
    let setup = bare();
    configure(&setup, "ident_lines = [\"names /^(unclosed$ \\\\1\"]", "");
    publish(&setup);
    setup.cluster.start();
    run(&setup, &["apply", "--yes"]).well();
    let before = state(&setup);
    if setup.cluster.version() < 15 {
        // PostgreSQL 14 has no view of the map.
        return;
    }
    let said =
        run(&setup, &["apply", "--hba", "--yes"]).badly("PostgreSQL objects: pg_ident.conf line");
    assert!(said.contains("regular expression"), "{said}");
    assert_eq!(state(&setup), before);
}

#[test]
fn lines_that_need_tls_are_not_written_where_it_is_off() {
    let setup = with_cluster(|cluster| cluster.arg("-c", "ssl=off"));
    let role = "[[roles]]\nspiffe_id = \"spiffe://example.org/x\"\nrole = \"app\"\nby = \"uid\"\n";
    configure(&setup, "", role);
    publish(&setup);
    setup.cluster.start();
    let before = state(&setup);
    let said =
        run(&setup, &["apply", "--hba", "--yes"]).badly("PostgreSQL objects: pg_hba.conf line");
    assert!(said.contains("SSL"), "{said}");
    assert_eq!(state(&setup)[..3], before[..3]);
}

/// Such a line was right before PostgreSQL 14; its view shows it without any column.
#[test]
fn f10_a_line_that_is_wrong_already_is_reported_before_anything_is_changed() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    serve_own_files(&setup);
    setup.cluster.start();
    setup
        .cluster
        .set_hba("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=1\nlocal all all peer");
    let before = state(&setup);
    let said = run(&setup, &["apply", "--hba", "--yes"]).badly("already: fix it first");
    assert!(said.contains("pg_hba.conf line 2") && said.contains("verify-ca"), "{said}");
    assert_eq!(state(&setup), before);
}

#[test]
fn a_file_that_is_wrong_already_is_not_touched() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    setup.cluster.set_hba("local all all peer\nhost all all nonsense");
    let before = state(&setup);
    let said = run(&setup, &["apply", "--hba", "--yes"]).badly("already: fix it first");
    assert!(said.contains("pg_hba.conf line 3 is wrong"), "{said}");
    assert_eq!(state(&setup)[..2], before[..2]);
}
