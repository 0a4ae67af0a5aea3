//! H05–H08, H14: signals, and processes that are not the right ones.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use test_support::{Account, Mark, Process, Program, Setup, Signal};

use super::{PGSVID, configure, fails, lines, told};

/// The table of a hook that signals what this file names.
fn signal(file: &Path, more: &str) -> String {
    let file = file.display();
    format!("[[hooks]]\nname = 'pooler'\nsignal = 'HUP'\npid_file = '{file}'\n{more}\n")
}

/// A program that writes its number to a file, and a line to another whenever it gets SIGHUP.
struct Pooler {
    program: Program,
    pid_file: PathBuf,
    heard: PathBuf,
}

impl Pooler {
    fn start(setup: &Setup) -> Self {
        let (pid_file, heard) = (setup.other.join("pooler.pid"), setup.other.join("heard"));
        let body = format!(
            "trap 'echo heard >> {}' HUP; echo $$ > {}; while :; do sleep 0.1; done",
            heard.display(),
            pid_file.display()
        );
        let program = Program::spawn_as(Account::server(), "/bin/sh", ["-c", &body], &[]);
        lines(&pid_file, 1);
        Self { program, pid_file, heard }
    }
}

#[test]
fn a_process_gets_the_signal_after_each_publication() {
    let setup = Setup::new(PGSVID);
    let pooler = Pooler::start(&setup);
    let process = std::fs::canonicalize("/bin/sh").unwrap();
    let process = format!("process = '{}'", process.file_name().unwrap().display());
    configure(&setup, &[signal(&pooler.pid_file, &process)]);
    let pgsvid = setup.start();
    lines(&pooler.heard, 1);
    let (_, mark) = told(&pgsvid, Mark::default(), "hook-succeeded", "pooler");
    setup.agent.rotate().unwrap();
    let (event, _) = told(&pgsvid, mark, "hook-succeeded", "pooler");
    assert_eq!(event["generation"], 2, "{event}");
    lines(&pooler.heard, 2);
    assert!(pooler.program.is_running());
}

#[test]
fn h05_a_pid_file_without_a_number_is_reported_until_there_is_one() {
    for content in [None, Some(""), Some("pooler\n")] {
        let setup = Setup::new(PGSVID);
        let file = setup.other.join("pooler.pid");
        if let Some(content) = content {
            setup.other.write("pooler.pid", content, 0o644);
        }
        configure(&setup, &[signal(&file, "")]);
        let pgsvid = setup.start();
        fails(&pgsvid, "pooler", "hook-pid-file");
        let pooler = Pooler::start(&setup);
        told(&pgsvid, Mark::default(), "hook-succeeded", "pooler");
        lines(&pooler.heard, 1);
    }
}

#[test]
fn h06_a_process_that_is_gone_is_reported() {
    let setup = Setup::new(PGSVID);
    let pooler = Pooler::start(&setup);
    configure(&setup, &[signal(&pooler.pid_file, "")]);
    pooler.program.signal(Signal::KILL);
    pooler.program.wait_exit(test_support::LIMIT);
    let pgsvid = setup.start();
    fails(&pgsvid, "pooler", "hook-process-gone");
}

#[test]
fn h07_a_process_that_runs_another_program_gets_no_signal() {
    let setup = Setup::new(PGSVID);
    let pooler = Pooler::start(&setup);
    configure(&setup, &[signal(&pooler.pid_file, "process = 'pgbouncer'")]);
    let pgsvid = setup.start();
    let event = fails(&pgsvid, "pooler", "hook-process-foreign");
    // The command of the remedy shows who it is.
    let command = event["command"].as_str().unwrap();
    let shown = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("-c trap"), "{shown:?}");
    assert!(!pooler.heard.exists());
}

/// The one who may write the file of a pooler must not choose what root signals.
#[test]
fn h07_as_root_a_process_of_another_user_than_the_files_gets_no_signal() {
    let (root, setup) = (Account::current(), Setup::new(PGSVID));
    assert_eq!(root.uid(), 0, "this test needs root");
    std::os::unix::fs::chown(setup.files.path(), Some(0), Some(0)).unwrap();
    let victim = Program::spawn_as(root, "/bin/sleep", ["600"], &[]);
    let file = setup.other.write("pooler.pid", victim.pid().to_string(), 0o644);
    let group = format!("[files]\ngroup = \"{}\"\n", setup.cluster.gid());
    configure(&setup, &[group, signal(&file, "")]);
    let pgsvid = setup.spawn_as(root, &[]);
    fails(&pgsvid, "pooler", "hook-process-foreign");
    assert!(victim.is_running());
    // Root's own file may name anybody's process.
    std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
    victim.wait_exit(test_support::LIMIT);
}

#[test]
fn h07_without_permission_to_signal_the_hook_reports_it() {
    let setup = Setup::new(PGSVID);
    let other = Program::spawn_as(Account::current(), "/bin/sleep", ["600"], &[]);
    let file = setup.other.write_owned("pooler.pid", other.pid().to_string(), 0o644, 0, 0);
    configure(&setup, &[signal(&file, "")]);
    let pgsvid = setup.start();
    fails(&pgsvid, "pooler", "hook-signal-refused");
    assert!(other.is_running());
}

#[test]
fn h08_a_process_that_took_the_number_after_the_file_was_written_gets_no_signal() {
    let setup = Setup::new(PGSVID);
    let pooler = Pooler::start(&setup);
    let open = File::options().write(true).open(&pooler.pid_file).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the time of a file is the wall clock's")]
    let before = SystemTime::now() - Duration::from_secs(60);
    open.set_modified(before).unwrap();
    configure(&setup, &[signal(&pooler.pid_file, "")]);
    let pgsvid = setup.start();
    fails(&pgsvid, "pooler", "hook-process-reused");
    assert!(!pooler.heard.exists());
}

#[test]
fn h14_a_process_that_ends_by_the_signal_is_reported() {
    let setup = Setup::new(PGSVID);
    let sleeper = Program::spawn_as(Account::server(), "/bin/sleep", ["600"], &[]);
    let file = setup.other.write("pooler.pid", sleeper.pid().to_string(), 0o644);
    configure(&setup, &[signal(&file, "")]);
    let pgsvid = setup.start();
    fails(&pgsvid, "pooler", "hook-process-died");
    assert!(!Process(sleeper.pid()).is_running());
}
