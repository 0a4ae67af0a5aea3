//! D04, D05: system calls that fail, are interrupted, or do less than they report.

use std::fs;

use test_support::{LIMIT, Mark, Program, Setup, Strace};

use crate::publication::place::{NAMES, PGSVID, Place, assert_published, current, names};

#[test]
fn d04_what_cannot_be_synced_counts_as_not_written() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let old = setup.agent.svid();
    let strace = Strace::attach(pgsvid.daemon_pid(), "fsync:error=EIO");
    setup.agent.rotate().unwrap();
    let (alarm, _) = pgsvid.event_after(Mark::default(), "publication-failed");
    assert_eq!(alarm["level"], "ERROR");
    let error = alarm["error"].as_str().unwrap();
    assert!(error.starts_with("cannot sync ") && error.contains("Input/output error"), "{alarm}");
    assert!(alarm["next"].as_str().unwrap().contains("the published files stay"), "{alarm}");
    assert_published(setup.files.path(), &old);
    setup.cluster.restart();
    assert_published(setup.files.path(), &old);
    let failed = error.split('/').find(|part| part.starts_with("..v")).unwrap().to_owned();
    strace.detach();
    // What the kernel failed to write may be gone from its cache: the next try is a new directory.
    pgsvid.current(2);
    assert_published(setup.files.path(), &setup.agent.svid());
    assert_ne!(current(setup.files.path()), failed);
    assert!(!setup.files.join(&failed).exists(), "nothing half written stays");
}

#[test]
fn d04_whichever_sync_fails_the_next_try_is_another_directory() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    // Of each of the three files, of the generation, and of the directory once the swap is done.
    for (nth, generation) in (1..=5).zip(2..) {
        let before = current(setup.files.path());
        let strace = Strace::attach(pgsvid.daemon_pid(), &format!("fsync:error=EIO:when={nth}"));
        let mark = pgsvid.mark();
        setup.agent.rotate().unwrap();
        let (alarm, mark) = pgsvid.event_after(mark, "publication-failed");
        strace.detach();
        // Where the swap was done, the set before is put back and handed over in between.
        let (rotated, _) = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
            event["event"] == "rotated" && event["generation"] == generation
        });
        assert_eq!(rotated["verdict"], "current", "{rotated}");
        assert_published(setup.files.path(), &setup.agent.svid());
        let now = current(setup.files.path());
        assert!(now != before && !alarm["error"].as_str().unwrap().contains(&now), "{alarm}");
    }
    setup.cluster.restart();
}

#[test]
fn d05_an_interrupted_call_is_repeated() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    for (call, generation) in ["fsync", "mkdirat", "openat"].into_iter().zip(2..) {
        let fault = format!("{call}:error=EINTR:when=1..2");
        let strace = Strace::attach(pgsvid.daemon_pid(), &fault);
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
        assert!(strace.has_injected(), "{call}");
        strace.detach();
        assert_published(setup.files.path(), &setup.agent.svid());
    }
    let lines = pgsvid.lines();
    assert!(!lines.iter().any(|line| line.contains("\"level\":\"ERROR\"")), "{lines:#?}");
}

#[test]
fn d05_a_write_that_claims_more_than_it_wrote_is_found_by_reading_back() {
    // A `write` of the thread that publishes is a file's, or wakes up the loop, which may be awake. So it is not known which
    // one is the key's, and the next run may differ.
    let place = Place::new();
    let of_key = (1..12).cycle().take(100).find(|nth| {
        // Both tries within one publication, each of four files: the key lacks a byte.
        let fetch = fetch(&place, &format!("write:retval=1:when={nth}..{}+5", nth + 5));
        let code = fetch.wait_exit(LIMIT).code();
        let said = fetch.standard_error();
        // A loop that nothing wakes up ends at its time limit.
        let expected = ["does not hold what was written to it", "no identity within"];
        assert!(code == Some(0) || expected.iter().any(|it| said.contains(it)), "{said}");
        assert_eq!(code == Some(0), !names(&place.svids, "").eq(&["..lock"]), "{said}");
        for name in names(&place.svids, "") {
            let path = place.svids.join(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
        said.contains("svid_key.pem does not hold what was written to it")
    });
    assert!(of_key.is_some(), "no write is the key's");
    // And once, whichever file it is: the second try is right.
    let is_right = (1..12).cycle().take(100).any(|nth| {
        let fetch = fetch(&place, &format!("write:retval=1:when={nth}"));
        fetch.wait_exit(LIMIT).success() && has_hit_a_file(&fetch.standard_error())
    });
    assert!(is_right);
    assert_published(&place.svids, &place.agent.svid());
    assert_eq!(names(&place.svids, "..v").len(), 1);
    for name in NAMES {
        assert!(fs::metadata(place.svids.join(name)).unwrap().len() > 100);
    }
}

/// Whether the write that was to fail is a file's: `write(20, 0x7f…, 757) = 1 (INJECTED)`. What wakes up the loop has eight
/// bytes.
fn has_hit_a_file(said: &str) -> bool {
    said.lines().filter_map(|line| line.split_once(") = 1 (INJECTED)")).any(|(call, _)| {
        let length = call.rsplit(", ").next().and_then(|length| length.parse().ok());
        length.is_some_and(|length: u32| length > 100)
    })
}

/// `pgsvid fetch` with a fault.
fn fetch(place: &Place, fault: &str) -> Program {
    let mut arguments = place.arguments();
    "fetch".clone_into(&mut arguments[0]);
    arguments.extend(["--timeout".to_owned(), "5s".to_owned()]);
    Strace::around(PGSVID, &arguments, fault)
}
