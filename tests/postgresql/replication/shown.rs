//! What status, metrics and `check` show of replication, and what is found wrong with it.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use test_support::{Installation, LIMIT, Mode, Program, Setup, Signal, eventually};

use super::{
    CONF, Node, PGSVID, World, all_found, check, found, get, metrics, pair, paste, status,
    wait_for_streams,
};

const NOT_RECEIVING: &str = "replication-not-receiving";
const CERTIFICATE: &str = "replication-certificate";

fn replication(directory: &test_support::Directory) -> Value {
    status(directory)["consumers"][0]["replication"].clone()
}

#[test]
fn l08_a_primary_shows_each_standby_with_its_certificate_and_its_life() {
    let world = World::start();
    let agent = &world.primary.agent;
    world.pgsvids[0].signal(Signal::HUP);
    eventually(LIMIT, "both are shown", || replication(&world.primary.other)["count"] == 2);
    let shown = replication(&world.primary.other);
    assert_eq!(shown["receiver"], Value::Null);
    for connection in shown["connections"].as_array().unwrap() {
        let name = connection["application"].as_str().unwrap();
        let svids = agent.svids();
        let svid = svids.iter().find(|svid| svid.spiffe_id == Node::spiffe_id(name)).unwrap();
        let serial = connection["serial"].as_str().unwrap().replace(':', "");
        let is = |text: &str| text.trim_start_matches('0').to_owned();
        assert_eq!(is(&serial), is(&svid.serial_hex()), "{connection}");
        assert_eq!(
            (&connection["shows"], &connection["state"]),
            (&"certificate".into(), &"streaming".into())
        );
        assert!(
            connection["subject"].as_str().unwrap().contains(&format!("CN={name}")),
            "{connection}"
        );
        assert!(connection["issuer"].is_string());
        // It is a bound: never earlier than the certificate's own end.
        let by = connection["expired_by"].as_str().unwrap();
        let end =
            humantime::format_rfc3339_seconds(svid.not_after - Duration::from_secs(60)).to_string();
        assert!(by > end.as_str(), "{by} {end}");
    }
    let page = metrics(&world.primary.other);
    let line = "pgsvid_replication_connections{consumer=\"postgres\",shows=\"certificate\"} 2";
    assert!(page.contains(line), "{page}");
    assert!(page.contains("pgsvid_replication_outlived{consumer=\"postgres\"} 0"), "{page}");
    assert!(!page.contains("pgsvid_replication_receiving{"), "{page}");
    // For people: a line for each.
    let socket = format!("unix:{}", world.primary.other.join("status.sock").display());
    let text = Program::spawn(PGSVID, ["status", "--socket", &socket], &[]);
    text.wait_exit(LIMIT);
    let text = text.standard_output();
    assert_eq!(text.lines().filter(|line| line.starts_with("replication ")).count(), 2, "{text}");
    let page = get(&world.primary.other, "/");
    assert_eq!(page.matches("<dt>Replication</dt>").count(), 2, "{page}");
    let report = check(&world.primary.arguments(), &["--user", "postgres"]);
    assert_eq!(found(&report, CERTIFICATE), [pair("ok", "standby"), pair("ok", "subscriber")]);

    // Of a standby, and of a subscriber.
    for (node, pgsvid) in
        [(&world.standby, &world.pgsvids[1]), (&world.subscriber, &world.pgsvids[3])]
    {
        pgsvid.signal(Signal::HUP);
        eventually(LIMIT, "it receives", || {
            let shown = replication(&node.other);
            shown["receiver"]["state"] == "streaming"
                || shown["subscriptions"][0]["receives"] == true
        });
    }
    let from = replication(&world.standby.other)["receiver"]["from"].clone();
    assert_eq!(from, format!("localhost:{}", world.primary.cluster.port()));
    assert!(
        metrics(&world.standby.other)
            .contains("pgsvid_replication_receiving{consumer=\"postgres\"} 1")
    );
    let silent = "pgsvid_replication_silent_subscriptions{consumer=\"postgres\"} 0";
    assert!(metrics(&world.subscriber.other).contains(silent));
}

/// Lets this role replicate without a certificate, over TLS and without.
const OPEN: &str = "host replication plain 127.0.0.1/32 trust";

