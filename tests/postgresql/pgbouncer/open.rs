//! B96: PgBouncer itself lets clients in without proof, or gives them more than they should have.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use test_support::{Account, LIMIT, PgBouncer, Psql, eventually};

use super::{STRICT, check, configure, current, is, running};

/// A stranger, without a certificate, a password or TLS.
fn stranger(pgbouncer: &PgBouncer) -> Option<String> {
    let connection = format!(
        "host=127.0.0.1 port={} user=localhost dbname=postgres sslmode=disable",
        pgbouncer.port()
    );
    let psql = Psql::new().env("PGCONNECT_TIMEOUT", "10").arg("-w").arg(connection);
    let output = psql.script("SELECT current_user").run();
    output.status.success().then_some(output.stdout)
}

#[test]
fn b96_a_pgbouncer_that_lets_everybody_in_is_a_failure_and_the_remedy_ends_it() {
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    let files = PgBouncer::with_files(setup.files.path());
    let set = |lines: &str| {
        pgbouncer.configure(&format!("{lines}\n{files}"));
        pgbouncer.console("RELOAD");
        check(&setup, Account::server())
    };
    assert_eq!(stranger(&pgbouncer), None);
    let rules = setup.other.write("hba", "host all all 127.0.0.1/32 trust\n", 0o644);
    let by_rules = format!(
        "client_tls_sslmode = prefer\nserver_tls_sslmode = verify-full\nauth_type = hba\nauth_hba_file = {}",
        rules.display()
    );
    for lines in [
        "client_tls_sslmode = prefer\nauth_type = trust\nserver_tls_sslmode = verify-full",
        &by_rules,
    ] {
        let found = set(lines);
        assert_eq!(stranger(&pgbouncer).as_deref(), Some("localhost"), "{lines}");
        assert!(is(&found, "pgbouncer-open", "failure"), "{lines}: {found:?}");
        // What the remedy says.
        let found = set(STRICT);
        assert_eq!(stranger(&pgbouncer), None, "{lines}");
        assert!(!found.iter().any(|(code, _)| code == "pgbouncer-open"), "{lines}: {found:?}");
    }
    // Rules that are corrected, and not loaded.
    let found = set(&by_rules.replace("prefer", "require"));
    assert!(is(&found, "pgbouncer-open", "failure"), "{found:?}");
    setup.other.write("hba", "hostssl all all 127.0.0.1/32 cert\n", 0o644);
    assert!(is(&check(&setup, Account::server()), "pgbouncer-open", "failure"));
    pgbouncer.console("RELOAD");
    let found = check(&setup, Account::server());
    assert!(!found.iter().any(|(code, _)| code == "pgbouncer-open"), "{found:?}");
    // With any PgBouncer logs in as the roles that its section [databases] names.
    let any = "client_tls_sslmode = allow\nauth_type = any\nserver_tls_sslmode = verify-full";
    assert!(is(&set(any), "pgbouncer-open", "failure"));
    // A certificate is asked for, and says nothing about the role.
    let trusting = STRICT.replace("auth_type = cert", "auth_type = trust");
    assert!(is(&set(&trusting), "pgbouncer-open", "failure"));
    // Any server is taken for PostgreSQL; clients by their certificate administer PgBouncer.
    let lax = STRICT.replace("server_tls_sslmode = verify-full", "server_tls_sslmode = require");
    let found = set(&format!("{lax}admin_users = localhost\n"));
    assert!(is(&found, "pgbouncer-server-unverified", "warning"), "{found:?}");
    assert!(is(&found, "pgbouncer-administrators", "warning"), "{found:?}");
    let directory = setup.files.path().display();
    let admin = Psql::new().arg("-w").arg(format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=localhost dbname=pgbouncer sslmode=verify-full \
         sslcert={directory}/svid.pem sslkey={directory}/svid_key.pem sslrootcert={directory}/svid_bundle.pem",
        pgbouncer.port()
    ));
    let admin = admin.script("SHOW CONFIG").run();
    assert!(admin.stdout.contains("logfile"), "the attack works: {}", admin.stderr);
    let found = set(STRICT);
    let gone = ["pgbouncer-server-unverified", "pgbouncer-administrators"];
    assert!(!found.iter().any(|(code, _)| gone.contains(&code.as_str())), "{found:?}");
}

