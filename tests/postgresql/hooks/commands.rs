//! H01–H04, H15: commands, and how they end.

use std::time::Duration;

use test_support::{Account, LIMIT, Mark, Process, Setup, eventually};

use super::{PGSVID, command, configure, fails, hook, lines, read, script, told, view};

#[test]
fn h01_a_command_that_fails_is_reported_once_with_its_output_and_tried_again_until_it_succeeds() {
    let setup = Setup::new(PGSVID);
    let allowed = setup.other.join("allowed");
    let body = format!("test -e {} && exit 0; echo 'not yet' >&2; exit 3", allowed.display());
    configure(&setup, &[command("pooler", &script(&setup, "hook", &body), "")]);
    let pgsvid = setup.start();
    let event = fails(&pgsvid, "pooler", "hook-command-failed");
    assert_eq!(event["output"], "not yet", "{event}");
    eventually(LIMIT, "it is tried again", || {
        hook(&setup, "pooler")["hook"]["failed"].as_u64() >= Some(3)
    });
    let (seen, whole) = (hook(&setup, "pooler"), view(&setup));
    assert_eq!((&seen["kind"], &seen["reload_pending"]), (&"hook".into(), &true.into()), "{seen}");
    assert_eq!(seen["findings"][0]["code"], "hook-command-failed");
    // The database stays in service.
    assert_eq!(
        (&whole["ready"], &whole["degraded"][0]),
        (&true.into(), &seen["problem"]),
        "{whole}"
    );
    assert_eq!(pgsvid.events("hook-failed").len(), 1);

    setup.other.write("allowed", "", 0o644);
    let (event, _) = told(&pgsvid, Mark::default(), "hook-succeeded", "pooler");
    assert_eq!(event["level"], "INFO");
    eventually(LIMIT, "all is well", || view(&setup)["degraded"] == serde_json::json!([]));
    let seen = hook(&setup, "pooler");
    assert_eq!(
        (&seen["problem"], &seen["reload_pending"]),
        (&serde_json::Value::Null, &false.into())
    );
    assert_eq!(seen["hook"]["generation"], event["generation"]);
}

#[test]
fn h02_what_hangs_is_killed_with_its_grandchildren_and_delays_no_rotation() {
    let setup = Setup::new(PGSVID);
    let numbers = setup.other.join("numbers");
    let forever = "trap '' TERM INT HUP; while :; do sleep 1; done";
    let body = format!(
        "echo $$ >> {0}; (trap '' TERM; sh -c 'echo $$ >> {0}; {1}' & wait) & {2}",
        numbers.display(),
        forever.replace('\'', "'\\''"),
        forever
    );
    configure(&setup, &[command("slow", &script(&setup, "hook", &body), "timeout = '1s'")]);
    let pgsvid = setup.start();
    let started = lines(&numbers, 2);
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    fails(&pgsvid, "slow", "hook-timed-out");
    for number in &started[..2] {
        let process = Process(number.parse().unwrap());
        eventually(LIMIT, "it is gone", || !process.is_running());
    }
    // Nothing is left to be reaped but the run that is going on.
    eventually(LIMIT, "the others are reaped", || Process(pgsvid.pid()).children().len() <= 2);
}

#[test]
fn h03_a_flood_of_output_is_taken_up_and_its_end_is_reported() {
    let setup = Setup::new(PGSVID);
    let body = "yes 'a line of many' | head -c 200000000; printf 'the end\\033[2J'; exit 1";
    configure(&setup, &[command("loud", &script(&setup, "hook", body), "timeout = '1m'")]);
    let pgsvid = setup.start();
    let event = fails(&pgsvid, "loud", "hook-command-failed");
    let output = event["output"].as_str().unwrap();
    assert!(output.len() < 4096 && output.ends_with("the end\\u{1b}[2J"), "{output}");
    assert!(event["written"].as_u64() > Some(200_000_000), "{event}");
    let parent = Process(pgsvid.pid());
    assert!(parent.memory().private < 1024 * 1024, "{:?}", parent.memory());
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}

#[test]
fn h04_what_cannot_be_executed_is_reported_with_the_reason() {
    let setup = Setup::new(PGSVID);
    let forbidden = setup.other.write("forbidden", "#!/bin/sh\n", 0o644);
    let tables = [
        command("forbidden", &forbidden, ""),
        command("missing", &setup.other.join("missing"), ""),
        command("directory", setup.other.path(), ""),
    ];
    configure(&setup, &tables);
    let pgsvid = setup.start();
    for name in ["forbidden", "missing", "directory"] {
        let event = fails(&pgsvid, name, "hook-not-executable");
        assert!(event["cause"].is_string() && event["fix"].is_string(), "{event}");
    }
    // The remedy, as it is printed.
    let event = fails(&pgsvid, "forbidden", "hook-not-executable");
    let remedy = event["command"].as_str().unwrap();
    assert!(std::process::Command::new("sh").args(["-c", remedy]).status().unwrap().success());
    told(&pgsvid, Mark::default(), "hook-succeeded", "forbidden");
}

