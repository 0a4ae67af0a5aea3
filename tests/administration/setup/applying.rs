//! `setup apply` on a server that has never been set up.

use std::os::unix::fs::{MetadataExt as _, chown};

use test_support::{Account, LIMIT, Program};

use crate::setup::{
    PGSVID, admin, bare, configure, login, publish, run, run_as, serve_own_files, state,
    with_cluster,
};

const APP: &str = "[[roles]]\nspiffe_id = \"spiffe://example.org/ns/test/sa/db\"\nrole = \"app\"\ncn = \"localhost\"\n";
const ALL: [&str; 3] = ["apply", "--hba", "--yes"];

#[test]
fn from_nothing_to_a_server_that_serves_and_lets_in() {
    let setup = bare();
    configure(&setup, "", APP);
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "CREATE ROLE app LOGIN");
    let before = state(&setup);

    let shown = run(&setup, &["apply", "--hba", "--dry-run"]).well();
    for words in [
        "sql      CREATE ROLE pgsvid LOGIN",
        "sql      GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO pgsvid",
        "setting  ALTER SYSTEM SET ssl_cert_file = ",
        "setting  ALTER SYSTEM SET ssl = 'on'   (now off)",
        "pg_hba.conf: a marked block at its top",
        "hostssl    all  \"app\"  all  cert clientname=DN map=spiffe",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(state(&setup), before);

    // Nobody is there to be asked, and nobody has agreed beforehand.
    let ended = run(&setup, &["apply", "--hba"]);
    assert!(ended.status == 2 && ended.error.contains("add --yes"), "{}", ended.error);
    assert_eq!(state(&setup), before);

    let done = run(&setup, &ALL).well();
    assert!(done.contains("serves the published certificate"), "{done}");
    let pgsvid = setup.spawn();
    pgsvid.current(0);
    let output = login(&setup.cluster, setup.files.path(), "app");
    assert_eq!(output.stdout, "app", "{output:?}");
    setup.agent.rotate().unwrap();
    pgsvid.current(1);

    let after = state(&setup);
    let again = run(&setup, &ALL).well();
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!(state(&setup), after);
    // It starts from what was applied.
    setup.cluster.restart();
    assert_eq!(admin(&setup.cluster, "SHOW ssl"), "on");
}

#[test]
fn whoever_applies_it_the_files_stay_the_servers() {
    let setup = bare();
    configure(&setup, "", APP);
    publish(&setup);
    // In CI this is root, who becomes the server's user, and logs in as that.
    let account = Account::current();
    setup.cluster.start();
    let owners = || {
        let listing = std::fs::read_dir(setup.cluster.data_directory()).unwrap();
        let entries = listing.map(|entry| entry.unwrap());
        let changed = entries.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.contains("pgsvid") || name.starts_with("pg_hba") || name.starts_with("pg_ident")
        });
        changed
            .map(|entry| entry.metadata().unwrap())
            .map(|found| (found.uid(), found.mode() & 0o777))
            .collect::<Vec<_>>()
    };
    run_as(account, &setup, &ALL).well();
    let expected = (setup.cluster.uid(), 0o600);
    // The two files, a copy of each, and the record.
    assert_eq!(owners(), [expected; 5]);
    run_as(account, &setup, &["revert", "--yes"]).well();
    assert_eq!(owners(), [expected; 4]);
}

#[test]
fn what_root_has_published_for_the_servers_group_is_read_as_the_server_reads_it() {
    let root = Account::current();
    if root.uid() != 0 {
        return;
    }
    let setup = bare();
    configure(&setup, "", "");
    chown(setup.files.path(), Some(0), Some(0)).unwrap();
    let files = setup.files.path().display().to_string();
    let (endpoint, group) = (setup.agent.endpoint(), setup.cluster.gid().to_string());
    let place = ["--directory", &files, "--group", &group];
    let fetch = ["fetch", "--timeout", "20s", "--endpoint", &endpoint];
    let program = Program::spawn_as(root, PGSVID, [fetch.as_slice(), &place].concat(), &[]);
    assert!(program.wait_exit(LIMIT).success(), "{}", program.standard_error());
    setup.cluster.start();
    let done = run_as(root, &setup, &["apply", "--yes"]).well();
    assert!(done.contains("serves the published certificate"), "{done}");
}

