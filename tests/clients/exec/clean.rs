//! J13: the application finds what it would find without pgsvid.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use test_support::{LIMIT, Process, Program};

use super::{Exec, PGSVID, daemon};

/// What a process has got from its starter: signals, rights, limits, descriptors, variables, and whether it may be traced.
const ASKS: &str = "grep -E '^(Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups|Umask|Threads)' /proc/self/status\n\
    cat /proc/$$/limits /proc/$$/oom_score_adj /proc/$$/coredump_filter\n\
    for fd in /proc/$$/fd/*; do echo \"${fd##*/}\" \"$(readlink $fd | sed 's/:.*//')\"; done\n\
    stat -c %u /proc/$$/stat\n\
    cat /proc/$$/attr/current 2>/dev/null\n\
    pwd; nice\n\
    env | grep -v '^PGSERVICE' | sort\n";

/// Signals 32 to 34, which `posix_spawn(3)` ignores in the new process, and which no program can use.
const OF_THE_C_LIBRARY: u64 = 0b111 << 31;

fn lines(program: &Program) -> Vec<String> {
    assert!(program.wait_exit(LIMIT).success());
    let output = program.standard_output();
    let lines = output.lines().map(|line| match line.strip_prefix("SigIgn:\t") {
        Some(mask) => {
            let mask = u64::from_str_radix(mask, 16).unwrap();
            format!("SigIgn: {:x}", mask & !OF_THE_C_LIBRARY)
        }
        None => line.to_owned(),
    });
    lines.collect()
}

#[test]
fn j13_signals_rights_limits_and_descriptors_are_those_of_a_plain_start() {
    let exec = Exec::new();
    let alone = ["--default-signal", "/bin/sh", "-c", ASKS];
    let alone = Program::spawn("/usr/bin/env", alone, &[("MINE", "kept")]);
    let beside = exec.start_with(&[], &["/bin/sh", "-c", ASKS], &[("MINE", "kept")]);
    let (alone, beside) = (lines(&alone), lines(&beside));
    assert!(alone.len() > 20 && alone.iter().any(|line| line == "MINE=kept"), "{alone:#?}");
    assert_eq!(alone, beside);
}

#[test]
fn j13_the_service_managers_variables_are_pgsvids_alone() {
    let exec = Exec::new();
    let name = format!("pgsvid-test-{}", std::process::id());
    let manager = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&manager).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let notify = format!("@{name}");
    let variables =
        [("NOTIFY_SOCKET", &*notify), ("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", "1")];
    let script = "env | grep -E '^(NOTIFY|WATCHDOG|PGSVID_PARENT)'; echo done; sleep 60";
    let program = exec.start_with(&[], &["/bin/sh", "-c", script], &variables);
    program.wait_for_text(LIMIT, "done");
    assert_eq!(program.standard_output(), "done");
    let mut heard = String::new();
    test_support::eventually(LIMIT, "the manager hears that it is ready", || {
        let mut part = [0; 4096];
        let length = manager.recv(&mut part).unwrap();
        heard += &String::from_utf8_lossy(&part[..length]);
        heard.contains("READY=1")
    });
    assert_eq!(program.terminate(LIMIT).code(), Some(143));
    test_support::eventually(Duration::from_secs(5), "the manager hears of the end", || {
        let mut part = [0; 4096];
        let length = manager.recv(&mut part).unwrap();
        String::from_utf8_lossy(&part[..length]).contains("STOPPING=1")
    });
}

/// `sd_listen_fds(3)` compares the process with the variable.
#[test]
fn j13_sockets_that_a_service_manager_has_opened_are_the_applications() {
    let exec = Exec::new();
    let pgsvid = Program::reachable(PGSVID).display().to_string();
    let given =
        exec.arguments(&[], &["/bin/sh", "-c", "echo $LISTEN_PID $$; readlink /proc/$$/fd/3"]);
    let script = "exec 3< /dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
    let arguments = ["-c", script, "sh", &pgsvid].map(str::to_owned).into_iter().chain(given);
    let program = Program::spawn("/bin/sh", arguments, &[]);
    assert!(program.wait_exit(LIMIT).success());
    let output = program.standard_output();
    let mut words = output.split_whitespace();
    assert_eq!(words.next(), words.next(), "{output}");
    assert_eq!(words.next(), Some("/dev/null"));
}

/// A password among the application's variables, and a file that its starter has left open.
#[test]
fn b121_what_the_application_inherits_is_out_of_the_daemons_reach() {
    let exec = Exec::new();
    exec.other.write("secret", "secret", 0o600);
    let secret = exec.other.join("secret");
    let pgsvid = Program::reachable(PGSVID).display().to_string();
    let given = exec.arguments(&[], &["/bin/sh", "-c", "cat <&7; echo $DB_PASSWORD; sleep 600"]);
    let script = format!("exec 7< {}; exec \"$@\"", secret.display());
    let arguments = ["-c", &script, "sh", &pgsvid].map(str::to_owned).into_iter().chain(given);
    let program = Program::spawn("/bin/sh", arguments, &[("DB_PASSWORD", "hunter2")]);
    program.wait_for_text(LIMIT, "hunter2");
    assert!(program.standard_output().contains("secret"));
    let has_open = |process: Process| {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", process.0)).unwrap();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.into_iter().any(|link| link == secret)
    };
    let (first, daemon) = (Process(program.pid()), daemon(&program));
    assert!(!has_open(daemon));
    let variables = std::fs::read(format!("/proc/{}/environ", daemon.0)).unwrap();
    let variables = String::from_utf8_lossy(&variables);
    assert!(!variables.contains("hunter2") && !variables.contains("DB_PASSWORD"), "{variables}");
    // The first process only keeps it for an application that it may have to start again.
    test_support::eventually(LIMIT, "the first process closes it", || !has_open(first));
    assert_eq!(program.terminate(LIMIT).code(), Some(143));
}

/// Names of other programs that begin like those of libpq and of the libraries.
#[test]
fn b150_the_daemon_gets_only_the_variables_that_it_knows() {
    let exec = Exec::new();
    let known = [("PGTZ", "UTC"), ("RUST_BACKTRACE", "0")];
    let others =
        ["PGRST_JWT_SECRET", "PG_PASSWORD", "PGPASSWORD", "LD_API_KEY", "RUST_TOKEN", "TZX"];
    let given: Vec<_> = known.into_iter().chain(others.map(|name| (name, "hunter2"))).collect();
    let program =
        exec.start_with(&[], &["/bin/sh", "-c", "echo $PGRST_JWT_SECRET; sleep 600"], &given);
    program.wait_for_text(LIMIT, "hunter2");
    let variables = std::fs::read(format!("/proc/{}/environ", daemon(&program).0)).unwrap();
    let variables = String::from_utf8_lossy(&variables);
    assert!(!variables.contains("hunter2"), "{variables}");
    assert!(variables.contains("PGTZ=UTC"), "{variables}");
    assert_eq!(program.terminate(LIMIT).code(), Some(143));
}