#[test]
fn h15_a_command_finds_what_was_configured_and_nothing_of_pgsvids() {
    let setup = Setup::new(PGSVID);
    let (out, more) = (setup.other.join("out"), "environment = { SITE = \"one two\" }");
    // Each run writes all of it at once.
    let body = format!(
        "{{ env; pwd; grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd; }} > {0}.new; mv {0}.new {0}",
        out.display()
    );
    let program = script(&setup, "hook", &body);
    configure(&setup, &[command("look", &program, more)]);
    let pgsvid = setup.start();
    told(&pgsvid, Mark::default(), "hook-succeeded", "look");
    let seen = read(&out);
    let has = |line: &str| seen.lines().any(|it| it == line);
    for line in ["SITE=one two", "PGSVID_HOOK=look", "/", "SigBlk:\t0000000000000000"] {
        assert!(has(line), "{line} in {seen}");
    }
    assert!(has(&format!("PGSVID_DIRECTORY={}", setup.files.path().display())), "{seen}");
    assert!(has("PGSVID_GENERATION=1"), "{seen}");
    assert!(!seen.contains("PGSVID_PARENT") && !seen.contains("NOTIFY_SOCKET"), "{seen}");
    // The last is that of `ls`.
    let open: Vec<&str> = seen.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert_eq!(open, ["0", "1", "2", "3"]);
    // What it ignores is what it would ignore without pgsvid.
    let without = std::process::Command::new(&program).status();
    assert!(without.unwrap().success());
    let ignored =
        |seen: &str| seen.lines().find(|line| line.starts_with("SigIgn")).map(str::to_owned);
    assert_eq!(ignored(&seen), ignored(&read(&out)));
}

#[test]
fn h15_as_root_a_hook_runs_as_its_user_and_in_that_users_groups() {
    let (root, setup, server) = (Account::current(), Setup::new(PGSVID), Account::server());
    assert_eq!(root.uid(), 0, "this test needs root");
    std::os::unix::fs::chown(setup.files.path(), Some(0), Some(0)).unwrap();
    let user = format!("user = {:?}", server.name());
    let program = script(&setup, "hook", "id -u; id -g; id -G; exit 1");
    let group = format!("[files]\ngroup = \"{}\"\n", setup.cluster.gid());
    configure(&setup, &[group, command("other", &program, &user)]);
    let pgsvid = setup.spawn_as(root, &[]);
    let event = fails(&pgsvid, "other", "hook-command-failed");
    let output = event["output"].as_str().unwrap();
    let all = std::process::Command::new("id").args(["-G", server.name()]).output().unwrap();
    let sorted = |text: &str| {
        let mut numbers: Vec<u32> = text.split_whitespace().map(|it| it.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let lines: Vec<&str> = output.split("\\n").collect();
    assert_eq!(lines[0], server.uid().to_string(), "{output}");
    assert_eq!(lines[1], server.gid().to_string(), "{output}");
    assert_eq!(sorted(lines[2]), sorted(&String::from_utf8(all.stdout).unwrap()));
}

#[test]
fn h15_one_who_is_not_root_cannot_run_a_hook_as_another_user() {
    let setup = Setup::new(PGSVID);
    let program = script(&setup, "hook", "exit 0");
    configure(&setup, &[command("other", &program, "user = 'root'")]);
    let pgsvid = setup.start();
    fails(&pgsvid, "other", "hook-user-refused");
    assert!(pgsvid.events("hook-succeeded").is_empty());
}

#[test]
fn h16_asked_to_end_it_ends_although_a_hook_hangs_and_leaves_nothing_behind() {
    let setup = Setup::new(PGSVID);
    let numbers = setup.other.join("numbers");
    let body = format!("trap '' TERM; echo $$ >> {}; while :; do sleep 1; done", numbers.display());
    configure(&setup, &[command("slow", &script(&setup, "hook", &body), "timeout = '1h'")]);
    let pgsvid = setup.start();
    let number = lines(&numbers, 1)[0].parse().unwrap();
    assert!(pgsvid.terminate(LIMIT + Duration::from_secs(10)).success());
    assert!(!Process(number).is_running());
}
