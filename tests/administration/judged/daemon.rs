//! N65: what the running daemon knows, and an examination of what there is now cannot see.

use dev_agent::Entry;
use test_support::{LIMIT, Setup, eventually};

use crate::judged::{PGSVID, check, found, one};

#[test]
fn n65_check_repeats_what_the_running_daemon_reports() {
    let setup = Setup::new(PGSVID);
    let names = |names: &[&str]| {
        let entry = Entry::new(Setup::SPIFFE_ID);
        let entry = names.iter().fold(entry, |entry, name| entry.dns(*name));
        setup.agent.set_entries([entry]).unwrap();
    };
    names(&["localhost", "db.example"]);
    let socket = setup.other.join("status.sock");
    setup.configure(&format!("[health]\nlisten = 'unix:{}'\n", socket.display()));
    let pgsvid = setup.start();
    eventually(LIMIT, "the daemon is ready", || {
        !found(&check(&setup, &[]), "ok", "daemon-status").is_empty()
    });

    names(&["localhost"]);
    pgsvid.event_after(test_support::Mark::default(), "identity-names-lost");
    eventually(LIMIT, "it is published", || {
        let report = check(&setup, &[]);
        let found = found(&report, "warning", "daemon-status");
        found.iter().any(|found| found["object"] == "svid-dns-name-lost")
    });

    assert!(pgsvid.terminate(LIMIT).success());
    let report = check(&setup, &[]);
    one(&report, "skipped", "daemon-status");
    assert!(found(&report, "warning", "daemon-status").is_empty(), "{report:#}");
}
