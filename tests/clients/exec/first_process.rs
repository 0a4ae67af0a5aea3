//! J08: as the first process of a container.

use std::process::Command;

use test_support::{Account, LIMIT, Process, Program, Signal, eventually};

use super::{Exec, PGSVID, application, event};

#[test]
fn j08_as_the_first_process_it_reaps_orphans_and_ends_with_its_application() {
    let exec = Exec::new();
    let server = Account::server();
    let (user, group) = (format!("--reuid={}", server.uid()), format!("--regid={}", server.gid()));
    let pgsvid = Program::reachable(PGSVID).display().to_string();
    let script = "trap 'exit 9' TERM; while :; do sleep 0.1; done";
    let mut arguments: Vec<String> = [
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
        "/usr/bin/setpriv",
        &user,
        &group,
        "--clear-groups",
        "--",
        &pgsvid,
    ]
    .map(str::to_owned)
    .into();
    arguments.extend(exec.arguments(&[], &["/bin/sh", "-c", script]));
    let unshare = Program::spawn_as(Account::current(), "/usr/bin/unshare", arguments, &[]);
    event(&unshare, "application-started");
    let first = Process(unshare.pid()).children().pop().unwrap();
    assert_eq!(first.children().len(), 2, "daemon and application");

    // Processes whose parents end before them.
    let orphans = "for i in 1 2 3; do sleep 0.3 & done; exec true";
    let target = first.0.to_string();
    let status = Command::new("nsenter")
        .args(["--target", &target, "--pid", "--", "/bin/sh", "-c", orphans])
        .status();
    assert!(status.unwrap().success());
    eventually(LIMIT, "the orphans are given to it", || first.children().len() == 5);
    eventually(LIMIT, "the orphans are reaped", || first.children().len() == 2);

    first.signal(Signal::TERM);
    assert_eq!(unshare.wait_exit(LIMIT).code(), Some(9));
    let _ = application(&unshare);
}
