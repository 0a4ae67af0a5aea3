//! The way to the parent where there are hooks: it runs those that were configured, and nothing else.

use std::time::Duration;

use nix::libc;
use test_support::{Account, LIMIT, Mark, Program, Setup, eventually};

use crate::taken_over::PGSVID;
use crate::taken_over::injector::Injector;
use crate::taken_over::parent::channels;

/// A request for a hook, as the daemon makes it.
fn request(number: u8) -> Vec<u8> {
    [&[b'h', number][..], &[0xff; 4], &7u64.to_le_bytes(), &[0; 32]].concat()
}

#[test]
fn h11_an_intruder_in_the_daemon_has_only_hooks_run_that_were_configured() {
    let setup = Setup::new(PGSVID);
    let (ran, planted) = (setup.other.join("ran"), setup.other.join("planted"));
    let body = |file: &std::path::Path| format!("#!/bin/sh\necho $* >> {}\n", file.display());
    let program = setup.other.write("hook", body(&ran), 0o755);
    let other = setup.other.write("other", body(&planted), 0o755);
    let table = |program: &std::path::Path| {
        let program = program.display();
        format!("[[hooks]]\nname = 'pooler'\ncommand = ['{program}', 'as configured']\n")
    };
    setup.configure(&table(&program));
    let pgsvid = setup.start();
    let runs = || std::fs::read_to_string(&ran).unwrap_or_default();
    eventually(LIMIT, "it has run", || runs() == "as configured\n");
    std::thread::sleep(std::time::Duration::from_millis(200));

    // Numbers that there are not, and the one that there is, which is configured.
    let daemon = pgsvid.daemon();
    let injector = Injector::attach(daemon.0);
    let channel = channels(daemon)[0];
    for number in (0..=255).rev() {
        let message = request(number);
        let address = injector.put(0, &message);
        let length = message.len() as u64;
        let sent = injector.call(libc::SYS_write, &[channel, address, length]);
        assert_eq!(sent, length.cast_signed());
    }
    drop(injector);
    eventually(LIMIT, "it has run again", || runs() == "as configured\n".repeat(2));
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    eventually(LIMIT, "it has run for the rotation", || runs() == "as configured\n".repeat(3));

    // Another table: nobody who has told one tells another.
    let daemon = pgsvid.daemon();
    let injector = Injector::attach(daemon.0);
    let channel = channels(daemon)[0];
    let other = other.display();
    let entry = format!(
        r#"{{"name":"x","action":{{"Command":["{other}"]}},"when":"Published","timeout":{{"secs":9,"nanos":0}},"barrier":false,"user":null,"environment":[],"directory":"/"}}"#
    );
    let length = u32::try_from(entry.len()).unwrap().to_le_bytes();
    let message = [&[b't', 1][..], &length, &9000u32.to_le_bytes(), entry.as_bytes()].concat();
    let parts = message.chunks(256).zip(0..);
    let addresses: Vec<u64> = parts.map(|(part, slot)| injector.put(slot, part)).collect();
    injector.last_call(libc::SYS_write, &[channel, addresses[0], message.len() as u64]);
    pgsvid.event_after(Mark::default(), "daemon-restarted");
    assert!(!daemon.is_running());
    pgsvid.current(0);
    eventually(LIMIT, "what was configured runs as before", || runs().lines().count() >= 4);
    assert!(runs().lines().all(|line| line == "as configured") && !planted.exists());
}

/// The processor time of a process so far, in hundredths of a second (`proc_pid_stat(5)`).
fn used(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|it| it.parse::<u64>().unwrap()).sum()
}

/// The messages go over a copy of the daemon's own descriptor.
#[test]
fn b89_a_daemon_that_floods_its_parent_costs_it_no_core() {
    let setup = Setup::new(PGSVID);
    let program = setup.other.write("hook", "#!/bin/sh\nexit 0\n", 0o755);
    let program = program.display();
    setup.configure(&format!("[[hooks]]\nname = 'pooler'\ncommand = ['{program}']\n"));
    let pgsvid = setup.start();
    let (daemon, parent) = (pgsvid.daemon(), pgsvid.pid());
    let flood = "import os, select, sys, time, ctypes\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        held = os.pidfd_open(int(sys.argv[1]))\n\
        got = libc.syscall(438, held, int(sys.argv[2]), 0)\n\
        assert got >= 0, ctypes.get_errno()\n\
        message = bytes(map(int, sys.argv[3].split(',')))\n\
        end = time.monotonic() + 4\n\
        print('begins', flush=True)\n\
        while time.monotonic() < end:\n\
        \x20   select.select([], [got], [], 1)\n\
        \x20   try: os.write(got, message)\n\
        \x20   except BlockingIOError: pass\n";
    // That a set is published, with its sum.
    let ready = [&[b'r'][..], &[0; 32]].concat();
    for message in [ready.clone(), ready.repeat(120), request(200), request(0).repeat(200)] {
        let message = message.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let channel = channels(daemon)[0].to_string();
        let arguments = ["-c", flood, &daemon.0.to_string(), &channel, &message];
        let program = Program::spawn_as(Account::current(), "/usr/bin/python3", arguments, &[]);
        program.wait_for_text(LIMIT, "begins");
        let before = used(parent);
        std::thread::sleep(Duration::from_secs(3));
        let cost = used(parent) - before;
        // Of 300; before it was all of them.
        assert!(cost < 100, "{cost} hundredths of a second in three");
        program.wait_exit(LIMIT);
    }
    assert!(daemon.is_running());
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}
