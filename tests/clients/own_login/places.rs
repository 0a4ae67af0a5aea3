//! Where the client logs in: several hosts, a server that is down or silent, PgBouncer, a name without an address.

use std::net::TcpListener;

use test_support::{LIMIT, Mark, Mode, PgBouncer, Setup};

use super::{admitted, listen, running, told};
use crate::both::{Both, published};

/// A table with these options beside role and database.
fn own(setup: &Setup, options: &str) -> String {
    let options = format!("user = 'app', dbname = 'postgres', {options}");
    format!("[client]\noptions = {{ {options} }}\n{}", listen(setup))
}

#[test]
fn g10_a_server_that_is_down_is_unreachable_and_found_again() {
    let both = running("[client]\nverify_every = '1s'");
    let (cluster, client) = (&both.setup.cluster, both.client());
    let mark = client.mark();
    cluster.stop(Mode::Fast);
    let (event, mark) = told(client, mark, "unreachable", "server-unreachable");
    assert_eq!(event["level"], "WARN", "{event}");
    cluster.start();
    admitted(client, mark);
}

#[test]
fn g11_a_server_that_never_answers_delays_no_rotation() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let both = Both::start_with_tables(|setup| {
        own(
            setup,
            &format!(
                "host = 'localhost', hostaddr = '127.0.0.1', port = {port}, connect_timeout = 60"
            ),
        )
    });
    for generation in 2..6 {
        both.setup.agent.rotate().unwrap();
        published(both.client(), generation);
    }
    let interrupted = both.client().lines_after(Mark::default());
    assert!(interrupted.iter().any(|line| line.contains("attempt-interrupted")));
}

/// Without `connect_timeout` libpq waits for it for ever, so the next host is of no use.
#[test]
fn g12_a_silent_first_host_is_no_reason_to_try_the_next() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = silent.local_addr().unwrap().port();
    let both = Both::start_with_tables(|setup| {
        let port = setup.cluster.port();
        own(
            setup,
            &format!(
                "host = 'localhost,localhost', hostaddr = '127.0.0.1,127.0.0.1', port = '{first},{port}'"
            ),
        )
    });
    told(both.client(), Mark::default(), "unreachable", "server-unreachable");
}

#[test]
fn g12_hosts_are_tried_in_order_and_only_the_wanted_state_counts() {
    let nobody = test_support::free_address().port();
    let lists = |setup: &Setup, first: u16, more: &str| {
        let port = setup.cluster.port();
        own(
            setup,
            &format!(
                "host = 'localhost,localhost', hostaddr = '127.0.0.1,127.0.0.1', port = '{first},{port}', {more}"
            ),
        )
    };
    let both = Both::start_with_tables(|setup| {
        lists(setup, nobody, "target_session_attrs = 'read-write'")
    });
    let (event, _) = admitted(both.client(), Mark::default());
    let address = format!("localhost:{} (127.0.0.1)", both.setup.cluster.port());
    assert_eq!(event["address"], address, "{event}");
    if both.setup.cluster.version() < 14 {
        // It does not tell its state.
        assert!(!event["unproven"].is_null(), "{event}");
        return;
    }
    // The only server becomes one that does not write.
    let sql = |text: &str| both.setup.cluster.sql("postgres", "postgres", text);
    sql("ALTER SYSTEM SET default_transaction_read_only = on");
    both.setup.cluster.reload();
    let mark = both.client().mark();
    both.setup.agent.rotate().unwrap();
    told(both.client(), mark, "unavailable", "login-session-state");
}

#[test]
fn g14_through_pgbouncer_the_client_is_let_in_and_a_line_of_its_rules_is_missed() {
    let pooler = std::cell::OnceCell::new();
    let both = Both::start_with_tables(|setup| {
        let pgbouncer = PgBouncer::before(&setup.cluster);
        let files = PgBouncer::with_files(setup.files.path());
        let users = setup.other.write("users", "\"app\" \"\"\n", 0o644);
        pgbouncer.configure(&format!(
            "client_tls_sslmode = verify-full\nauth_type = cert\nserver_tls_sslmode = verify-full\nserver_login_retry = 1\nauth_file = {}\n{files}",
            users.display()
        ));
        pgbouncer.start();
        let port = pgbouncer.port();
        assert!(pooler.set(pgbouncer).is_ok());
        own(setup, &format!("host = 'localhost', hostaddr = '127.0.0.1', port = {port}"))
    });
    let pooler = pooler.into_inner().unwrap();
    // The certificate towards PostgreSQL is the server's, whose CN is no role.
    both.setup.cluster.set_hba("hostssl postgres app 127.0.0.1/32 trust\nlocal all all peer\n");
    both.setup.cluster.reload();
    let mark = both.client().mark();
    both.setup.agent.rotate().unwrap();
    let (event, _) = both.client().wait_for_event_after(mark, LIMIT, |event| {
        event["event"] == "client-admitted" && event["generation"] == 2
    });
    // It lets clients in without asking PostgreSQL.
    assert!(event["unproven"].is_string(), "{event}");
    // PgBouncer keeps the users that it knows until it is restarted.
    pooler.stop();
    both.setup.other.write("users", "\"other\" \"\"\n", 0o644);
    pooler.start();
    let mark = both.client().mark();
    both.setup.agent.rotate().unwrap();
    told(both.client(), mark, "refused", "login-refused");
}