#[test]
fn whoever_starts_the_server_in_between_gets_one_that_starts() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    serve_own_files(&setup);
    setup.cluster.start();
    let statements = |output: String| -> Vec<String> {
        let done =
            output.lines().filter_map(|line| line.trim().strip_prefix("done     ALTER SYSTEM"));
        done.map(|rest| format!("ALTER SYSTEM{rest}")).collect()
    };
    let applied = statements(run(&setup, &["apply", "--yes"]).well());
    let reverted = statements(run(&setup, &["revert", "--yes"]).well());
    assert!(applied.len() == 5 && reverted.len() == 5, "{applied:?} {reverted:?}");
    for statement in applied.iter().chain(&reverted) {
        admin(&setup.cluster, statement);
        setup.cluster.restart();
    }
    assert_eq!(admin(&setup.cluster, "SHOW ssl"), "on");
}

#[test]
fn a_line_that_would_decide_before_ours_does_not_count_as_done() {
    let setup = bare();
    configure(&setup, "", APP);
    publish(&setup);
    setup.cluster.start();
    let ours = run(&setup, &["hba"]).well();
    setup.cluster.set_hba(&format!("host all all 127.0.0.1/32 trust\n{ours}\nlocal all all peer"));
    setup.cluster.sighup();
    let done = run(&setup, &ALL).well();
    assert!(done.contains("pg_hba.conf: a marked block at its top"), "{done}");
    assert!(state(&setup)[0].starts_with("# BEGIN pgsvid setup"));
}

#[test]
fn a_superuser_is_not_shut_out() {
    let setup = bare();
    configure(&setup, "", &APP.replace("\"app\"", "\"postgres\""));
    publish(&setup);
    setup.cluster.start();
    let before = state(&setup);
    run(&setup, &ALL).badly("the superuser postgres could no longer log in over TCP");
    assert_eq!(state(&setup)[..2], before[..2]);
}

#[test]
fn without_being_asked_it_leaves_pg_hba_conf_alone() {
    let setup = bare();
    configure(&setup, "", APP);
    publish(&setup);
    setup.cluster.start();
    let before = state(&setup);
    let done = run(&setup, &["apply", "--yes"]).well();
    assert!(done.contains("not changed, and without lines for pgsvid"), "{done}");
    assert!(done.contains("role app of [[roles]] does not exist yet"), "{done}");
    let after = state(&setup);
    assert_eq!(after[..2], before[..2]);
    assert!(after[2].contains("ssl = 'on'"), "{after:?}");
}

#[test]
fn a_change_of_roles_rewrites_the_block_alone() {
    let setup = bare();
    configure(&setup, "", APP);
    publish(&setup);
    setup.cluster.start();
    run(&setup, &ALL).well();
    let first = state(&setup);
    configure(&setup, "", &APP.replace("\"app\"", "\"other\""));
    let done = run(&setup, &ALL).well();
    assert!(!done.contains("sql  ") && !done.contains("setting"), "{done}");
    let second = state(&setup);
    assert_eq!(second[0], first[0].replace("\"app\"", "\"other\""));
    assert_eq!(second[1], first[1].replace("\"app\"", "\"other\""));
    // What stood there before us is what comes back.
    run(&setup, &["revert", "--yes"]).well();
    assert!(!state(&setup)[0].contains("pgsvid"));
}

