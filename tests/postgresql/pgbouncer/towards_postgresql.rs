//! PgBouncer's own certificate towards PostgreSQL: it opens the files again at each connection.

use test_support::{Account, ConnectLoop, LIMIT, PgBouncer, Program, eventually};

use super::{PGSVID, STRICT, check, configure, current, is, prepared, running, started};

/// The serial number of the certificate that the pooled connection has shown, in decimal.
const SHOWN: &str = "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

#[test]
fn q13_pooled_connections_are_renewed_with_the_new_certificate() {
    let (setup, pgbouncer, pgsvid) = running("");
    let serial = || {
        let asked = pgbouncer.client(setup.files.path(), "localhost").script(SHOWN).run();
        assert!(asked.status.success(), "{} {}", asked.stderr, pgbouncer.log());
        asked.stdout
    };
    let mut before = String::new();
    for generation in 1..=3 {
        current(&pgsvid, "pooler", generation);
        let shown = serial();
        assert_ne!(shown, before, "the pooled connection is an old one");
        assert_eq!(serial(), shown, "it stays open between two rotations");
        before = shown;
        if generation < 3 {
            setup.agent.rotate().unwrap();
        }
    }
}

#[test]
fn q14_with_a_part_of_the_ini_in_each_set_none_can_mix() {
    let (setup, pgbouncer) = prepared("");
    let part = setup.files.join("pgbouncer_tls.ini");
    // A reload drops a login that is under way, and PgBouncer counts that as a failed one.
    let retry = "server_login_retry = 1";
    pgbouncer.configure(&format!("{STRICT}{retry}\n%include {}\n", part.display()));
    configure(&setup, &[&pgbouncer], "[files]\npgbouncer = 'pgbouncer_tls.ini'\n");
    let pgsvid = started(&setup, &[&pgbouncer]);
    current(&pgsvid, "pooler", 1);
    let found = check(&setup, Account::server());
    assert!(found.iter().all(|(code, _)| code != "pgbouncer-files-mix"), "{found:?}");
    assert!(found.iter().all(|(_, severity)| severity != "failure"), "{found:?}");
    let client = pgbouncer.client(setup.files.path(), "localhost").script("SELECT 1");
    let loops = [client.clone().connect_loop(), client.connect_loop()];
    for generation in 2..=21 {
        // Each client gets a new connection to PostgreSQL, also in the middle of a rotation.
        let seen = loops.each_ref().map(ConnectLoop::attempts);
        pgbouncer.console("RECONNECT");
        setup.agent.rotate().unwrap();
        current(&pgsvid, "pooler", generation);
        for (it, seen) in loops.iter().zip(seen) {
            it.wait_for_attempts(seen + 1, LIMIT);
        }
    }
    for it in loops {
        it.stop();
    }
    let log = pgbouncer.log();
    let connections = log.matches("new connection to server").count();
    assert!(connections >= 20, "{log}");
    assert!(!log.contains("key values mismatch"), "{log}");
    assert!(!log.contains("server login failed"), "{log}");
}

#[test]
fn what_setup_prints_is_taken_by_pgbouncer() {
    for part in ["", "[files]\npgbouncer = 'pgbouncer_tls.ini'\n"] {
        let (setup, pgbouncer) = prepared("");
        configure(&setup, &[&pgbouncer], part);
        let arguments = setup.arguments();
        let arguments = ["setup", "pgbouncer-ini"].into_iter().chain(
            arguments.chunks(2).filter(|it| it[0] != "--log-format").flatten().map(String::as_str),
        );
        let program = Program::spawn(PGSVID, arguments, &[]);
        assert!(program.wait_exit(LIMIT).success(), "{}", program.standard_error());
        let printed = program.standard_output();
        assert_eq!(printed.contains("%include"), !part.is_empty(), "{printed}");
        pgbouncer.configure(&printed);
        let pgsvid = started(&setup, &[&pgbouncer]);
        current(&pgsvid, "pooler", 1);
        let client = pgbouncer.client(setup.files.path(), "localhost").script("SELECT 1").run();
        assert_eq!(client.stdout, "1", "{} {}", client.stderr, pgbouncer.log());
    }
}

#[test]
fn q19_a_host_that_is_no_name_of_the_certificate_is_a_failure_and_the_remedy_ends_it() {
    let (setup, pgbouncer) = prepared("");
    let server = setup.cluster.port();
    let write = |host: &str| {
        let files = PgBouncer::with_files(setup.files.path());
        pgbouncer.configure(&format!(
            "{STRICT}{files}server_tls_sslmode = verify-full\nserver_login_retry = 1\n[databases]\n* = host={host} port={server}"
        ));
    };
    write("127.0.0.1");
    let pgsvid = started(&setup, &[&pgbouncer]);
    current(&pgsvid, "pooler", 1);
    let told = "pgbouncer-host-unnamed";
    let found = check(&setup, Account::server());
    assert!(is(&found, told, "failure"), "{found:?}");
    let query = || {
        pgbouncer
            .client(setup.files.path(), "localhost")
            .env("PGCONNECT_TIMEOUT", "3")
            .script("SELECT 1")
            .run()
    };
    assert!(!query().status.success());
    let log = pgbouncer.log();
    assert!(log.contains("not present in server certificate"), "{log}");

    // What is printed: a name of the certificate that leads to this machine.
    write("localhost");
    pgbouncer.console("RELOAD");
    let found = check(&setup, Account::server());
    assert!(found.iter().all(|(code, _)| code != told), "{found:?}");
    eventually(LIMIT, "clients get in", || query().stdout == "1");
}

#[test]
fn the_example_is_taken_by_pgbouncer() {
    let (setup, pgbouncer) = prepared("");
    let directory = setup.files.path().display().to_string();
    let example = include_str!("../../../examples/pgbouncer/pgbouncer.ini")
        .replace("/var/lib/pgsvid", &directory)
        .replace("/var/run/postgresql", &pgbouncer.socket_directory().display().to_string())
        .replace("host=dbserver-svc", "host=localhost")
        .replace("6432", &pgbouncer.port().to_string())
        .replace("port=5432", &format!("port={}", setup.cluster.port()))
        .replace("/etc/pgbouncer/userlist.txt", &pgbouncer.users().display().to_string());
    pgbouncer.write_ini(&example);
    let keys = include_str!("../../../examples/pgbouncer/pgsvid.toml");
    let keys = keys.lines().filter(|line| line.starts_with("pgbouncer = "));
    let keys = format!("[files]\n{}\n", keys.collect::<String>());
    configure(&setup, &[&pgbouncer], &keys);
    let pgsvid = started(&setup, &[&pgbouncer]);
    current(&pgsvid, "pooler", 1);
    let found = check(&setup, Account::server());
    let is_bad = |severity: &str| ["warning", "failure"].contains(&severity);
    let bad: Vec<_> = found.iter().filter(|(_, severity)| is_bad(severity)).collect();
    // The example runs PgBouncer as PostgreSQL's user, as Debian does.
    assert!(bad.iter().all(|(code, _)| code == "pgbouncer-console"), "{found:?}");
    let client = pgbouncer.client(setup.files.path(), "localhost").script("SELECT 1").run();
    assert_eq!(client.stdout, "1", "{} {}", client.stderr, pgbouncer.log());
}
