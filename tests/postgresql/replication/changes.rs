//! Rotations, and a change of the authority, while connections are cut.

use test_support::{LIMIT, Mode, eventually};

use super::{Parts, World, admit, cut, shell, streams, wait_for_streams};

const ROTATIONS: u32 = 50;

#[test]
fn l02_l14_fifty_rotations_and_everything_streams_again_after_each_cut() {
    let world = World::start();
    for rotation in 1..=ROTATIONS {
        world.primary.agent.rotate().unwrap();
        world.converge();
        if rotation % 10 == 0 {
            world.cut();
            world.assert_replicates(100 + rotation);
        }
    }
    // A connection that nobody cuts keeps its certificate, and goes on.
    world.primary.agent.rotate().unwrap();
    world.converge();
    world.assert_replicates(1000);
    for pgsvid in &world.pgsvids {
        assert_eq!(pgsvid.events("authority-order-broken").len(), 0);
    }
}

#[test]
fn l03_the_authority_changes_in_the_right_order_and_everything_streams() {
    let world = World::start();
    // By the printed lines instead of those of -R.
    let standby = &world.standby;
    let parts = standby.setup(&world.primary.agent, &world.primary.cluster, &["--slot", "standby"]);
    for setting in ["primary_conninfo", "primary_slot_name"] {
        standby.cluster.sql("postgres", "postgres", &format!("ALTER SYSTEM RESET {setting}"));
    }
    standby.cluster.set_conf(&parts.of("On the standby, in postgresql.conf"));
    standby.cluster.reload();
    wait_for_streams(&world.primary.cluster, &["standby", "subscriber"]);
    world.assert_replicates(9);
    // Every bundle has both, and every server has loaded it.
    world.primary.agent.prepare_root().unwrap();
    let both = world.primary.agent.svid().bundle.len();
    assert_eq!(both, 2);
    for (pgsvid, cluster) in world.pgsvids.iter().zip([
        &world.primary.cluster,
        &world.standby.cluster,
        &world.cascade.cluster,
        &world.subscriber.cluster,
    ]) {
        eventually(LIMIT, "both authorities are loaded", || {
            cluster.served().authorities.is_some_and(|names| names.len() == both)
        });
        eventually(LIMIT, "that is proven", || pgsvid.events("rotated").len() >= 2);
    }
    world.cut();
    world.primary.agent.activate_authority().unwrap();
    world.primary.agent.rotate().unwrap();
    world.converge();
    world.cut();
    world.assert_replicates(10);
    // The old one goes after its last leaf.
    world.primary.agent.taint_authority().unwrap();
    world.converge();
    world.primary.agent.revoke_authority().unwrap();
    world.converge();
    eventually(LIMIT, "one authority is left everywhere", || {
        [&world.primary.cluster, &world.standby.cluster]
            .iter()
            .all(|cluster| cluster.served().authorities.is_some_and(|names| names.len() == 1))
    });
    world.cut();
    world.assert_replicates(11);
    for pgsvid in &world.pgsvids {
        assert_eq!(pgsvid.events("authority-order-broken").len(), 0);
    }
}

/// The printed `pg_rewind` turns a former primary into a standby.
#[test]
fn l04_a_former_primary_follows_by_the_printed_pg_rewind() {
    let world = World::start();
    let World { primary, standby, subscriber, .. } = &world;
    subscriber.cluster.stop(Mode::Fast);
    // What has to be set before the failure.
    let parts = Parts::print(
        &primary.arguments(),
        &standby.cluster,
        "localhost",
        &["--slot", "standby", "--rewind"],
    );
    primary.cluster.stop(Mode::Fast);
    primary.cluster.set_conf(&parts.of("On every server, in postgresql.conf"));
    primary.cluster.start();
    wait_for_streams(&primary.cluster, &["standby"]);
    let promote = "SELECT pg_promote(true, 20)";
    assert_eq!(standby.cluster.sql("postgres", "postgres", promote), "t");
    // It has gone on alone.
    primary.cluster.sql("postgres", "postgres", "INSERT INTO t VALUES (99)");
    primary.cluster.stop(Mode::Fast);
    standby.cluster.sql("postgres", "postgres", "CHECKPOINT; INSERT INTO t VALUES (50)");
    // It logs in as a standby by its own certificate now, and takes over the name of the standby's slot.
    let prepare = parts.of("On the primary, in psql as a superuser");
    standby.cluster.sql("postgres", "postgres", &prepare);
    admit(&standby.cluster, &[&parts, &world.cascade.setup(&primary.agent, &standby.cluster, &[])]);
    let data = primary.cluster.data_directory();
    let conf = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
    shell(&primary.cluster, &parts.of("On a former primary, as PostgreSQL's user in a shell"));
    primary.cluster.write_file("postgresql.conf", &conf);
    primary.cluster.start();
    wait_for_streams(&standby.cluster, &["cascade", "localhost"]);
    standby.cluster.sql("postgres", "postgres", "INSERT INTO t VALUES (51)");
    let rows = "SELECT string_agg(n::text, ',' ORDER BY n) FROM t WHERE n > 40";
    eventually(LIMIT, "it has the rows of the new primary alone", || {
        primary.cluster.sql("postgres", "postgres", rows) == "50,51"
    });
    cut(&standby.cluster, &["cascade", "localhost"]);
    assert_eq!(streams(&standby.cluster).len(), 2);
}

/// A slot's name has no capital letters, and no two subscribers can have one slot.
#[test]
fn l02_two_subscribers_of_a_publication_whose_name_no_slot_can_have() {
    let world = World::start();
    let World { primary, subscriber, .. } = &world;
    let publication = ["--publication", "My-Sales", "--publication-database", "postgres"];
    primary.cluster.sql("postgres", "postgres", "CREATE PUBLICATION \"My-Sales\" FOR TABLE t");
    for name in ["one", "two"] {
        let arguments = subscriber.arguments(&primary.agent);
        let parts = Parts::print(&arguments, &primary.cluster, name, &publication);
        subscriber.cluster.sql("postgres", "postgres", &format!("CREATE DATABASE {name}"));
        subscriber.cluster.sql("postgres", name, "CREATE TABLE t (n int PRIMARY KEY)");
        let create = parts.of("On the subscriber, in psql as a superuser");
        subscriber.cluster.sql("postgres", name, &create);
    }
    wait_for_streams(&primary.cluster, &["one", "standby", "subscriber", "two"]);
    // A role that has another purpose gets no right by this.
    primary.cluster.sql("postgres", "postgres", "CREATE ROLE other LOGIN");
    let arguments = subscriber.arguments(&primary.agent);
    let parts = Parts::print(&arguments, &primary.cluster, "one", &["--role", "other"]);
    let create = parts.of("On the primary, in psql as a superuser");
    let refused = primary.cluster.try_sql("postgres", "postgres", &create).unwrap_err();
    assert!(refused.contains("LOGIN REPLICATION"), "{refused}");
    primary.cluster.sql("postgres", "postgres", "INSERT INTO t VALUES (3)");
    for name in ["one", "two"] {
        eventually(LIMIT, format!("{name} has the row"), || {
            subscriber.cluster.sql("postgres", name, "SELECT count(*) FROM t WHERE n = 3") == "1"
        });
    }
}
