//! `setup revert` undoes what was applied, and nothing else.

use std::io::Write as _;
use test_support::{Directory, LIMIT, eventually};

use crate::setup::{admin, bare, configure, publish, publish_to, run, serve_own_files, state};

const ALL: [&str; 3] = ["apply", "--hba", "--yes"];
const REVERT: [&str; 2] = ["revert", "--yes"];

#[test]
fn everything_is_as_it_was() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    admin(
        &setup.cluster,
        "ALTER SYSTEM SET ssl_ca_file = 'mine.pem'; ALTER SYSTEM SET work_mem = '5MB'",
    );
    let before = state(&setup);
    run(&setup, &ALL).well();
    let applied = state(&setup);
    assert!(applied[3].contains("pgsvid-setup.json"), "{applied:?}");

    let shown = run(&setup, &["revert", "--dry-run"]).well();
    for words in [
        "pg_hba.conf: the marked block is removed",
        "ALTER SYSTEM RESET ssl\n",
        "ALTER SYSTEM SET ssl_ca_file = 'mine.pem'",
        "DROP ROLE IF EXISTS pgsvid",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(state(&setup), applied);

    run(&setup, &REVERT).well();
    let mut after = state(&setup);
    // The copies of the files stay.
    let copies: Vec<&str> = after[3].split(' ').collect();
    assert!(
        copies.len() == 2 && copies.iter().all(|name| name.contains(".conf.pgsvid-")),
        "{copies:?}"
    );
    after[3].clear();
    // What a grant leaves behind is the privilege list written out.
    assert!(!after[5].contains("pgsvid"), "{after:?}");
    assert_eq!(after[..5], before[..5]);
    let again = run(&setup, &REVERT).well();
    assert!(again.contains("nothing to undo"), "{again}");
    setup.cluster.restart();
}

#[test]
fn a53_a_file_that_cannot_be_read_keeps_nothing_else_from_being_taken_back() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let before = state(&setup);
    run(&setup, &ALL).well();
    let hba = setup.cluster.data_directory().join("pg_hba.conf");
    let whole = std::fs::read(&hba).unwrap();
    let write = |text: &[u8]| {
        std::fs::File::create(&hba).unwrap().write_all(text).unwrap();
    };
    for (spoilt, why) in [(&b"# \xff\n"[..], "UTF-8"), (b"# \0\n", "NUL byte")] {
        write(&[&whole, spoilt].concat());
        let said = run(&setup, &REVERT).well();
        assert!(said.contains("left") && said.contains(why), "{said}");
    }
    write(&whole);
    let halfway = state(&setup);
    assert_eq!((&halfway[1..3], &halfway[4]), (&before[1..3], &before[4]));
    run(&setup, &REVERT).well();
    let after = state(&setup);
    assert_eq!(after[..3], before[..3]);
    assert!(!after[3].contains("pgsvid-setup.json"), "{after:?}");
}

#[test]
fn what_others_have_changed_since_stays() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    run(&setup, &ALL).well();
    admin(&setup.cluster, "ALTER SYSTEM SET ssl_ca_file = 'theirs.pem'");
    let text = std::fs::read_to_string(setup.cluster.data_directory().join("pg_hba.conf")).unwrap();
    setup.cluster.set_hba(&format!("{text}\nlocal all theirs reject"));
    let said = run(&setup, &REVERT).well();
    assert!(said.contains("left     ssl_ca_file: it has been changed since"), "{said}");
    let after = state(&setup);
    assert!(after[0].contains("theirs reject") && !after[0].contains("map=pgsvid"), "{}", after[0]);
    assert_eq!(after[2], "ssl_ca_file = 'theirs.pem'");
}

#[test]
fn a_role_that_others_use_by_now_is_reported_and_the_rest_is_done() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    run(&setup, &ALL).well();
    admin(&setup.cluster, "CREATE TABLE theirs (n int); ALTER TABLE theirs OWNER TO pgsvid");
    run(&setup, &REVERT).badly("`DROP ROLE IF EXISTS pgsvid` was not executed");
    assert_eq!(state(&setup)[2], "");
    admin(&setup.cluster, "DROP TABLE theirs");
    run(&setup, &REVERT).well();
    assert!(!state(&setup)[4].contains("pgsvid"));
}

