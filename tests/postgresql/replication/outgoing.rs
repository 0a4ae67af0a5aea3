//! Foreign servers, user mappings, and a Citus node, as `check` sees them. There is no Citus package here: an extension's stand-in has
//! its schema and its function.

use serde_json::Value;
use test_support::{Setup, eventually};

use super::{PGSVID, all_found, check, found, pair, paste};

const ADMIN: [&str; 2] = ["--user", "postgres"];

fn setup() -> (Setup, test_support::Pgsvid) {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all localhost 127.0.0.1/32 cert"))
        .create();
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE localhost LOGIN");
    (setup, pgsvid)
}

fn report(setup: &Setup, more: &[&str]) -> Value {
    check(&setup.arguments(), more)
}

#[test]
fn l12_foreign_servers_and_their_mappings_are_looked_at_as_clients() {
    let (setup, _pgsvid) = setup();
    let sql = |statement: &str| setup.cluster.sql("postgres", "postgres", statement);
    let files = setup.files.path().display().to_string();
    let port = setup.cluster.port();
    sql("CREATE TABLE t AS SELECT 7 AS n; GRANT SELECT ON t TO localhost; CREATE ROLE app LOGIN");
    sql("CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink");
    // Options of the wrapper itself are none of libpq's.
    sql(&format!(
        "CREATE SERVER strict FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'localhost', hostaddr '127.0.0.1', port '{port}', \
         dbname 'postgres', sslmode 'verify-full', sslrootcert '{files}/svid_bundle.pem', fetch_size '50')"
    ));
    sql(&format!(
        "CREATE USER MAPPING FOR postgres SERVER strict OPTIONS (user 'localhost', sslcert '{files}/svid.pem', sslkey '{files}/svid_key.pem')"
    ));
    sql("CREATE FOREIGN TABLE f (n int) SERVER strict OPTIONS (table_name 't')");
    assert_eq!(sql("SELECT n FROM f"), "7");
    let mapping = "user mapping of postgres for server strict";
    let strict = [pair("ok", "foreign server strict"), pair("ok", mapping)];
    let now = report(&setup, &ADMIN);
    assert_eq!(found(&now, "service-file"), strict, "{now:#}");
    // A mapping is the superusers' secret. The server's part is seen.
    let now = report(&setup, &[]);
    assert_eq!(found(&now, "connection-unseen"), [pair("skipped", "user mapping")]);
    assert_eq!(found(&now, "service-file"), [pair("ok", "foreign server strict")]);
    // The right to read all tables does not show the options of others' mappings.
    sql(
        "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader; GRANT EXECUTE ON FUNCTION pg_reload_conf() TO reader",
    );
    let name = test_support::Account::server().name().to_owned();
    let ident = format!("pgsvid {name} pgsvid\npgsvid {name} reader");
    setup.cluster.set_ident(&ident);
    setup.cluster.set_hba("local postgres pgsvid,reader peer map=pgsvid\nhostssl all localhost 127.0.0.1/32 cert\nlocal all all peer");
    setup.cluster.reload();
    eventually(test_support::LIMIT, "the reader's view is judged", || {
        let now = report(&setup, &["--user", "reader"]);
        found(&now, "connection-unseen").contains(&pair("skipped", "user mapping"))
    });

    // The paths of a generation, in both.
    let generation = std::fs::read_link(setup.files.join("..data")).unwrap();
    let generation = format!("{files}/{}", generation.display());
    sql(&format!("ALTER SERVER strict OPTIONS (SET sslrootcert '{generation}/svid_bundle.pem')"));
    let pinned = "connection-path-pinned";
    // Once, and not for the mapping, which cannot have that option.
    for more in [&[][..], &ADMIN] {
        let now = report(&setup, more);
        assert_eq!(found(&now, pinned), [pair("failure", "foreign server strict")], "{now:#}");
    }
    paste(&report(&setup, &ADMIN), pinned);
    assert!(found(&report(&setup, &[]), pinned).is_empty());
    sql(&format!(
        "ALTER USER MAPPING FOR postgres SERVER strict OPTIONS (SET sslcert '{generation}/svid.pem')"
    ));
    let now = report(&setup, &ADMIN);
    assert_eq!(found(&now, pinned), [pair("failure", mapping)]);
    paste(&now, pinned);
    assert_eq!(found(&report(&setup, &ADMIN), "service-file"), strict);
    assert_eq!(sql("SELECT n FROM f"), "7");

    // What is not strict, through dblink's wrapper; and a password is not shown.
    sql(&format!(
        "CREATE SERVER loose FOREIGN DATA WRAPPER dblink_fdw OPTIONS (host 'localhost', hostaddr '127.0.0.1', port '{port}', dbname 'postgres', \
         sslcert '{files}/svid.pem', sslkey '{files}/svid_key.pem', sslrootcert '{files}/svid_bundle.pem')"
    ));
    sql(
        "CREATE USER MAPPING FOR PUBLIC SERVER loose OPTIONS (user 'localhost', password 'geheim')",
    );
    assert_eq!(sql("SELECT n FROM dblink('loose', 'SELECT n FROM t') AS d (n int)"), "7");
    let now = report(&setup, &ADMIN);
    let not_strict = found(&now, "sslmode-not-strict");
    assert_eq!(not_strict, [pair("failure", "foreign server loose")], "{now:#}");
    sql("ALTER SERVER loose OPTIONS (ADD sslmode 'require')");
    let now = report(&setup, &ADMIN);
    assert_eq!(found(&now, "sslmode-server-unproven"), [pair("warning", "foreign server loose")]);
    // A mapping that names files while its server names none: the mode is the server's option.
    sql(
        "CREATE SERVER bare FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'localhost', dbname 'postgres')",
    );
    sql(&format!(
        "CREATE USER MAPPING FOR postgres SERVER bare OPTIONS (user 'localhost', sslcert '{files}/svid.pem', sslkey '{files}/svid_key.pem')"
    ));
    let now = report(&setup, &ADMIN);
    assert_eq!(
        found(&now, "sslmode-not-strict"),
        [pair("failure", "user mapping of postgres for server bare")]
    );
    let fix = all_found(&now, "sslmode-not-strict")[0]["fix"].as_str().unwrap().to_owned();
    assert!(fix.contains("foreign server bare") && !fix.contains("mapping"), "{fix}");
    sql("DROP SERVER bare CASCADE");
    assert!(!now.to_string().contains("geheim"), "{now:#}");
    // A view that an administrator has closed is no all-clear, and the rest is examined.
    sql("REVOKE SELECT ON pg_foreign_server FROM PUBLIC");
    let now = report(&setup, &[]);
    assert_eq!(found(&now, "connection-unseen"), [pair("skipped", "")]);
    assert!(!found(&now, "reload-privilege").is_empty());
    assert!(found(&now, "superuser-over-socket").iter().all(|(severity, _)| severity != "ok"));
    assert_eq!(found(&now, "own-role-superuser"), [pair("skipped", "")]);
    sql("GRANT SELECT ON pg_foreign_server TO PUBLIC");
    // Servers that name no certificate are not reported.
    sql("DROP SERVER loose CASCADE; DROP SERVER strict CASCADE");
    sql("CREATE SERVER plain FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'localhost')");
    assert!(!report(&setup, &ADMIN).to_string().contains("foreign server"));
}