#[test]
fn l09_a_connection_without_tls_or_without_a_certificate_is_found() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.conf(CONF).hba(OPEN)).create();
    let _pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE plain LOGIN REPLICATION");
    let none = check(&setup.arguments(), &["--user", "postgres"]);
    assert!(found(&none, CERTIFICATE).is_empty() && found(&none, "replication-rights").is_empty());
    // The lines that let them in are found, too.
    assert!(!all_found(&none, "hba-any-role").is_empty(), "{none:#}");

    let receivers = ["disable", "require"].map(|mode| {
        let place = setup.other.subdirectory(mode).display().to_string();
        let conninfo = format!(
            "host=127.0.0.1 port={} user=plain application_name={mode} sslmode={mode} sslcert=/nowhere",
            setup.cluster.port()
        );
        let program = Installation::found().program("pg_receivewal");
        Program::spawn(program, ["-D", &place, "-d", &conninfo], &[])
    });
    wait_for_streams(&setup.cluster, &["disable", "require"]);
    let report = check(&setup.arguments(), &["--user", "postgres"]);
    let mut all = found(&report, CERTIFICATE);
    all.sort();
    assert_eq!(all, [pair("warning", "disable"), pair("warning", "require")]);

    // The role sees their number, and is told what it lacks.
    let report = check(&setup.arguments(), &[]);
    assert!(found(&report, CERTIFICATE).is_empty());
    assert_eq!(found(&report, "replication-rights"), [pair("skipped", "")]);
    paste(&report, "replication-rights");
    let report = check(&setup.arguments(), &[]);
    assert_eq!(found(&report, CERTIFICATE).len(), 2);
    // A view that an administrator has closed is no all-clear.
    setup.cluster.sql("postgres", "postgres", "REVOKE SELECT ON pg_stat_wal_receiver FROM PUBLIC");
    let report = check(&setup.arguments(), &[]);
    assert_eq!(found(&report, "replication-rights"), [pair("skipped", "")]);
    assert!(all_found(&report, "replication-rights")[0]["cause"].is_string(), "{report:#}");
    drop(receivers);
}

/// Waits until the worker of a subscription runs.
fn wait_for_worker(cluster: &test_support::Cluster) {
    let query = "SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL AND last_msg_receipt_time IS NOT NULL";
    eventually(LIMIT, "the worker runs", || cluster.sql("postgres", "postgres", query) == "1");
}

#[test]
fn l10_a_standby_and_a_subscription_that_receive_nothing_are_found_with_the_cause() {
    let world = World::start();
    let [_, standby, _, subscriber] = &world.pgsvids;
    let look = || {
        standby.signal(Signal::HUP);
        subscriber.signal(Signal::HUP);
    };
    look();
    eventually(LIMIT, "both receive", || {
        let receives = |node: &Node, name: &str, value: u8| {
            metrics(&node.other).contains(&format!("{name}{{consumer=\"postgres\"}} {value}"))
        };
        receives(&world.standby, "pgsvid_replication_receiving", 1)
            && receives(&world.subscriber, "pgsvid_replication_silent_subscriptions", 0)
    });
    let agent = &world.primary.agent;
    let of = |node: &Node, more: &[&str]| check(&node.arguments(agent), more);
    let own = "pg_stat_wal_receiver";
    assert_eq!(found(&of(&world.standby, &[]), NOT_RECEIVING), [pair("ok", own)]);
    let sub = "subscription pub";
    assert_eq!(found(&of(&world.subscriber, &[]), NOT_RECEIVING), [pair("ok", sub)]);

    world.primary.cluster.stop(Mode::Fast);
    let refused = "could not connect to the primary server";
    world.standby.cluster.wait_for_log(0, LIMIT, refused);
    world.subscriber.cluster.wait_for_log(0, LIMIT, "could not connect to the publisher");
    for (node, object) in [(&world.standby, own), (&world.subscriber, sub)] {
        eventually(LIMIT, "it is found", || {
            found(&of(node, &[]), NOT_RECEIVING) == [pair("failure", object)]
        });
        let report = of(node, &[]);
        let [finding] = all_found(&report, NOT_RECEIVING)[..] else { panic!("{report:#}") };
        let port = world.primary.cluster.port().to_string();
        assert!(finding["cause"].as_str().unwrap().contains(&port), "{finding}");
    }
    look();
    standby.event("replication-lost");
    subscriber.event("replication-lost");
    assert!(
        metrics(&world.standby.other)
            .contains("pgsvid_replication_receiving{consumer=\"postgres\"} 0")
    );
    assert!(
        metrics(&world.subscriber.other)
            .contains("pgsvid_replication_silent_subscriptions{consumer=\"postgres\"} 1")
    );

    // Something accepts the connections, and never answers: the worker waits, and so it runs, but receives nothing.
    let silent = TcpListener::bind(("127.0.0.1", world.primary.cluster.port())).unwrap();
    wait_for_worker(&world.subscriber.cluster);
    for _ in 0..10 {
        let report = of(&world.subscriber, &[]);
        assert_eq!(found(&report, NOT_RECEIVING), [pair("failure", sub)], "{report:#}");
    }
    drop(silent);

    world.primary.cluster.start();
    wait_for_streams(&world.primary.cluster, &["standby", "subscriber"]);
    // A connection that nothing comes over but the keepalives of an idle publisher.
    eventually(LIMIT, "the subscription receives", || {
        found(&of(&world.subscriber, &[]), NOT_RECEIVING) == [pair("ok", sub)]
    });
    look();
    standby.event("replication-back");
    subscriber.event("replication-back");
    // A role that sees nothing is told.
    world.primary.cluster.sql("postgres", "postgres", "REVOKE pg_read_all_stats FROM pgsvid");
    eventually(LIMIT, "the standby has it", || {
        found(&of(&world.standby, &[]), "replication-rights") == [pair("skipped", "")]
    });
    // What cannot be seen any more is not shown.
    look();
    eventually(LIMIT, "nothing earlier is shown", || replication(&world.standby.other).is_null());
    assert!(!metrics(&world.standby.other).contains("pgsvid_replication_receiving{"));
}

