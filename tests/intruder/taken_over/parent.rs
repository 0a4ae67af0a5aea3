//! The channel to the parent, which is in no sandbox: a daemon in an attacker's hands cannot make it do anything.

use std::fs;

use nix::libc;
use test_support::{Mark, Process, Setup, Signal, Strace};

use crate::taken_over::PGSVID;
use crate::taken_over::injector::Injector;

/// What seccomp answers.
const REFUSED: i64 = -(libc::EPERM as i64);

/// The numbers under which the daemon has the socket whose other end the parent has.
pub(super) fn channels(daemon: Process) -> Vec<u64> {
    let socket = |number: &u64| {
        fs::read_link(format!("/proc/{}/fd/{number}", daemon.0))
            .is_ok_and(|leads_to| leads_to.to_string_lossy().starts_with("socket:"))
    };
    // As `fcntl(2)` numbers them: the first that the daemon was given, and what keeps it open.
    (3..64).filter(socket).take(2).collect()
}

#[test]
fn x10_an_intruder_in_the_daemon_makes_the_parent_run_nothing() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let (parent, daemon) = (Process(pgsvid.pid()), pgsvid.daemon());
    // Nothing that it starts escapes: the fault is none.
    let calls = "execve:delay_enter=1";
    let watched = "execveat,fork,vfork,clone,clone3,openat,connect,kill,tgkill";
    let strace = Strace::attach_to_threads(&[parent.0], calls, watched);
    let injector = Injector::attach(daemon.0);
    let channels = channels(daemon);
    assert_eq!(channels.len(), 2, "{channels:?}");

    let every: Vec<u8> = (0..=255).collect();
    let bytes = injector.put(0, &every);
    let mut sent = 0;
    for channel in &channels {
        // Each byte alone, all at once, and more than there is room for.
        for at in 0..256 {
            let one = injector.call(libc::SYS_sendto, &[*channel, bytes + at, 1, 0, 0, 0]);
            assert!(one == 1 || one == -i64::from(libc::EAGAIN), "{one}");
        }
        for _ in 0..2000 {
            let written = injector.call(libc::SYS_write, &[*channel, bytes, 256]);
            if written != 256 {
                break;
            }
            sent += written;
        }
    }
    assert!(sent > 0);
    // No descriptor can be passed on, and the parent cannot be reached in another way.
    let message = injector.put(1, &[0; 64]);
    assert_eq!(injector.call(libc::SYS_sendmsg, &[channels[0], message, 0]), REFUSED);
    let target = u64::from(parent.0);
    for call in [
        (libc::SYS_kill, vec![target, 9]),
        (libc::SYS_tgkill, vec![target, target, 6]),
        (libc::SYS_ptrace, vec![16, target]),
        (libc::SYS_process_vm_writev, vec![target, message, 1, message, 1, 0]),
        (libc::SYS_pidfd_open, vec![target, 0]),
        (libc::SYS_prctl, vec![1, 0]),
    ] {
        assert_eq!(injector.call(call.0, &call.1), REFUSED, "{call:?}");
    }
    drop(injector);

    // It listens to signals as before, and that is all that it has done.
    let mark = pgsvid.mark();
    pgsvid.signal(Signal::HUP);
    pgsvid.event_after(mark, "asked-again");
    assert_eq!(pgsvid.daemon().0, daemon.0);
    assert_eq!(parent.children().len(), 1);
    for call in ["exec", "fork(", "clone", "openat(", "connect(", "kill("] {
        assert!(!strace.has_seen(call), "{call}");
    }
    setup.agent.rotate().unwrap();
    pgsvid.current(2);

    // The one thing that the daemon can have it do.
    let mark = pgsvid.mark();
    daemon.signal(Signal::KILL);
    pgsvid.event_after(mark, "daemon-restarted");
    assert!(strace.has_seen("openat(") || strace.has_seen("clone") || strace.has_seen("fork("));
    strace.detach();
}

/// One that shuts its end is taken for dead, and is.
#[test]
fn x10_a_daemon_that_leaves_its_parent_is_replaced() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let daemon = pgsvid.daemon();
    let injector = Injector::attach(daemon.0);
    let channel = channels(daemon)[0];
    let both = u64::try_from(libc::SHUT_RDWR).unwrap();
    injector.last_call(libc::SYS_shutdown, &[channel, both]);
    pgsvid.event_after(Mark::default(), "daemon-restarted");
    assert!(!daemon.is_running());
    pgsvid.current(0);
}
