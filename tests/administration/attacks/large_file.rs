//! B77: a `pg_hba.conf` that PostgreSQL loads, and that is too large for pgsvid: `check` said that this user may not read it.

use crate::attacks::endless::started;
use crate::judged::{check, found, one};

#[test]
fn b77_a_file_that_is_too_large_to_be_judged_is_reported_as_such() {
    let setup = started();
    let comments = format!("# {}\n", "-".repeat(1000)).repeat(5000);
    let lines =
        "local postgres pgsvid peer map=pgsvid\nlocal all all peer\nhost all all 0.0.0.0/0 trust";
    setup.cluster.set_hba(&format!("{comments}{lines}"));
    setup.cluster.restart();
    let report = check(&setup, &[]);
    let fix = one(&report, "skipped", "access-files-unread")["fix"].as_str().unwrap();
    assert!(fix.contains("a shorter file"), "{report:#}");
    assert!(found(&report, "ok", "access-rules").is_empty(), "{report:#}");
}