/// The console lets its administrator write files and run code as PgBouncer's user, who is PostgreSQL's here.
#[test]
fn b97_what_an_intruder_can_do_by_the_console_is_reported() {
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    let found = check(&setup, Account::server());
    assert!(is(&found, "pgbouncer-console", "warning"), "{found:?}");
    // What that is: PgBouncer, which has no sandbox, creates a file of the administrator's choice.
    let log = pgbouncer.socket_directory().join("written.txt");
    let ini = format!(
        "[databases]\n[pgbouncer]\nlisten_port = {}\nunix_socket_dir = {}\nlogfile = {}\n",
        pgbouncer.port(),
        pgbouncer.socket_directory().display(),
        log.display()
    );
    let ini = setup.other.write("other.ini", ini, 0o644);
    pgbouncer.console(&format!("SET conffile = '{}'; RELOAD", ini.display()));
    test_support::eventually(test_support::LIMIT, "the file is there", || log.exists());
}

/// The writer of its files decides which clients it lets in, and what it does at its next reload.
#[test]
fn b101_files_of_pgbouncers_that_others_can_write_are_reported() {
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    let is_reported = || is(&check(&setup, Account::server()), "file-exchangeable", "warning");
    assert!(!is_reported());
    let open = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let users = pgbouncer.users();
    let included = setup.other.write("included.ini", "log_stats = 0\n", 0o644);
    let files = PgBouncer::with_files(setup.files.path());
    pgbouncer.configure(&format!("{STRICT}{files}%include {}\n", included.display()));
    for path in [&users, &included, &users.parent().unwrap().join("pgbouncer.ini")] {
        open(path, 0o666);
        assert!(is_reported(), "{}", path.display());
        open(path, 0o644);
        assert!(!is_reported(), "{}", path.display());
    }
}

/// PgBouncer compares CNs, and PostgreSQL sees PgBouncer's certificate: the identifier of a workload counts for nothing.
#[test]
fn b105_roles_by_an_identifier_do_not_hold_at_pgbouncers_port_and_that_is_reported() {
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    let is_reported = |by: &str| {
        let roles = format!(
            "[[roles]]\nspiffe_id = 'spiffe://example.org/app'\nrole = 'localhost'\n{by}\n"
        );
        configure(&setup, &[&pgbouncer], &roles);
        is(&check(&setup, Account::server()), "pgbouncer-roles-by-name", "warning")
    };
    assert!(is_reported("by = 'uid'"));
    assert!(!is_reported("cn = 'localhost'"));
}

#[test]
fn q24_a_role_that_the_ini_forces_on_every_client_is_reported_until_it_is_removed() {
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    setup.cluster.set_hba(
        "local postgres pgsvid peer map=pgsvid\nhostssl all all 127.0.0.1/32 cert map=any",
    );
    setup.cluster.set_ident(&format!(
        "any /^.*$ localhost\nany /^.*$ other\npgsvid {} pgsvid",
        Account::server().name()
    ));
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE other LOGIN; SELECT pg_reload_conf()");
    let files = PgBouncer::with_files(setup.files.path());
    let server = format!("[databases]\n* = host=localhost port={}", setup.cluster.port());
    let role = || {
        let client = pgbouncer.client(setup.files.path(), "localhost");
        client.script("SELECT current_user").run().stdout
    };
    for (user, seen) in [(" user=other", "other"), ("", "localhost")] {
        pgbouncer.configure(&format!("{STRICT}{files}{server}{user}\n"));
        pgbouncer.stop();
        pgbouncer.start();
        eventually(LIMIT, "clients get in", || role() == seen);
        let found = check(&setup, Account::server());
        assert_eq!(is(&found, "pgbouncer-forced-role", "warning"), !user.is_empty(), "{found:?}");
    }
}
