//! B16: rights that are equivalent to a superuser's.

use crate::judged::{admin, check, found, one, paste, started_with};

#[test]
fn b16_rights_that_are_as_good_as_a_superusers_are_told_and_the_remedy_ends_it() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(&setup, "CREATE ROLE grouped");
    let mut rights = vec![
        "EXECUTE ON FUNCTION lo_export(oid, text) TO pgsvid",
        "EXECUTE ON FUNCTION lo_import(text) TO pgsvid",
        "EXECUTE ON FUNCTION pg_read_file(text) TO pgsvid",
        "EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint) TO pgsvid",
        "EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC",
        "pg_execute_server_program TO pgsvid",
        "pg_write_server_files TO pgsvid",
    ];
    if setup.cluster.version() >= 15 {
        rights.extend([
            "ALTER SYSTEM ON PARAMETER archive_command TO pgsvid",
            "ALTER SYSTEM ON PARAMETER ssl_ca_file TO pgsvid",
            "ALTER SYSTEM ON PARAMETER log_directory TO PUBLIC",
            "SET ON PARAMETER session_preload_libraries TO pgsvid",
        ]);
    }
    let told = |report: &serde_json::Value| found(report, "warning", "own-role-superuser").len();
    assert_eq!(told(&check(&setup, &[])), 0);
    for right in rights {
        admin(&setup, &format!("GRANT {right}"));
        let report = check(&setup, &[]);
        paste(one(&report, "warning", "own-role-superuser"));
        let report = check(&setup, &[]);
        assert_eq!(told(&report), 0, "{right}: {report:#}");
    }
    // By a group.
    admin(
        &setup,
        "GRANT EXECUTE ON FUNCTION lo_export(oid, text) TO grouped; GRANT grouped TO pgsvid",
    );
    let report = check(&setup, &[]);
    let text = one(&report, "warning", "own-role-superuser")["text"].to_string();
    assert!(text.contains("membership in grouped"), "{text}");
    paste(one(&report, "warning", "own-role-superuser"));
    assert_eq!(told(&check(&setup, &[])), 0);
    // What is not of this kind.
    admin(&setup, "GRANT EXECUTE ON FUNCTION pg_ls_waldir() TO pgsvid");
    if setup.cluster.version() >= 15 {
        admin(&setup, "GRANT SET ON PARAMETER log_statement TO pgsvid");
        admin(&setup, "GRANT ALTER SYSTEM ON PARAMETER work_mem TO pgsvid");
    }
    assert_eq!(told(&check(&setup, &[])), 0);
}

/// A function in `pg_catalog` for the very types of an argument goes before PostgreSQL's own for any type, in everybody's sessions.
#[test]
fn b69_what_was_put_into_pg_catalog_is_told_before_it_can_run_and_the_remedy_removes_it() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(&setup, "CREATE TABLE public.ran (who text); GRANT INSERT ON public.ran TO PUBLIC");
    admin(
        &setup,
        "CREATE ROLE mallory; GRANT CREATE ON SCHEMA pg_catalog TO mallory; GRANT mallory TO pgsvid",
    );
    // The right alone.
    let report = check(&setup, &[]);
    paste(one(&report, "warning", "own-role-superuser"));
    admin(&setup, "GRANT CREATE ON SCHEMA pg_catalog TO pgsvid");
    paste(one(&check(&setup, &[]), "warning", "own-role-superuser"));
    assert!(found(&check(&setup, &[]), "warning", "own-role-superuser").is_empty());
    // And what was made by it.
    admin(
        &setup,
        "GRANT CREATE ON SCHEMA pg_catalog TO mallory; SET ROLE mallory; \
         CREATE FUNCTION pg_catalog.array_to_string(pg_catalog.text[], pg_catalog.text) RETURNS pg_catalog.text \
         LANGUAGE sql AS $$INSERT INTO public.ran VALUES (current_user); SELECT 'planted'$$; RESET ROLE",
    );
    let report = check(&setup, &["--user", "postgres"]);
    let planted = one(&report, "failure", "catalog-planted");
    assert_eq!(admin(&setup, "SELECT count(*) FROM public.ran"), "0", "{planted:#}");
    paste(planted);
    let report = check(&setup, &["--user", "postgres"]);
    assert!(found(&report, "failure", "catalog-planted").is_empty(), "{report:#}");
}

/// A logical slot loads any library as its plugin.
#[test]
fn b69_a_role_that_may_replicate_is_as_good_as_a_superuser_with_logical_slots() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(&setup, "ALTER ROLE pgsvid REPLICATION");
    assert!(found(&check(&setup, &[]), "warning", "own-role-superuser").is_empty());
    setup.cluster.set_conf("wal_level = 'logical'");
    setup.cluster.restart();
    paste(one(&check(&setup, &[]), "warning", "own-role-superuser"));
    assert!(found(&check(&setup, &[]), "warning", "own-role-superuser").is_empty());
}
