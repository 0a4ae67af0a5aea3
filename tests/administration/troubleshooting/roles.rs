//! Symptoms of the role that reloads.

use test_support::Mode;

use crate::troubleshooting::{admin, check, setup, started, symptom};

#[test]
fn the_role_cannot_do_its_work() {
    let setup = setup();
    started(&setup);
    let cluster = &setup.cluster;
    let refused = |role: &str, database: &str| {
        cluster.try_sql(role, database, "SELECT pg_reload_conf()").unwrap_err()
    };

    admin(cluster, "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid");
    symptom("permission denied for function pg_reload_conf", &refused("pgsvid", "postgres"));
    check(&setup, &[]).fails("reload-privilege");

    admin(cluster, "ALTER ROLE pgsvid CONNECTION LIMIT 0");
    symptom("too many connections for role", &refused("pgsvid", "postgres"));
    check(&setup, &[]).fails("connection-slots");

    admin(cluster, "ALTER ROLE pgsvid NOLOGIN");
    symptom("is not permitted to log in", &refused("pgsvid", "postgres"));
    check(&setup, &[]).fails("role-login-refused");

    admin(cluster, "DROP ROLE pgsvid");
    symptom("role \"pgsvid\" does not exist", &refused("pgsvid", "postgres"));
    check(&setup, &[]).fails("role-login-refused");

    symptom("Peer authentication failed for user", &refused("app", "postgres"));
    check(&setup, &["--user", "app"]).fails("role-login-refused");

    symptom("database \"nowhere\" does not exist", &refused("postgres", "nowhere"));
    let checked = check(&setup, &["--user", "postgres", "--database", "nowhere"]);
    checked.fails("database-missing");

    cluster.stop(Mode::Fast);
    symptom("No such file or directory", &refused("postgres", "postgres"));
    check(&setup, &[]).fails("postgresql-not-running");
}

#[test]
fn the_grant_is_in_another_database() {
    let setup = setup();
    started(&setup);
    admin(&setup.cluster, "CREATE DATABASE products");
    setup.cluster.set_hba("local all pgsvid peer map=pgsvid");
    crate::troubleshooting::reload(&setup.cluster);
    let said = setup.cluster.try_sql("pgsvid", "products", "SELECT pg_reload_conf()").unwrap_err();
    symptom("permission denied for function pg_reload_conf", &said);
    check(&setup, &["--database", "products"]).fails("reload-privilege");
}

#[test]
fn another_user_listens_on_the_socket() {
    let setup = setup();
    started(&setup);
    let require = |user: &str| setup.configure(&format!("[postgres]\nrequire_peer = '{user}'"));
    require("root");
    let checked = check(&setup, &[]);
    let words = "listens on PostgreSQL's socket, and that is not PostgreSQL's user";
    checked.fails("socket-of-other-user");
    symptom(words, &checked.report.to_string());
    // The remedy names the user that listens.
    let remedy = checked.finding("failure", words)["fix"].as_str().unwrap().to_owned();
    let (_, rest) = remedy.split_once("require_peer = \"").unwrap();
    require(rest.split('"').next().unwrap());
    check(&setup, &[]).finding("ok", "reload-privilege");
}