#[test]
fn a_role_that_is_gone_already_is_no_obstacle() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let before = state(&setup);
    run(&setup, &["apply", "--yes"]).well();
    admin(&setup.cluster, "DROP OWNED BY pgsvid; DROP ROLE pgsvid");
    run(&setup, &REVERT).well();
    assert_eq!(state(&setup)[..5], before[..5]);
}

#[test]
fn after_two_set_ups_what_was_there_before_the_first_comes_back() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "ALTER SYSTEM SET ssl_cert_file = 'mine.pem'");
    let before = state(&setup);
    run(&setup, &["apply", "--yes"]).well();
    let other = Directory::new();
    publish_to(&setup, other.path());
    run(&setup, &["apply", "--yes", "--directory", &other.path().display().to_string()]).well();
    run(&setup, &REVERT).well();
    assert_eq!(state(&setup)[..5], before[..5]);
}

#[test]
fn a_role_that_apply_could_not_make_is_not_its_to_drop() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    // Somebody holds a lock that keeps roles from being made.
    let holder = setup
        .cluster
        .psql()
        .user("postgres")
        .database("postgres")
        .script("BEGIN; LOCK TABLE pg_catalog.pg_authid IN SHARE MODE; SELECT pg_sleep(600)");
    let holder = std::thread::spawn(move || holder.run());
    let held = "SELECT pid FROM pg_locks WHERE relation = 1260 AND mode = 'ShareLock' AND granted";
    eventually(LIMIT, "the lock is held", || !admin(&setup.cluster, held).is_empty());
    run(&setup, &["apply", "--yes"])
        .badly("`CREATE ROLE pgsvid LOGIN CONNECTION LIMIT 3` was not executed");
    admin(&setup.cluster, &format!("SELECT pg_terminate_backend(pid) FROM ({held}) AS held"));
    holder.join().unwrap();
    admin(&setup.cluster, "CREATE ROLE pgsvid LOGIN");
    run(&setup, &REVERT).well();
    assert!(state(&setup)[4].contains("pgsvid"));
}

#[test]
fn files_that_would_keep_the_server_from_starting_are_named() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    serve_own_files(&setup);
    setup.cluster.start();
    run(&setup, &["apply", "--yes"]).well();
    std::fs::remove_file(setup.cluster.data_directory().join("mine.key")).unwrap();
    let said = run(&setup, &REVERT).well();
    assert!(said.contains("but with this PostgreSQL will not start again"), "{said}");
}

#[test]
fn one_at_a_time() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    // The process that has the lock may be asking its administrator.
    let directory = std::fs::File::open(setup.cluster.data_directory()).unwrap();
    directory.lock().unwrap();
    for what in [&["apply", "--yes"], &REVERT] {
        run(&setup, what).badly("another `pgsvid setup` works on this server");
    }
    directory.unlock().unwrap();
    run(&setup, &["apply", "--yes"]).well();
}

#[test]
fn grants_are_taken_back_in_their_own_database() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "CREATE DATABASE products");
    run(&setup, &["apply", "--yes", "--database", "products"]).well();
    run(&setup, &["apply", "--yes"]).well();
    let said = run(&setup, &REVERT).well();
    assert!(said.contains("revert there, too: --database products"), "{said}");
    run(&setup, &["revert", "--yes", "--database", "products"]).well();
    assert!(!state(&setup)[4].contains("pgsvid"));
    assert!(run(&setup, &REVERT).well().contains("nothing to undo"));
}

#[test]
fn a_damaged_record_is_not_guessed_at() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    run(&setup, &ALL).well();
    setup.cluster.write_file("pgsvid-setup.json", "{");
    let before = state(&setup);
    run(&setup, &REVERT).badly("cannot use the record");
    assert_eq!(state(&setup), before);
}
