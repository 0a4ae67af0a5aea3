//! B37: lines for the Unix socket that let other users of the machine log in as roles of `[[roles]]` or superusers, or
//! replicate.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;
use test_support::{Account, LIMIT, Setup, eventually};

use crate::attacks::endless::started;
use crate::attacks::planted_texts::report;

const ROLES: &str = "[[roles]]\nspiffe_id = 'spiffe://example.org/app'\nrole = 'app'\nby = 'uid'\n";

/// The texts of the findings about others who may be a role over the socket.
fn found(setup: &Setup) -> Vec<String> {
    let report = report(Account::server(), setup, &[]);
    let sections = report["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    let about = |finding: &&Value| finding["code"] == "others-over-socket";
    findings.filter(about).map(|finding| finding["text"].as_str().unwrap().to_owned()).collect()
}

/// Whether PostgreSQL lets another user of the machine be the role.
fn lets_in(setup: &Setup, role: &str, more: &str) -> bool {
    let another = Account::third().expect("the tests run as root");
    let place = format!(
        "host={} port={} dbname=postgres user={role} {more}",
        setup.cluster.socket_directory().display(),
        setup.cluster.port()
    );
    let what = if more.is_empty() { "SELECT 1" } else { "IDENTIFY_SYSTEM" };
    let mut psql = Command::new("psql");
    psql.args(["-X", "-w", "-d", &place, "-c", what]).uid(another.uid()).current_dir("/");
    psql.output().unwrap().status.success()
}

#[test]
fn b37_others_who_may_be_a_role_over_the_socket_are_reported() {
    let setup = started();
    setup.configure(ROLES);
    for statement in ["CREATE ROLE app LOGIN", "CREATE ROLE repl LOGIN REPLICATION"] {
        setup.cluster.sql("postgres", "postgres", statement);
    }
    let server = Account::server().name();
    let other = Account::third().expect("the tests run as root");
    let (first, rest) = other.name().split_at(1);
    let ident = format!(
        "pgsvid {server} pgsvid\nadministration root postgres\nadministration {server} postgres\npeople /^[a-z]{rest}$ postgres\n"
    );
    assert!(first.bytes().all(|byte| byte.is_ascii_lowercase()), "{}", other.name());
    setup.cluster.write_file("pg_ident.conf", &ident);
    // As Debian's files are, with what pgsvid recommends.
    let stock = "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\nlocal all all peer\n\
                 hostssl all app all cert clientname=DN map=spiffe\nlocal replication all peer\n";
    let is_reported = |line: &str, role: &str, more: &str, words: &str| {
        setup.cluster.write_file(
            "pg_hba.conf",
            &stock.replace("local all postgres", &format!("{line}local all postgres")),
        );
        setup.cluster.sighup();
        eventually(LIMIT, "the lines are in force", || {
            lets_in(&setup, role, more) != line.is_empty()
        });
        let found = found(&setup);
        if line.is_empty() {
            assert_eq!(found, [""; 0]);
        } else {
            assert!(matches!(&found[..], [one] if one.contains(words)), "{line}: {found:?}");
        }
    };
    is_reported("", "app", "", "");
    is_reported("local all app trust\n", "app", "", "as role app of [[roles]]");
    is_reported("", "app", "", "");
    is_reported(
        "local replication repl trust\n",
        "repl",
        "replication=true",
        "a role that may replicate",
    );
    is_reported("", "repl", "replication=true", "");
    is_reported("local all all peer map=people\n", "postgres", "", "as superuser postgres");
}
