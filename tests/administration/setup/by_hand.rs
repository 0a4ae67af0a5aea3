//! N13 to N15: undoing a set-up by hand, removing a role with rights, and reverting a server that does not start.

use test_support::{Account, LIMIT, Mode, Program, Setup, eventually};

use crate::setup::{PGSVID, admin, bare, configure, publish, run, state};

const REVERT: [&str; 2] = ["revert", "--yes"];

/// Runs a command as it is printed, as PostgreSQL's user.
#[track_caller]
fn paste(command: &str) {
    let program = Program::spawn_as(Account::server(), "/bin/bash", ["-c", command], &[]);
    assert!(program.wait_exit(LIMIT).success(), "{command}: {}", program.standard_error());
}

/// The commands of numbered steps: each stands alone beneath its number.
fn commands(said: &str) -> Vec<&str> {
    let lines: Vec<&str> = said.lines().collect();
    let is_step = |line: &str| {
        line.trim_start().split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok())
    };
    lines.windows(2).filter(|pair| is_step(pair[0])).map(|pair| pair[1].trim()).collect()
}

#[test]
fn n13_a_set_up_by_hand_is_taken_back_by_the_commands_that_revert_prints() {
    let setup =
        Setup::builder(PGSVID).cluster(|cluster| cluster.hba("hostssl all app all cert")).create();
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "CREATE DATABASE other; ALTER SYSTEM SET ssl = on");
    setup.cluster.sql("postgres", "other", "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO pgsvid");
    let said = run(&setup, &REVERT).well();
    assert!(said.contains("nothing to undo") && said.contains("set up by hand"), "{said}");
    let commands = commands(&said);
    assert_eq!(commands.len(), 8, "{said}");
    for command in commands {
        paste(command);
    }
    eventually(LIMIT, "TLS is off", || admin(&setup.cluster, "SHOW ssl") == "off");
    let after = state(&setup);
    for file in &after[..2] {
        assert!(
            !file.lines().any(|line| !line.starts_with('#') && line.contains("pgsvid")),
            "{file}"
        );
    }
    assert!(!after[4].contains("pgsvid") && !after[5].contains("pgsvid"), "{after:?}");
    // Nothing needs the published files any more.
    for entry in std::fs::read_dir(setup.files.path()).unwrap() {
        let path = entry.unwrap().path();
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    setup.cluster.restart();
    let again = run(&setup, &REVERT).well();
    assert!(!again.contains("set up by hand"), "{again}");
}

/// psql takes such a name for a connection string, unless it stands in one.
#[test]
fn b56_a_database_whose_name_is_a_connection_string_is_connected_to_by_its_name() {
    let setup = Setup::new(PGSVID);
    publish(&setup);
    setup.cluster.start();
    let names = ["options=-cwork_mem=none host=/nowhere", "postgres://nowhere/x", r"a'b\c = d"];
    for name in names {
        admin(&setup.cluster, &format!("CREATE DATABASE \"{name}\""));
        let grant = "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO pgsvid";
        setup.cluster.sql("postgres", name, grant);
    }
    let said = run(&setup, &REVERT).well();
    let commands = commands(&said);
    assert_eq!(commands.iter().filter(|command| command.contains("dbname=")).count(), 3, "{said}");
    for command in commands {
        paste(command);
    }
    assert!(!state(&setup)[4].contains("pgsvid"));
}

#[test]
fn n14_a_role_with_rights_elsewhere_is_dropped_by_the_command_that_is_printed() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    run(&setup, &["apply", "--yes"]).well();
    admin(&setup.cluster, "CREATE DATABASE other");
    setup.cluster.sql("postgres", "other", "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO pgsvid");
    let said = run(&setup, &REVERT).badly("`DROP ROLE IF EXISTS pgsvid` was not executed");
    let (_, command) = said.split_once("and drops the role: ").unwrap();
    paste(command.split("; `pgsvid setup revert`").next().unwrap());
    run(&setup, &REVERT).well();
    let after = state(&setup);
    assert!(!after[4].contains("pgsvid") && after[3].is_empty(), "{after:?}");
}

/// PostgreSQL does not start without the published files, and revert needs one that runs.
#[test]
fn n15_a_server_whose_files_are_gone_is_started_without_tls_and_reverted() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    setup.cluster.set_conf(&format!("port = {}", setup.cluster.port()));
    run(&setup, &["apply", "--yes"]).well();
    setup.cluster.stop(Mode::Fast);
    for entry in std::fs::read_dir(setup.files.path()).unwrap() {
        let path = entry.unwrap().path();
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    setup.cluster.try_start().unwrap_err();
    let said = run(&setup, &REVERT).badly("start it once without TLS");
    let (_, command) = said.split_once("start it as usual: ").unwrap();
    let command = command.split("; nothing was changed").next().unwrap();
    assert!(command.contains("-o '-c ssl=off'"), "{command}");
    let data = setup.cluster.data_directory().display().to_string();
    let bin = test_support::Installation::found().program("pg_ctl");
    let bin = bin.parent().unwrap().display().to_string();
    // As it is printed where no cluster of Debian's has that port.
    paste(&format!("export PGDATA={data} PATH={bin}:$PATH; {command} -l {data}/circle.log"));
    let said = run(&setup, &REVERT).well();
    assert!(said.contains("done     ALTER SYSTEM RESET ssl_cert_file"), "{said}");
    paste(&format!("{bin}/pg_ctl -D {data} stop -m fast"));
    setup.cluster.start();
    assert_eq!(admin(&setup.cluster, "SHOW ssl"), "off");
}
