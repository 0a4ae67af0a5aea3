//! H10: what comes only after proof.

use std::time::Duration;

use test_support::{LIMIT, Mark, Mode, Setup, eventually};

use super::{PGSVID, command, configure, hook, lines, place, read, script, told};

#[test]
fn h10_a_hook_that_waits_for_proof_never_runs_without_it() {
    let setup = Setup::new(PGSVID);
    let (ran, early) = (setup.other.join("ran"), setup.other.join("early"));
    let body = |file: &std::path::Path| format!("echo $PGSVID_GENERATION >> {}", file.display());
    let tables = [
        command("after", &script(&setup, "after", &body(&ran)), "when = 'proven'"),
        command("before", &script(&setup, "before", &body(&early)), ""),
    ];
    configure(&setup, &tables);
    let pgsvid = setup.spawn();
    setup.wait_published();
    // PostgreSQL does not run.
    lines(&early, 1);
    eventually(LIMIT, "it says so", || hook(&setup, "after")["hook"]["waits_for_proof"] == true);
    assert_eq!(read(&ran), "");
    setup.cluster.start();
    assert_eq!(lines(&ran, 1), ["1"]);
    let is_proven = |it: &serde_json::Value| it["event"] == "rotated" && it["verdict"] == "current";
    let has_run =
        |it: &serde_json::Value| it["event"] == "hook-succeeded" && it["consumer"] == "after";
    told(&pgsvid, Mark::default(), "hook-succeeded", "after");
    assert!(place(&pgsvid, is_proven) < place(&pgsvid, has_run));

    // A set that nobody serves yet is no proven one, and what was proven before does not count for it.
    setup.cluster.stop(Mode::Fast);
    setup.agent.rotate().unwrap();
    assert_eq!(lines(&early, 2)[1], "2");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(read(&ran), "1\n");
    setup.cluster.start();
    assert_eq!(lines(&ran, 2), ["1", "2"]);
}

#[test]
fn h10_a_set_that_postgresql_refuses_is_never_proven() {
    let setup = Setup::new(PGSVID);
    let ran = setup.other.join("ran");
    let body = format!("echo $PGSVID_GENERATION >> {}", ran.display());
    configure(&setup, &[command("after", &script(&setup, "after", &body), "when = 'proven'")]);
    let pgsvid = setup.start();
    lines(&ran, 1);
    // PostgreSQL keeps what it has: its CA file cannot be loaded.
    setup.cluster.set_conf("ssl_crl_file = '/nonexistent'");
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    let (event, _) = pgsvid.event_after(mark, "not-in-force");
    assert_eq!(event["verdict"], "still-old", "{event}");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(read(&ran), "1\n");
    setup.cluster.set_conf("ssl_crl_file = ''");
    setup.cluster.sighup();
    assert_eq!(lines(&ran, 2)[1], "2");
}
