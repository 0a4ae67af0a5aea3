use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::Directory;

const LIMIT: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Program {
    Program::spawn("/bin/sh", ["-c", script], &[])
}

#[test]
fn lines_are_found_now_and_later() {
    let program = shell("echo first; echo second >&2; sleep 0.2; echo third; exec sleep 60");
    assert_eq!(program.wait_for_text(LIMIT, "sec"), "second");
    let mark = program.mark();
    assert_eq!(program.wait_after(mark, LIMIT, |line| line.starts_with('t')), "third");
    assert_eq!(program.standard_output(), "first\nthird");
    assert_eq!(program.standard_error(), "second");
    assert!(program.is_running());
    assert_eq!(program.terminate(LIMIT).signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn events_follow_each_other() {
    let program = shell(r#"echo noise; echo '{"n":1}'; echo '{"n":2}'; exit 3"#);
    let (one, mark) = program.wait_for_event_after(Mark::default(), LIMIT, |_| true);
    let (two, _) = program.wait_for_event_after(mark, LIMIT, |_| true);
    assert_eq!((one["n"].as_u64(), two["n"].as_u64()), (Some(1), Some(2)));
    assert_eq!(program.wait_exit(LIMIT).code(), Some(3));
}

#[test]
fn an_early_end_is_noticed_at_once() {
    let program = shell("echo bye; exit 1");
    let result = catch_unwind(AssertUnwindSafe(|| {
        program.wait_for_text(Duration::from_secs(600), "hello");
    }));
    let message = *result.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(message, "sh ended (exit status: 1) without writing \"hello\"");
}

#[test]
fn runs_as_the_server_with_its_own_variables_only() {
    let script = r#"id -u; env | grep -c -E '^(PG|SPIFFE_)'; echo "$PGSVID_X""#;
    let program = Program::spawn("/bin/sh", ["-c", script], &[("PGSVID_X", "given")]);
    program.wait_exit(LIMIT);
    assert_eq!(program.standard_output(), format!("{}\n1\ngiven", Account::server().uid()));
}

#[test]
fn runs_what_lies_in_a_closed_directory() {
    let directory = Directory::new();
    let closed = directory.subdirectory("closed");
    let program = closed.join("true");
    fs::copy("/bin/true", &program).unwrap();
    chown(&closed, Some(Account::current().uid()), None).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    assert!(Program::spawn(&program, [""; 0], &[]).wait_exit(LIMIT).success());
}
