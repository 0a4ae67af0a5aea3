//! Symptoms of clients that are let in or kept out by `pg_hba.conf` and `pg_ident.conf`.

use dev_agent::Entry;
use test_support::{Directory, LIMIT, Psql, Setup};

use crate::troubleshooting::{BINARY, admin, check, client, hba, reload, setup, started, symptom};

const CLIENT: [&str; 2] = ["--as-client", "app"];

#[test]
fn logins_that_are_refused() {
    let setup = setup();
    started(&setup);
    let cluster = &setup.cluster;
    let psql = || client(cluster, setup.files.path(), "app", "").run().stderr;

    let mark = cluster.log_mark();
    hba(cluster, "hostssl all all 127.0.0.1/32 cert");
    symptom("certificate authentication failed for user", &psql());
    let words = "do not match";
    symptom("and authenticated user name", &cluster.wait_for_log(mark, LIMIT, words));
    let checked = check(&setup, &CLIENT);
    checked.fails("login-name-differs");
    let none = Psql::new()
        .arg("-w")
        .arg(format!(
            "host=127.0.0.1 port={} user=app dbname=postgres sslmode=require",
            cluster.port()
        ))
        .run();
    symptom("connection requires a valid client certificate", &none.stderr);

    hba(cluster, "hostssl all all 127.0.0.1/32 cert map=spiffe");
    let mark = cluster.log_mark();
    symptom("certificate authentication failed for user", &psql());
    symptom("no match in usermap", &cluster.wait_for_log(mark, LIMIT, "no match in usermap"));
    check(&setup, &CLIENT).fails("ident-map-missing");

    hba(cluster, "hostssl products all 127.0.0.1/32 cert");
    symptom("no pg_hba.conf entry for host", &psql());
    check(&setup, &CLIENT).fails("login-line-missing");

    hba(cluster, "host all all all reject\nhostssl all all all cert");
    symptom("pg_hba.conf rejects connection for host", &psql());
    let checked = check(&setup, &CLIENT);
    checked.fails("login-other-line");
    checked.fails("hba-line-never-reached");

    hba(cluster, "host all all all scram-sha-256\nhostssl all all all cert");
    symptom("fe_sendauth: no password supplied", &psql());
    let checked = check(&setup, &CLIENT);
    checked.fails("login-password");
    checked.fails("hba-line-never-reached");
    checked.warns("hba-without-certificate");
}

#[test]
fn roles_that_may_not_what_a_line_lets_them() {
    let setup = setup();
    started(&setup);
    let psql = |more: &str| client(&setup.cluster, setup.files.path(), "app", more).run().stderr;
    hba(&setup.cluster, "hostssl all app 127.0.0.1/32 cert map=spiffe");
    setup.cluster.set_ident("spiffe localhost app");
    admin(&setup.cluster, "ALTER ROLE app NOLOGIN");
    reload(&setup.cluster);
    symptom("role \"app\" is not permitted to log in", &psql(""));
    check(&setup, &CLIENT).fails("role-without-login");
    admin(&setup.cluster, "ALTER ROLE app LOGIN");
    hba(&setup.cluster, "hostssl replication app 127.0.0.1/32 cert map=spiffe");
    let words = if setup.cluster.version() >= 16 {
        "permission denied to start WAL sender"
    } else {
        "must be superuser or replication role to start walsender"
    };
    symptom(words, &psql("replication=true"));
    check(&setup, &CLIENT).fails("connect-privilege");
}

#[test]
fn errors_in_the_files() {
    let setup = setup();
    started(&setup);
    let mark = setup.cluster.log_mark();
    setup.cluster.set_hba("hostssl all all all certificate\nlocal all all peer");
    setup.cluster.sighup();
    let words = "invalid authentication method";
    symptom(words, &setup.cluster.wait_for_log(mark, LIMIT, words));
    check(&setup, &["--user", "postgres"]).fails("hba-line-wrong");
}

#[test]
fn a_change_that_was_not_read() {
    let setup = Setup::builder(BINARY)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert map=spiffe"))
        .create();
    started(&setup);
    setup.cluster.set_ident("spiffe localhost app");
    let said = client(&setup.cluster, setup.files.path(), "app", "").run().stderr;
    symptom("certificate authentication failed for user", &said);
    check(&setup, &CLIENT).fails("login-files-not-loaded");
}

