//! The printed text works unchanged.

use test_support::LIMIT;

use crate::setup::{PGSVID, bare, configure, login, publish, run};

const ROLES: &str = "[[roles]]\nspiffe_id = \"spiffe://example.org/ns/test/sa/db\"\nrole = \"app\"\ncn = \"localhost\"\n";

#[test]
fn pasted_it_sets_a_server_up() {
    let setup = bare();
    configure(&setup, "", ROLES);
    publish(&setup);
    let cluster = &setup.cluster;
    let pieces =
        ["sql", "postgresql-conf", "hba", "ident"].map(|piece| run(&setup, &[piece]).well());
    let [sql, conf, hba, ident] = &pieces;
    assert_eq!(run(&setup, &["all"]).well(), pieces.join("\n\n"));

    cluster.start();
    // Twice: it may be executed again.
    for _ in 0..2 {
        cluster.sql("postgres", "postgres", sql);
    }
    cluster.sql("postgres", "postgres", "CREATE ROLE app LOGIN");
    cluster.set_conf(conf);
    cluster.set_hba(&format!("{hba}\nlocal all all peer"));
    cluster.set_ident(ident);
    let pgsvid = setup.spawn();
    cluster.sighup();
    pgsvid.current(0);
    let output = login(cluster, setup.files.path(), "app");
    assert_eq!(output.stdout, "app", "{output:?}");

    // And the uncommented extras are right as well.
    let uncommented: Vec<&str> = conf
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' '))
        .filter(|line| cluster.version() >= 16 || !line.starts_with("reserved"))
        .collect();
    let uncommented = uncommented.join("\n");
    assert!(uncommented.contains("listen_addresses"), "{conf}");
    cluster.set_conf(&uncommented);
    cluster.restart();
    assert_eq!(cluster.sql("pgsvid", "postgres", "SELECT pg_reload_conf()"), "t");
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn a_role_with_a_name_of_sqls_is_quoted() {
    let setup = bare();
    configure(&setup, "", "");
    setup.cluster.start();
    let sql = run(&setup, &["sql", "--user", "user"]).well();
    setup.cluster.sql("postgres", "postgres", &sql);
    let may = "SELECT has_function_privilege('user', 'pg_reload_conf()', 'EXECUTE')";
    assert_eq!(setup.cluster.sql("postgres", "postgres", may), "t");
    // Granted to it, everybody could reload.
    let ended = run(&setup, &["sql", "--user", "public"]);
    assert!(ended.status == 2 && ended.error.contains("is reserved"), "{}", ended.error);
}

#[test]
fn a_password_role_has_no_peer_lines() {
    let setup = bare();
    let password = setup.other.write("password", "secret\n", 0o600);
    setup.configure(&format!("[postgres]\npassword_file = \"{}\"", password.display()));
    let all = run(&setup, &["all"]).well();
    assert!(!all.contains("peer"), "{all}");
    assert!(all.contains("local  \"postgres\"  \"pgsvid\"  scram-sha-256"), "{all}");
    assert!(all.contains("\\password pgsvid"), "{all}");
    assert!(!all.contains("secret"), "{all}");
}

#[test]
fn where_readers_mount_the_directory_elsewhere_their_path_is_printed() {
    let setup = bare();
    configure(&setup, "seen_as = \"/certs\"\nident = \"pg_ident.conf\"", ROLES);
    let all = run(&setup, &["all"]).well();
    for line in [
        "ssl_cert_file = '/certs/svid.pem'",
        "#ident_file = '/certs/pg_ident.conf'",
        "#   include_if_exists \"/certs/pg_ident.conf\"",
    ] {
        assert!(all.lines().any(|found| found.starts_with(line)), "{line}: {all}");
    }
}

#[test]
fn without_what_it_needs_it_says_so_and_exits_with_2() {
    for (arguments, words) in [
        (vec!["setup", "sql", "--directory", "/svids"], "no PostgreSQL is configured"),
        (vec!["setup", "all", "--postgres", "/run/postgresql"], "no directory is given"),
        (vec!["setup"], "Usage: pgsvid setup"),
        (vec!["setup", "everything"], "unrecognized subcommand"),
        (vec!["setup", "sql", "--postgres", "run"], "give the directory of that socket"),
        (
            vec!["setup", "sql", "--postgres", "/run", "--directory", "/svids", "--user", "a\"b"],
            "postgres.user",
        ),
        (vec!["setup", "apply", "--yes", "--dry-run"], "cannot be used with"),
    ] {
        let program = test_support::Program::spawn(PGSVID, &arguments, &[]);
        assert_eq!(program.wait_exit(LIMIT).code(), Some(2), "{arguments:?}");
        let said = program.standard_error();
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}
