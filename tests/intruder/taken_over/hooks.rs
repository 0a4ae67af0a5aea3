//! The way to the parent where there are hooks: it runs those that were configured, and nothing else.

use nix::libc;
use test_support::{LIMIT, Mark, Setup, eventually};

use crate::taken_over::PGSVID;
use crate::taken_over::injector::Injector;
use crate::taken_over::parent::channels;

/// A request for a hook, as the daemon makes it.
fn request(number: u8) -> Vec<u8> {
    [&[b'h', number][..], &[0xff; 4], &7u64.to_le_bytes()].concat()
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