/// Makes the extension's row and its function.
const STAND_IN: &str = "SET allow_system_table_mods = on; \
    INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) \
    VALUES (99999, 'citus', 10, 11, false, '13.2'); \
    CREATE FUNCTION pg_catalog.citus_check_cluster_node_health(OUT from_nodename text, OUT from_nodeport int, OUT to_nodename text, \
        OUT to_nodeport int, OUT result bool) RETURNS SETOF record LANGUAGE sql AS \
    $$ SELECT a, 5432, b, 5432, w FROM public.health AS h (a, b, w) $$";

#[test]
fn l13_citus_nodes_that_do_not_reach_each_other_are_found() {
    let (setup, _pgsvid) = setup();
    let sql = |statement: &str| setup.cluster.sql("postgres", "postgres", statement);
    let codes = |more: &[&str]| found(&report(&setup, more), "citus-nodes");
    assert!(codes(&ADMIN).is_empty());
    sql(
        "CREATE TABLE health (a text, b text, w bool); INSERT INTO health VALUES ('one', 'two', true), ('two', 'one', true)",
    );
    sql(STAND_IN);
    // A function of that name that is not the extension's is not called.
    assert!(codes(&ADMIN).is_empty());
    sql("SET allow_system_table_mods = on; INSERT INTO pg_depend VALUES ('pg_proc'::regclass, \
         'pg_catalog.citus_check_cluster_node_health'::regproc, 0, 'pg_extension'::regclass, 99999, 0, 'e')");
    sql("GRANT SELECT ON health TO pgsvid");
    for more in [&ADMIN[..], &[]] {
        assert_eq!(codes(more), [pair("ok", "")]);
    }
    // Its setting is the superusers' alone.
    let unseen = |more: &[&str]| found(&report(&setup, more), "connection-unseen");
    assert_eq!(unseen(&[]), [pair("skipped", "citus.node_conninfo")]);
    assert!(unseen(&ADMIN).is_empty());
    // A coordinator that has no nodes proves nothing.
    sql("CREATE TABLE kept AS SELECT * FROM health; DELETE FROM health");
    assert_eq!(codes(&ADMIN), [pair("skipped", "")]);
    sql("INSERT INTO health SELECT * FROM kept");
    // NULL is Citus's answer for a node that it could not reach.
    sql("UPDATE health SET w = NULL WHERE a = 'two'");
    let now = report(&setup, &ADMIN);
    assert_eq!(found(&now, "citus-nodes"), [pair("failure", "")]);
    let text = all_found(&now, "citus-nodes")[0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("two:5432 to one:5432"), "{text}");
    sql("REVOKE EXECUTE ON FUNCTION pg_catalog.citus_check_cluster_node_health() FROM PUBLIC");
    eventually(test_support::LIMIT, "the role is told", || codes(&[]) == [pair("skipped", "")]);
    // An error is no all-clear.
    sql("DROP TABLE health");
    assert_eq!(codes(&ADMIN), [pair("skipped", "")]);
    // A node that does not answer at all: Citus waits longer for it than pgsvid does.
    sql(
        "CREATE VIEW health AS SELECT 'one'::text AS a, 'two'::text AS b, pg_sleep(60) IS NULL AS w",
    );
    let now = report(&setup, &ADMIN);
    assert_eq!(found(&now, "citus-nodes"), [pair("failure", "")]);
    assert!(all_found(&now, "citus-nodes")[0]["cause"].is_string(), "{now:#}");
}
