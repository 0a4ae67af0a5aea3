//! B16: rights that are equivalent to a superuser's.

use test_support::Account;

use crate::judged::{admin, check, found, one, paste, reload, started_with};

#[test]
fn b16_rights_that_are_as_good_as_a_superusers_are_reported_and_the_remedy_ends_it() {
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
fn b69_what_was_put_into_pg_catalog_is_reported_before_it_can_run_and_the_remedy_removes_it() {
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

/// What a right lets its holder do counts, and not the name of the function, nor a line in its list of grants.
#[test]
fn b93_what_a_right_does_counts_and_not_its_name_and_the_remedy_ends_it() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(&setup, "CREATE SCHEMA util; GRANT USAGE ON SCHEMA util TO PUBLIC");
    let target = setup.cluster.data_directory().join("owned.txt");
    let export = |function: &str| {
        let file = target.display();
        let statement = format!(
            "SELECT lo_from_bytea(777001, 'owned'); SELECT {function}(777001, '{file}'); SELECT lo_unlink(777001)"
        );
        setup.cluster.sql("pgsvid", "postgres", &statement);
        assert_eq!(std::fs::read(&target).unwrap(), b"owned", "{function}");
        std::fs::remove_file(&target).unwrap();
    };
    // A name, the statement, and whether it is a function that writes a file.
    let mut ways = vec![
        ("ALTER FUNCTION lo_export(oid, text) OWNER TO pgsvid", Some("lo_export")),
        (
            "CREATE FUNCTION util.export(oid, text) RETURNS int LANGUAGE internal STRICT AS 'be_lo_export'",
            Some("util.export"),
        ),
        ("ALTER SCHEMA pg_catalog OWNER TO pgsvid", None),
        (
            "CREATE FUNCTION util.query(text, boolean, boolean, text) RETURNS xml LANGUAGE internal SECURITY DEFINER \
             AS 'query_to_xml'",
            None,
        ),
        ("CREATE EXTENSION dblink; ALTER FUNCTION dblink_exec(text, text) SECURITY DEFINER", None),
        ("UPDATE pg_language SET lanpltrusted = true WHERE lanname = 'c'", None),
    ];
    if setup.cluster.version() >= 15 {
        ways.extend([
            ("GRANT ALTER SYSTEM ON PARAMETER plperl.on_init TO pgsvid", None),
            ("GRANT ALTER SYSTEM ON PARAMETER primary_conninfo TO pgsvid", None),
            ("GRANT SET ON PARAMETER pltclu.start_proc TO pgsvid", None),
            ("GRANT SET ON PARAMETER pljava.classpath TO PUBLIC", None),
        ]);
    }
    let told = |report: &serde_json::Value| found(report, "warning", "own-role-superuser").len();
    assert_eq!(told(&check(&setup, &[])), 0);
    for (statement, exports) in ways {
        admin(&setup, statement);
        if let Some(function) = exports {
            export(function);
        }
        let report = check(&setup, &[]);
        assert_eq!(told(&report), 1, "{statement}: {report:#}");
        paste(one(&report, "warning", "own-role-superuser"));
        let report = check(&setup, &[]);
        assert_eq!(told(&report), 0, "{statement}: {report:#}");
    }
    // What is not of this kind.
    admin(
        &setup,
        "CREATE FUNCTION util.size(text) RETURNS bigint LANGUAGE internal AS 'textlen'; ALTER FUNCTION util.size OWNER TO pgsvid",
    );
    assert_eq!(told(&check(&setup, &[])), 0);
}

/// The server logs in to itself, and `peer` lets its user in as a superuser.
#[test]
fn b94_a_user_mapping_that_leads_back_as_a_superuser_is_reported_and_the_remedy_ends_it() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let (socket, port) = (setup.cluster.socket_directory().display(), setup.cluster.port());
    let postgres = Account::server().name();
    setup.cluster.set_hba(&format!(
        "local postgres pgsvid peer map=pgsvid\nlocal all {postgres} trust\nlocal all all peer"
    ));
    reload(&setup);
    admin(
        &setup,
        &format!(
            "CREATE EXTENSION postgres_fdw; CREATE SCHEMA util AUTHORIZATION pgsvid; \
             CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{socket}', port '{port}', dbname 'postgres'); \
             CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'db.example.org', dbname 'postgres'); \
             GRANT USAGE ON FOREIGN SERVER loop, far TO pgsvid"
        ),
    );
    let told = |report: &serde_json::Value| found(report, "warning", "own-role-superuser").len();
    assert_eq!(told(&check(&setup, &[])), 0);
    // What the attack is.
    admin(
        &setup,
        "CREATE USER MAPPING FOR pgsvid SERVER loop OPTIONS (user 'postgres', password_required 'false')",
    );
    setup.cluster.sql(
        "pgsvid",
        "postgres",
        "CREATE FOREIGN TABLE util.roles (rolname text, rolsuper bool) SERVER loop \
           OPTIONS (schema_name 'pg_catalog', table_name 'pg_authid'); \
         UPDATE util.roles SET rolsuper = true WHERE rolname = 'pgsvid'; DROP FOREIGN TABLE util.roles",
    );
    let is_superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = 'pgsvid'";
    assert_eq!(admin(&setup, is_superuser), "t");
    admin(&setup, "ALTER ROLE pgsvid NOSUPERUSER; DROP USER MAPPING FOR pgsvid SERVER loop");
    for (mapping, is_one) in [
        ("pgsvid SERVER loop OPTIONS (user 'postgres', password_required 'false')", true),
        ("pgsvid SERVER loop OPTIONS (password_required 'off')", true),
        ("pgsvid SERVER loop OPTIONS (user 'postgres', password 'x')", true),
        ("pgsvid SERVER loop OPTIONS (user 'app', password 'x')", false),
        ("pgsvid SERVER far OPTIONS (user 'postgres', password_required 'false')", false),
    ] {
        admin(&setup, &format!("CREATE USER MAPPING FOR {mapping}"));
        let report = check(&setup, &[]);
        assert_eq!(told(&report), usize::from(is_one), "{mapping}: {report:#}");
        if is_one {
            paste(one(&report, "warning", "own-role-superuser"));
            let report = check(&setup, &[]);
            assert_eq!(told(&report), 0, "{mapping}: {report:#}");
        }
        admin(
            &setup,
            "DROP USER MAPPING IF EXISTS FOR pgsvid SERVER loop; DROP USER MAPPING IF EXISTS FOR pgsvid SERVER far",
        );
    }
    // Everybody's mapping is hidden from a plain role: it does not count as well.
    admin(&setup, "CREATE USER MAPPING FOR PUBLIC SERVER loop OPTIONS (password_required 'false')");
    let report = check(&setup, &[]);
    assert_eq!(told(&report), 0, "{report:#}");
    one(&report, "skipped", "own-role-superuser");
    admin(&setup, "DROP USER MAPPING FOR PUBLIC SERVER loop");
    assert!(found(&check(&setup, &[]), "skipped", "own-role-superuser").is_empty());
}

/// libpq takes each of these for this machine's own address.
#[test]
fn b146_an_unusual_spelling_of_the_servers_own_address_is_seen() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(
        &setup,
        "CREATE EXTENSION postgres_fdw; \
         CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'db.example.org'); \
         GRANT USAGE ON FOREIGN SERVER loop TO pgsvid; \
         CREATE USER MAPPING FOR pgsvid SERVER loop OPTIONS (password_required 'off')",
    );
    for (host, is_own) in [
        ("LOCALHOST", true),
        ("ip6-localhost", true),
        ("0", true),
        ("2130706433", true),
        ("0x7f.1", true),
        ("0177.0.0.1", true),
        ("127.1", true),
        ("0:0:0:0:0:0:0:1", true),
        ("db.example.org,localhost", true),
        ("10.0.0.5", false),
        ("192.0.2.100", false),
        ("fd00::1", false),
        ("db0.example.org", false),
    ] {
        admin(&setup, &format!("ALTER SERVER loop OPTIONS (SET host '{host}')"));
        let report = check(&setup, &[]);
        let told = found(&report, "warning", "own-role-superuser").len();
        assert_eq!(told, usize::from(is_own), "{host}: {report:#}");
    }
}
