//! B63: a view of `pg_hba.conf` shows no quotation marks, and a role that is called "all" counted as everybody.

use serde_json::Value;
use test_support::{Account, LIMIT, Psql, eventually};

use crate::attacks::endless::started;
use crate::attacks::planted_texts::report;
use crate::judged::{found, one};

#[test]
fn b63_where_the_view_alone_tells_a_quoted_keyword_keeps_nobody_out() {
    let setup = started();
    let other = Account::third().expect("the tests run as root");
    let server = Account::server();
    let ident = format!(
        "pgsvid {name} pgsvid\nadministration {name} postgres\nadministration {} postgres\n",
        other.name(),
        name = server.name()
    );
    setup.cluster.write_file("pg_ident.conf", &ident);
    let said = |lines: &str| -> Value {
        let hba = format!(
            "# \"all\" and \"replication\" are words, and @file is none here\nlocal postgres pgsvid peer map=pgsvid\n{lines}\n"
        );
        setup.cluster.write_file("pg_hba.conf", &hba);
        setup.cluster.reload();
        let is_open = || {
            let psql = Psql::new().env("PGHOST", setup.cluster.socket_directory());
            let psql = psql.env("PGPORT", setup.cluster.port().to_string());
            psql.user("postgres").database("postgres").script("SELECT 1").run().status.success()
        };
        eventually(LIMIT, "the lines are loaded", is_open);
        report(&other, &setup, &["--user", "postgres"])
    };
    // Everybody is rejected for replication, or nobody.
    let quoted = said(
        "local all,replication \"all\" reject\nlocal all,replication all trust\nhostssl all \"all\" all reject\nhostssl all all all cert",
    );
    one(&quoted, "failure", "superuser-over-socket");
    assert!(found(&quoted, "failure", "hba-line-never-reached").is_empty(), "{quoted:#}");
    let hidden = |report: &Value| {
        one(report, "skipped", "hba-clientname-hidden")["text"]
            .to_string()
            .contains("quotation marks")
    };
    assert!(hidden(&quoted), "{quoted:#}");
    // Where nothing is quoted outside comments, the words are what they seem to be.
    let plain = said(
        "local all postgres peer map=administration\nhostssl all all all reject\nhostssl all all all cert",
    );
    one(&plain, "failure", "hba-line-never-reached");
    assert!(!hidden(&plain), "{plain:#}");
}
