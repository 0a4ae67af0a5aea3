//! B129: `initdb -A trust`, and lines like those that it writes, let every user of the machine be a superuser.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;
use test_support::{Account, LIMIT, Setup, eventually};

use crate::attacks::endless::started;
use crate::attacks::planted_texts::report;
use crate::judged::findings;

const ROLES: &str = "[[roles]]\nspiffe_id = 'spiffe://example.org/app'\nrole = 'app'\nby = 'uid'\n";
/// What keeps everybody out but the two users that the tests need.
const STOCK: &str = "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\nlocal all all peer\n\
                     hostssl all app all cert clientname=DN map=spiffe\n";

const CODES: [&str; 3] = ["hba-any-role", "others-over-socket", "superuser-over-socket"];

/// Whether a user of the machine who proves nothing is the role, by the socket or by an address.
fn is(setup: &Setup, host: &str, role: &str) -> bool {
    let another = Account::third().expect("the tests run as root");
    let place = format!(
        "host={host} port={} dbname=postgres user={role} sslcert=/nonexistent",
        setup.cluster.port()
    );
    let mut psql = Command::new("psql");
    psql.args(["-X", "-w", "-d", &place, "-c", "SELECT 1"]).uid(another.uid()).current_dir("/");
    psql.output().unwrap().status.success()
}

/// The codes of the failures about who can log in without proof.
fn failures(setup: &Setup, more: &[&str]) -> Vec<String> {
    let report = report(Account::server(), setup, more);
    let code = |found: &Value| found["code"].as_str().unwrap().to_owned();
    let found = findings(&report).into_iter().filter(|found| found["severity"] == "failure");
    found.map(code).filter(|code| CODES.contains(&&**code)).collect()
}

#[test]
fn b129_a_role_that_every_user_of_the_machine_can_be_without_proof_is_a_failure() {
    let setup = started();
    setup.configure(ROLES);
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE app LOGIN");
    let server = Account::server().name();
    let ident = format!(
        "pgsvid {server} pgsvid\nadministration root postgres\nadministration {server} postgres\n"
    );
    setup.cluster.write_file("pg_ident.conf", &ident);
    let socket = setup.cluster.socket_directory().display().to_string();
    for (lines, host, role, code) in [
        ("local all all trust", &*socket, "postgres", "superuser-over-socket"),
        ("local all app trust", &*socket, "app", "others-over-socket"),
        ("local postgres pgsvid trust", &*socket, "pgsvid", "others-over-socket"),
        ("host all all 127.0.0.1/32 trust", "127.0.0.1", "postgres", "hba-any-role"),
        ("hostssl all all samehost trust", "127.0.0.1", "postgres", "hba-any-role"),
        ("hostnossl all app localhost trust", "127.0.0.1", "app", "hba-any-role"),
        ("host postgres pgsvid 127.0.0.1/32 trust", "127.0.0.1", "pgsvid", "hba-any-role"),
    ] {
        // Behind lines that let nobody in, the line harms nobody.
        let closed = if host == "127.0.0.1" {
            format!("host all,replication all all reject\n{lines}")
        } else {
            format!("local all,replication all reject\n{lines}")
        };
        for (lines, is_open) in
            [(format!("{lines}\n{STOCK}"), true), (format!("{STOCK}{closed}"), false)]
        {
            setup.cluster.write_file("pg_hba.conf", &lines);
            setup.cluster.sighup();
            eventually(LIMIT, "the lines are in force", || is(&setup, host, role) == is_open);
            for more in [&[][..], &["--user", "postgres"]] {
                // As a superuser, check does not know with which role pgsvid logs in otherwise.
                if role == "pgsvid" && !more.is_empty() {
                    continue;
                }
                let found = failures(&setup, more);
                let expected = if is_open { vec![code.to_owned()] } else { Vec::new() };
                assert_eq!(found, expected, "{lines} {more:?}");
            }
        }
    }
}
