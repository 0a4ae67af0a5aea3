//! Symptoms of clients that are let in or kept out by `pg_hba.conf` and `pg_ident.conf`.

use dev_agent::Entry;
use test_support::{Directory, LIMIT, Psql, Setup};

use crate::troubleshooting::{BINARY, check, client, hba, setup, started, symptom};

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
    checked.fails(
        "wants a certificate whose name is the role's: it is \"localhost\", the role \"app\"",
    );
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
    check(&setup, &CLIENT).fails("uses the map spiffe, which has no line in pg_ident.conf");

    hba(cluster, "hostssl products all 127.0.0.1/32 cert");
    symptom("no pg_hba.conf entry for host", &psql());
    check(&setup, &CLIENT).fails("no line of pg_hba.conf matches role app, database postgres");

    hba(cluster, "host all all all reject\nhostssl all all all cert");
    symptom("pg_hba.conf rejects connection for host", &psql());
    let checked = check(&setup, &CLIENT);
    checked.fails("rejects it: the first line that matches decides");
    checked.fails("line 4 is never reached: pg_hba.conf line 3 matches the same clients first");

    hba(cluster, "host all all all scram-sha-256\nhostssl all all all cert");
    symptom("fe_sendauth: no password supplied", &psql());
    let checked = check(&setup, &CLIENT);
    checked.fails("role app is asked for a password");
    checked.fails("is never reached");
    checked.warns("lets clients in by scram-sha-256 alone, without a certificate");
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
    check(&setup, &["--user", "postgres"])
        .fails("pg_hba.conf line 2 is wrong: invalid authentication method");
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
    check(&setup, &CLIENT).fails("PostgreSQL has not read the file since it was changed");
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
    let words = "Anybody logs in as any role, without a certificate";
    symptom(words, words);
    check(&setup, &[]).fails("line 3 says trust");

    let stranger = setup.agent.issue(&Entry::new("spiffe://example.org/stranger")).unwrap();
    let directory = Directory::new();
    directory.write("svid.pem", stranger.chain_pem(), 0o644);
    directory.write("svid_key.pem", stranger.key_pem(), 0o600);
    directory.write("svid_bundle.pem", stranger.bundle_pem(), 0o644);
    for (user, cause) in [
        ("\"O=SPIRE,C=US\"", "admits every workload without a DNS name as role app"),
        ("\"/^.*$\"", "admits every workload as role app"),
        // Whatever needs care in SQL reaches the server's engine as it is.
        ("\"/^(o'neill|\\w+=.*)$\"", "admits every workload as role app"),
    ] {
        cluster.set_ident(&format!(
            "pgsvid {} pgsvid\nspiffe {user} app",
            test_support::Account::server().name()
        ));
        hba(cluster, "hostssl all all all cert clientname=DN map=spiffe");
        let output = client(cluster, directory.path(), "app", "").run();
        assert_eq!(output.stdout, "1", "{output:?}");
        let words = "A workload that nobody has named logs in as a role";
        symptom(words, words);
        check(&setup, &[]).fails(cause);
    }
    cluster.set_ident(&format!(
        "pgsvid {} pgsvid\nspiffe /CN=local app",
        test_support::Account::server().name()
    ));
    check(&setup, &[]).warns("the regular expression is not anchored as a whole");
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
    checked.warns("the SVID has no DNS name");
    checked.warns("is shared by all workloads");
    checked.fails("the server's SVID has no DNS name");
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
    check(&setup, &[]).fails("lacks 1 of the 1 lines of [[roles]]");

    // Its line is there now, and its role is not.
    let ident = "pgsvid {} pgsvid\nspiffe \"/^(x500UniqueIdentifier=[0-9a-f]*,)?CN=localhost,O=SPIRE,C=US$\" reports";
    cluster.set_ident(&ident.replace("{}", test_support::Account::server().name()));
    hba(cluster, "hostssl all all 127.0.0.1/32 cert clientname=DN map=spiffe");
    assert!(psql().stderr.contains("role \"reports\" does not exist"));
    let words = "A role of `[[roles]]` is unknown to PostgreSQL";
    symptom(words, words);
    check(&setup, &[]).fails("role reports of [[roles]] does not exist");

    crate::troubleshooting::admin(cluster, "CREATE ROLE reports LOGIN");
    assert_eq!(psql().stdout, "1");
    hba(cluster, "hostssl all all 127.0.0.1/32 scram-sha-256");
    assert!(psql().stderr.contains("no password supplied"));
    let words = "A workload of `[[roles]]` is asked for a password";
    symptom(words, words);
    check(&setup, &[]).fails("asks the map spiffe whether a certificate may be role reports");
}
