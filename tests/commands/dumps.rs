//! A91: no other process can inspect a command, and no command leaves a core dump, whatever it is doing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;

use test_support::{Account, Directory, LIMIT, Program, eventually};

/// The kernel gives what is in /proc to root if a process is not dumpable, and else to its user (proc(5)).
#[test]
fn a91_no_command_can_be_looked_into_by_others_of_its_user() {
    let place = Directory::new();
    let (files, socket) = (place.subdirectory("files"), place.join("silent.sock"));
    // A connected client waits for an answer.
    let _silent = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let (files, socket) = (files.display().to_string(), socket.display().to_string());
    let (agent, listener) = (format!("unix://{socket}"), format!("unix:{socket}"));
    let agent = ["--endpoint", &agent, "--directory", &files];
    for command in [
        [&["check"], &agent[..]].concat(),
        [&["fetch"], &agent[..]].concat(),
        vec!["probe", &server],
        vec!["status", "--socket", &listener],
    ] {
        let running =
            Program::spawn_as(Account::server(), env!("CARGO_BIN_EXE_pgsvid"), &command, &[]);
        let process = format!("/proc/{}", running.pid());
        let owner = |path: String| fs::metadata(path).map(|found| found.uid()).ok();
        eventually(LIMIT, "it is closed to others", || {
            owner(format!("{process}/environ")) == Some(0)
        });
        assert_ne!(owner(process.clone()), None, "{command:?} runs");
        let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(
            core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(),
            ["0", "0"],
            "{core}"
        );
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        assert!(status.contains(&format!("Uid:\t{}\t", Account::server().uid())), "{status}");
        running.signal(test_support::Signal::KILL);
    }
}
