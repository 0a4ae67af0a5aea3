//! B78: another user has made the directory of the agent's socket before the agent did, as `/tmp/spire-agent`, and listens there.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use dev_agent::DevAgent;
use serde_json::Value;
use test_support::{Account, Directory, Program};

use crate::place::{LIMIT, workload};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const EVENT: &str = "agent-socket-exchangeable";

/// A directory of root's where every user may create files, as `/tmp`.
fn shared(directory: &Directory) -> PathBuf {
    let shared = directory.subdirectory("tmp");
    chown(&shared, Some(0), Some(0)).unwrap();
    set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    shared
}

fn arguments(socket: &Path, svids: &Path) -> [String; 6] {
    let endpoint = format!("unix://{}", socket.display());
    let svids = svids.display().to_string();
    ["--endpoint", &endpoint, "--directory", &svids, "--log-format", "json"].map(str::to_owned)
}

/// Whether `run` and `check` report the socket's place. They begin without a published set.
fn reported(socket: &Path, directory: &Directory, svids: &str) -> (bool, bool) {
    let arguments = arguments(socket, &directory.subdirectory(svids));
    let run = Program::spawn(
        PGSVID,
        ["run"].into_iter().chain(arguments.iter().map(String::as_str)),
        &[],
    );
    run.wait_for_event(LIMIT, |event| event["event"] == "published");
    let by_run = run.lines().iter().any(|line| line.contains(EVENT));
    assert!(run.terminate(LIMIT).success());
    let usual = arguments[..4].iter().map(String::as_str);
    let check = ["check", "--format", "json"].into_iter().chain(usual);
    let check = Program::spawn(PGSVID, check, &[]);
    check.wait_exit(LIMIT);
    let report: Value = serde_json::from_str(&check.standard_output()).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let mut findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    (by_run, findings.any(|found| found["code"] == EVENT))
}

#[test]
fn b78_a_directory_of_the_agents_socket_that_another_user_has_made_is_reported() {
    let Some(third) = Account::third() else { return };
    let directory = Directory::new();
    let shared = shared(&directory);
    let place = shared.join("spire-agent");
    std::fs::create_dir(&place).unwrap();
    let socket = place.join("api.sock");
    let agent = DevAgent::builder(&socket).entry(workload()).start().unwrap();
    chown(&place, Some(0), Some(0)).unwrap();
    assert_eq!(reported(&socket, &directory, "1"), (false, false), "root made it");
    chown(&place, Some(third.uid()), Some(third.gid())).unwrap();
    assert_eq!(reported(&socket, &directory, "2"), (true, true));
    // The link in a shared directory is another user's.
    let closed = directory.subdirectory("run");
    let (link, own) = (shared.join("link"), closed.join("api.sock"));
    symlink(&closed, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(third.uid()), None).unwrap();
    drop(agent);
    let _agent = DevAgent::builder(&own).entry(workload()).start().unwrap();
    assert_eq!(reported(&link.join("api.sock"), &directory, "3"), (true, true));
    // The remedy: a directory that root made for the agent's user.
    chown(&closed, Some(third.uid()), Some(third.gid())).unwrap();
    assert_eq!(reported(&own, &directory, "4"), (false, false));
}

/// With an access control list the bits of the group are the list's, whatever the group is.
#[test]
fn b103_a_list_that_lets_another_user_replace_the_socket_is_not_roots_group() {
    let Some(third) = Account::third() else { return };
    let directory = Directory::new();
    let place = directory.subdirectory("run");
    chown(&place, Some(0), Some(0)).unwrap();
    let socket = place.join("api.sock");
    let _agent = DevAgent::builder(&socket).entry(workload()).start().unwrap();
    set_permissions(&place, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(reported(&socket, &directory, "1"), (false, false));
    // Tag, rights, and an ID: the owner, a user by name, the group, the mask, the others (`linux/posix_acl_xattr.h`).
    let entry = |tag: u16, rights: u16, id: u32| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(0x01, 7, u32::MAX),
        entry(0x02, 7, third.uid()),
        entry(0x04, 5, u32::MAX),
        entry(0x10, 7, u32::MAX),
        entry(0x20, 5, u32::MAX),
    ]
    .concat();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&place, "system.posix_acl_access", &list, flags).unwrap();
    let mode = std::fs::metadata(&place).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o775);
    assert_eq!(reported(&socket, &directory, "2"), (true, true));
}