#[test]
fn what_the_role_lacks_is_added_and_the_rest_left() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "CREATE ROLE pgsvid NOLOGIN CONNECTION LIMIT 7");
    let shown = run(&setup, &["apply", "--yes"]).well();
    assert!(shown.contains("ALTER ROLE pgsvid LOGIN") && !shown.contains("CREATE ROLE"), "{shown}");
    let limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'pgsvid'";
    assert_eq!(admin(&setup.cluster, limit), "7");
    run(&setup, &["revert", "--yes"]).well();
    let can = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'pgsvid'";
    assert_eq!(admin(&setup.cluster, can), "f");
}

#[test]
fn what_the_command_line_sets_is_left_to_whoever_starts_the_server() {
    let setup = with_cluster(|cluster| cluster.arg("-c", "ssl_key_file=/nowhere/key.pem"));
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let said = run(&setup, &["apply", "--yes"])
        .badly("the postmaster's command line overrides every file");
    assert!(
        said.contains(&format!("-c ssl_key_file='{}/svid_key.pem'", setup.files.path().display())),
        "{said}"
    );
    // Half of a set would keep the server from starting.
    assert_eq!(admin(&setup.cluster, "SHOW ssl"), "off");
    assert_eq!(state(&setup)[2], "");
}

#[test]
fn the_settings_for_patronis_own_configuration_are_printed() {
    let setup = bare();
    configure(&setup, "", APP);
    publish(&setup);
    setup.cluster.start();
    let marker = setup.cluster.data_directory().join("patroni.dynamic.json");
    std::fs::File::create(&marker).unwrap();
    let before = state(&setup);
    let said = run(&setup, &ALL).badly("Patroni manages this server's configuration");
    for words in [
        "parameters:",
        "ssl: 'on'",
        "ssl_ca_file: '/",
        "pg_hba:",
        "- 'local  \"postgres\"  \"pgsvid\"  peer map=pgsvid'",
        "pg_ident:",
        "- 'spiffe  \"/^(x500UniqueIdentifier=[0-9a-f]*,)?CN=localhost,O=SPIRE,C=US$\"  \"app\"'",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let after = state(&setup);
    assert_eq!(after[..3], before[..3]);
    // Role and grant are no configuration.
    assert!(after[4].contains("pgsvid|t"), "{after:?}");
}

#[test]
fn where_alter_system_is_not_allowed_the_settings_are_printed() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    // The setting came with 17: before, nothing forbids it.
    let forbids = setup.cluster.version() >= 17;
    if forbids {
        setup.cluster.set_conf("allow_alter_system = off");
    }
    setup.cluster.start();
    let ended = run(&setup, &["apply", "--yes"]);
    if forbids {
        let said = ended.badly("allow_alter_system is off");
        assert!(said.contains("ssl_cert_file = '"), "{said}");
    } else {
        ended.well();
    }
}

/// A line that ends with a backslash goes on in the next one, even where it is a comment.
#[test]
fn a34_lines_that_are_part_of_a_comment_do_not_count_as_done() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let data = setup.cluster.data_directory();
    for (name, what) in [("pg_hba.conf", "hba"), ("pg_ident.conf", "ident")] {
        let ours = run(&setup, &[what]).well();
        let ours: Vec<&str> =
            ours.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let there = std::fs::read_to_string(data.join(name)).unwrap();
        setup.cluster.write_file(name, &format!("# mine \\\n{}\n{there}", ours.join("\n")));
    }
    run(&setup, &ALL).well();
    let views = "SELECT count(*) FROM pg_hba_file_rules WHERE user_name = '{pgsvid}'; \
                 SELECT count(*) FROM pg_ident_file_mappings WHERE map_name = 'pgsvid'";
    assert_eq!(admin(&setup.cluster, views), "1\n1");
    let pgsvid = setup.cluster.psql().user("pgsvid").database("postgres").script("SELECT 1").run();
    assert_eq!(pgsvid.stdout, "1", "{pgsvid:?}");
    run(&setup, &["revert", "--yes"]).well();
}
