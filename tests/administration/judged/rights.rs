//! B16: rights by which a role is as good as a superuser.

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
