//! H09, H12: deaths while a hook runs, and a configuration that changes meanwhile.

use test_support::{LIMIT, Mark, Process, Setup, Signal, eventually};

use super::{PGSVID, command, configure, fails, hook, lines, read, script, told};

#[test]
fn h09_a_hook_that_somebody_kills_has_failed_and_is_run_again() {
    let setup = Setup::new(PGSVID);
    let (numbers, allowed) = (setup.other.join("numbers"), setup.other.join("allowed"));
    let body = format!(
        "test -e {} && exit 0; echo $$ >> {}; exec sleep 600",
        allowed.display(),
        numbers.display()
    );
    configure(&setup, &[command("pooler", &script(&setup, "hook", &body), "timeout = '10m'")]);
    let pgsvid = setup.start();
    let number = lines(&numbers, 1)[0].parse().unwrap();
    setup.other.write("allowed", "", 0o644);
    Process(number).signal(Signal::KILL);
    fails(&pgsvid, "pooler", "hook-killed");
    told(&pgsvid, Mark::default(), "hook-succeeded", "pooler");
}

#[test]
fn h09_a_hook_outlives_the_daemon_and_the_next_one_has_it_run_again() {
    let setup = Setup::new(PGSVID);
    let (begun, done) = (setup.other.join("begun"), setup.other.join("done"));
    let body = format!("echo $$ >> {}; sleep 3; echo $$ >> {}", begun.display(), done.display());
    configure(&setup, &[command("pooler", &script(&setup, "hook", &body), "")]);
    let pgsvid = setup.start();
    let first = lines(&begun, 1)[0].clone();
    let mark = pgsvid.mark();
    // By its name: hooks are children, too.
    pgsvid.daemon().signal(Signal::KILL);
    let (_, mark) = pgsvid.event_after(mark, "daemon-restarted");
    assert_eq!(lines(&done, 1)[0], first, "it came to its end");
    // The next daemon does not know of it, and never two run at once.
    told(&pgsvid, mark, "hook-succeeded", "pooler");
    let (begun, done) = (lines(&begun, 2), lines(&done, 2));
    assert_eq!(begun[..2], done[..2]);
}

#[test]
fn h09_a_hook_does_not_outlive_the_parent() {
    let setup = Setup::new(PGSVID);
    let numbers = setup.other.join("numbers");
    let body = format!("echo $$ >> {}; exec sleep 600", numbers.display());
    configure(&setup, &[command("pooler", &script(&setup, "hook", &body), "timeout = '10m'")]);
    let pgsvid = setup.start();
    let running = Process(lines(&numbers, 1)[0].parse().unwrap());
    Process(pgsvid.pid()).signal(Signal::KILL);
    eventually(LIMIT, "it is gone", || !running.is_running());
}

#[test]
fn h12_what_was_changed_since_the_start_is_reported_and_not_run() {
    let setup = Setup::new(PGSVID);
    let (old, new, same) =
        (setup.other.join("old"), setup.other.join("new"), setup.other.join("same"));
    let body = |file: &std::path::Path| format!("echo run >> {}", file.display());
    let kept = command("kept", &script(&setup, "kept", &body(&same)), "");
    let table = |file| command("pooler", &script(&setup, "hook", &body(file)), "");
    configure(&setup, &[table(&old), kept.clone()]);
    let pgsvid = setup.start();
    lines(&old, 1);
    lines(&same, 1);
    // Another argument makes another hook of it.
    let changed = script(&setup, "hook-2", &body(&new));
    configure(&setup, &[kept, command("pooler", &changed, "")]);
    let mark = pgsvid.mark();
    pgsvid.daemon().signal(Signal::KILL);
    let (event, _) = told(&pgsvid, mark, "hook-changed", "pooler");
    assert_eq!((&event["code"], &event["level"]), (&"hook-changed".into(), &"ERROR".into()));
    lines(&same, 2);
    let before = read(&old);
    setup.agent.rotate().unwrap();
    lines(&same, 3);
    assert_eq!((read(&new), read(&old)), (String::new(), before));
    assert_eq!(hook(&setup, "pooler")["findings"][0]["code"], "hook-changed");
    assert!(pgsvid.terminate(LIMIT).success());
    // Started again, as the remedy says, it is run.
    let _pgsvid = setup.spawn();
    lines(&new, 1);
}
