//! What the owner of a database, or a role with foreign servers, has prepared for an administrator who pastes what is printed.

use test_support::Setup;

use super::{PGSVID, Parts, all_found, check, paste};

const ADMIN: [&str; 2] = ["--user", "postgres"];

/// A server with the role eve, which owns the database shop.
fn started() -> (Setup, test_support::Pgsvid) {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let sql = |statement: &str| setup.cluster.sql("postgres", "postgres", statement);
    sql("CREATE ROLE eve LOGIN");
    sql("CREATE DATABASE shop OWNER eve");
    (setup, pgsvid)
}

fn is_superuser(setup: &Setup, role: &str) -> bool {
    let query = format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'");
    setup.cluster.sql("postgres", "postgres", &query) == "t"
}

#[test]
fn b116_the_printed_sql_of_a_publication_runs_no_operator_of_the_databases_owner() {
    let (setup, _pgsvid) = started();
    let eve = |statement: &str| {
        let statement = format!("SET SESSION AUTHORIZATION eve; {statement}");
        setup.cluster.sql("postgres", "shop", &statement)
    };
    eve("CREATE TABLE t (a int); CREATE PUBLICATION sales FOR TABLE t; CREATE SCHEMA evil");
    eve("CREATE FUNCTION evil.eq(name, name) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN \
         IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN ALTER ROLE eve SUPERUSER; END IF; \
         RETURN $1 OPERATOR(pg_catalog.=) $2; END $$");
    eve("CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.eq)");
    eve("ALTER DATABASE shop SET search_path = evil, pg_catalog");
    let more = ["--publication", "sales", "--publication-database", "shop"];
    let parts = Parts::print(&setup.arguments(), &setup.cluster, "reports.example.org", &more);
    let script = parts.of("On the primary, in psql as a superuser");
    setup.cluster.sql("postgres", "postgres", &script);
    assert!(!is_superuser(&setup, "eve"));
    let grants = "SELECT count(*) FROM information_schema.role_table_grants WHERE table_name = 't' AND privilege_type = 'SELECT' \
         AND grantee <> 'eve'";
    assert_eq!(setup.cluster.sql("postgres", "shop", grants), "1", "{script}");
}

#[test]
fn b116_an_encoding_of_the_databases_owner_ends_no_literal_of_a_printed_statement() {
    let (setup, _pgsvid) = started();
    let sql = |statement: &str| setup.cluster.sql("postgres", "shop", statement);
    let grant = "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO pgsvid";
    sql(&format!(
        "CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO eve; {grant}"
    ));
    let files = setup.files.path().display().to_string();
    // In SJIS the last byte of this letter and the backslash behind it are one letter.
    sql(&format!(
        "SET SESSION AUTHORIZATION eve; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h', dbname 'd', \
         sslmode 'verify-full', sslrootcert '{files}/svid_bundle.pem', sslkey '{files}/..v1/y', \
         sslcert E'{files}/..v1/\\u00c1\\\\''); CREATE ROLE planted SUPERUSER; --')"
    ));
    sql("ALTER DATABASE shop SET client_encoding = 'SJIS'");
    sql("ALTER DATABASE shop SET backslash_quote = 'on'");
    let usual = setup.arguments();
    let report = check(&usual, &[&ADMIN[..], &["--database", "shop"]].concat());
    assert!(!all_found(&report, "connection-path-pinned").is_empty(), "{report:#}");
    paste(&report, "connection-path-pinned");
    assert!(!is_superuser(&setup, "planted"));
}

/// Any role with USAGE on the wrapper may name any file.
#[test]
fn b118_no_command_is_printed_for_a_file_of_roots_that_a_foreign_server_names_as_a_key() {
    let (setup, _pgsvid) = started();
    let file = setup.other.write_owned("library.so", "code", 0o644, 0, 0);
    let named = file.display();
    let statement = format!(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h', sslmode 'verify-full', \
         sslrootcert '{0}/svid_bundle.pem', sslcert '{0}/svid.pem', sslkey '{named}')",
        setup.files.path().display()
    );
    setup.cluster.sql("postgres", "postgres", &statement);
    let report = check(&setup.arguments(), &ADMIN);
    let [finding] = all_found(&report, "client-key-mode")[..] else { panic!("{report:#}") };
    assert!(!finding["fix"].as_str().unwrap().contains("chmod"), "{finding:#}");
}

#[test]
fn b120_one_foreign_server_does_not_bury_the_other_findings() {
    let (setup, _pgsvid) = started();
    let hosts = vec!["/nowhere"; 2000].join(",");
    let statement = format!(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{hosts}', \
         sslcert '{0}/svid.pem', sslkey '{0}/svid_key.pem')",
        setup.files.path().display()
    );
    setup.cluster.sql("postgres", "postgres", &statement);
    let report = check(&setup.arguments(), &ADMIN);
    let sections = report["sections"].as_array().unwrap().iter();
    let findings: usize = sections.map(|it| it["findings"].as_array().unwrap().len()).sum();
    assert!(findings < 60, "{findings}");
    // The worst ones are shown, and that there are more.
    assert!(!all_found(&report, "sslmode-not-strict").is_empty(), "{report:#}");
    assert!(!all_found(&report, "connection-unseen").is_empty(), "{report:#}");
}

#[test]
fn b132_hundreds_of_foreign_servers_do_not_bury_the_other_findings() {
    let (setup, _pgsvid) = started();
    let sql = |statement: &str| setup.cluster.sql("postgres", "postgres", statement);
    sql(
        "CREATE ROLE maker; CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO maker",
    );
    sql(
        "SET ROLE maker; DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE SERVER s%s FOREIGN DATA WRAPPER postgres_fdw \
         OPTIONS (host %L, sslmode ''verify-full'', sslcert ''/nx/c'', sslkey ''/nx/k'', sslrootcert ''/nx/r'')', i, '/nx0,/nx1'); \
         END LOOP; END $$",
    );
    let report = check(&setup.arguments(), &ADMIN);
    let sections = report["sections"].as_array().unwrap();
    let findings = || sections.iter().flat_map(|it| it["findings"].as_array().unwrap());
    assert!(findings().count() < 80, "{}", findings().count());
    let rest: u64 = findings().filter_map(|it| it["stands_for"].as_u64()).sum();
    assert!(rest > 600, "{rest}");
    // Each is counted.
    let failures = report["summary"]["failure"].as_u64().unwrap();
    assert!(failures > 300, "{failures}");
}