#[test]
fn l11_paths_of_a_generation_are_found_and_the_printed_command_replaces_them() {
    let world = World::start();
    let agent = &world.primary.agent;
    let admin = ["--user", "postgres"];
    let pinned = "connection-path-pinned";
    let generation = |node: &Node| {
        let data = std::fs::read_link(node.files.join("..data")).unwrap();
        node.files.join(&data.display().to_string()).display().to_string()
    };
    // The standby, as `-R` with service= leaves it.
    let standby = &world.standby;
    let sql = |statement: &str| standby.cluster.sql("postgres", "postgres", statement);
    let stable = sql("SHOW primary_conninfo");
    let directory = standby.files.path().display().to_string();
    let wrong = stable.replace(&directory, &generation(standby));
    assert_ne!(wrong, stable);
    let set = |value: &str| {
        sql(&format!("ALTER SYSTEM SET primary_conninfo = '{}'", value.replace('\'', "''")));
        standby.cluster.reload();
        eventually(LIMIT, "it is in force", || sql("SHOW primary_conninfo") == value);
    };
    set(&wrong);
    // pgsvid's own role may not see the setting, and says so.
    let report = check(&standby.arguments(agent), &[]);
    assert_eq!(found(&report, "connection-unseen")[0], pair("skipped", "primary_conninfo"));
    let report = check(&standby.arguments(agent), &admin);
    assert_eq!(found(&report, pinned), [pair("failure", "primary_conninfo")]);
    paste(&report, pinned);
    eventually(LIMIT, "the command is in force", || !sql("SHOW primary_conninfo").contains("/..v"));
    assert!(found(&check(&standby.arguments(agent), &admin), pinned).is_empty());
    wait_for_streams(&world.primary.cluster, &["standby", "subscriber"]);
    // A password is not printed, and so there is no command.
    set(&format!("{wrong} password=geheim"));
    let report = check(&standby.arguments(agent), &admin);
    let [finding] = all_found(&report, pinned)[..] else { panic!("{report:#}") };
    assert!(finding["command"].is_null() && finding["fix"].is_string(), "{finding}");
    assert!(!report.to_string().contains("geheim"));
    // Files that nobody renews.
    let svid = world
        .primary
        .agent
        .issue(&dev_agent::Entry::new(Node::spiffe_id("standby")).dns("standby"))
        .unwrap();
    let other = standby.other.write("other.pem", svid.chain_pem(), 0o644).display().to_string();
    let named = format!("sslcert={directory}/svid.pem");
    let plain = stable.replace('\'', "");
    assert!(plain.contains(&named), "{plain}");
    set(&plain.replace(&named, &format!("sslcert={other}")));
    let report = check(&standby.arguments(agent), &admin);
    assert_eq!(found(&report, "connection-other-files"), [pair("warning", "primary_conninfo")]);
    set(&stable);

    // The subscription.
    let subscriber = &world.subscriber;
    let sql = |statement: &str| subscriber.cluster.sql("postgres", "postgres", statement);
    let report = check(&subscriber.arguments(agent), &admin);
    assert_eq!(found(&report, "service-file"), [pair("ok", "subscription pub")]);
    let stable = sql("SELECT subconninfo FROM pg_subscription");
    let directory = subscriber.files.path().display().to_string();
    let wrong = stable.replace(&directory, &generation(subscriber)).replace('\'', "''");
    sql(&format!("ALTER SUBSCRIPTION pub CONNECTION '{wrong}'"));
    let report = check(&subscriber.arguments(agent), &admin);
    assert_eq!(found(&report, pinned), [pair("failure", "subscription pub")]);
    paste(&report, pinned);
    assert!(!sql("SELECT subconninfo FROM pg_subscription").contains("/..v"));
    assert!(found(&check(&subscriber.arguments(agent), &admin), pinned).is_empty());
    world.assert_replicates(77);
    // pgsvid's own role may not see the string.
    let report = check(&subscriber.arguments(agent), &[]);
    assert_eq!(found(&report, "connection-unseen"), [pair("skipped", "subscription")]);
}