#[test]
fn anybody_is_let_in() {
    let setup = setup();
    started(&setup);
    let cluster = &setup.cluster;
    hba(cluster, "host all all all trust");
    let connection =
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", cluster.port());
    let output = Psql::new().arg(connection).script("SELECT current_user").run();
    assert_eq!(output.stdout, "postgres", "{output:?}");
    let words = "Clients log in as any role, without a certificate";
    symptom(words, words);
    check(&setup, &[]).fails("hba-any-role");

    let stranger = setup.agent.issue(&Entry::new("spiffe://example.org/stranger")).unwrap();
    let directory = Directory::new();
    directory.write("svid.pem", stranger.chain_pem(), 0o644);
    directory.write("svid_key.pem", stranger.key_pem(), 0o600);
    directory.write("svid_bundle.pem", stranger.bundle_pem(), 0o644);
    for (user, cause) in [
        ("\"O=SPIRE,C=US\"", "ident-map-admits-all"),
        ("\"/^.*$\"", "ident-map-admits-all"),
        // Whatever needs care in SQL reaches the server's engine as it is.
        ("\"/^(o'neill|\\w+=.*)$\"", "ident-map-admits-all"),
    ] {
        cluster.set_ident(&format!(
            "pgsvid {} pgsvid\nspiffe {user} app",
            test_support::Account::server().name()
        ));
        hba(cluster, "hostssl all all all cert clientname=DN map=spiffe");
        let output = client(cluster, directory.path(), "app", "").run();
        assert_eq!(output.stdout, "1", "{output:?}");
        let words = "A workload without a line of its own logs in as a role";
        symptom(words, words);
        check(&setup, &[]).fails(cause);
    }
    cluster.set_ident(&format!(
        "pgsvid {} pgsvid\nspiffe /CN=local app",
        test_support::Account::server().name()
    ));
    check(&setup, &[]).warns("ident-expression-loose");
}

#[test]
fn no_dns_name() {
    let setup = Setup::builder(BINARY)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    setup.agent.set_entries([Entry::new(Setup::SPIFFE_ID)]).unwrap();
    started(&setup);
    let psql = |more| client(&setup.cluster, setup.files.path(), "app", more).run().stderr;
    symptom("could not get server's host name from server certificate", &psql(""));
    let mark = setup.cluster.log_mark();
    psql("sslmode=verify-ca");
    let words = "client certificate contains no user name";
    symptom(words, &setup.cluster.wait_for_log(mark, LIMIT, words));
    let checked = check(&setup, &CLIENT);
    checked.warns("svid-dns-name");
    checked.warns("svid-shared-subject");
    checked.fails("svid-dns-name");
}

#[test]
fn workloads_that_the_servers_files_do_not_know() {
    let setup = setup();
    started(&setup);
    let cluster = &setup.cluster;
    setup.configure(&format!(
        "[[roles]]\nspiffe_id = \"{}\"\nrole = \"reports\"\ncn = \"localhost\"",
        Setup::SPIFFE_ID
    ));
    let psql = || client(cluster, setup.files.path(), "reports", "").run();

    hba(cluster, "hostssl all all 127.0.0.1/32 cert clientname=DN map=spiffe");
    let mark = cluster.log_mark();
    psql();
    let words = "no match in usermap";
    assert!(cluster.wait_for_log(mark, LIMIT, words).contains("reports"));
    let words = "A workload of `[[roles]]` is refused, `no match in usermap` in the log";
    symptom(words, words);
    check(&setup, &[]).fails("roles-ident-line-missing");

    // Its line is there now, and its role is not.
    let ident = "pgsvid {} pgsvid\nspiffe \"/^(x500UniqueIdentifier=[0-9a-f]*,)?CN=localhost,O=SPIRE,C=US$\" reports";
    cluster.set_ident(&ident.replace("{}", test_support::Account::server().name()));
    hba(cluster, "hostssl all all 127.0.0.1/32 cert clientname=DN map=spiffe");
    assert!(psql().stderr.contains("role \"reports\" does not exist"));
    let words = "A role of `[[roles]]` is unknown to PostgreSQL";
    symptom(words, words);
    check(&setup, &[]).fails("role-missing");

    crate::troubleshooting::admin(cluster, "CREATE ROLE reports LOGIN");
    assert_eq!(psql().stdout, "1");
    hba(cluster, "hostssl all all 127.0.0.1/32 scram-sha-256");
    assert!(psql().stderr.contains("no password supplied"));
    let words = "A workload of `[[roles]]` is asked for a password";
    symptom(words, words);
    check(&setup, &[]).fails("roles-hba-line-missing");
}
