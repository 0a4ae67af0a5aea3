//! N19, N21: every report names what others have done to the published directory, with a remedy that works.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use test_support::{Account, LIMIT, Mark, Program, Setup, eventually};

use crate::publication::place::PGSVID;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn run(arguments: &[&str]) -> (i32, String) {
    let program = Program::spawn_as(Account::server(), PGSVID, arguments, &[]);
    let status = program.wait_exit(LIMIT).code().unwrap();
    (status, format!("{}{}", program.standard_output(), program.standard_error()))
}

#[test]
fn n19_the_file_that_somebody_has_changed_is_named() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mut mark = Mark::default();
    let data = |name: &str| setup.files.join("..data").join(name);
    for (change, path, what) in [
        (
            Box::new(|| mode(&data("svid_key.pem"), 0o644)) as Box<dyn Fn()>,
            data("svid_key.pem"),
            "its mode is 0644, and was 0600",
        ),
        (Box::new(|| fs::remove_file(data("svid.pem")).unwrap()), data("svid.pem"), "it is gone"),
        (
            Box::new(|| {
                fs::remove_file(data("svid_bundle.pem")).unwrap();
                fs::copy(data("svid.pem"), data("svid_bundle.pem")).unwrap();
            }),
            data("svid_bundle.pem"),
            "its contents are others",
        ),
        (
            Box::new(|| fs::remove_file(setup.files.join("svid.pem")).unwrap()),
            setup.files.join("svid.pem"),
            "no link through ..data",
        ),
    ] {
        change();
        let (event, after) = pgsvid.event_after(mark, "files-changed");
        assert_eq!(event["path"], path.display().to_string(), "{event}");
        assert!(event["change"].as_str().unwrap().contains(what), "{event}");
        mark = pgsvid.event_after(after, "rotated").1;
    }
}

#[test]
fn n21_a_directory_that_has_become_unsafe_is_reported_by_check_and_status_and_healed_by_their_command()
 {
    let setup = Setup::new(PGSVID);
    let socket = setup.other.join("status.sock").display().to_string();
    setup.configure(&format!("[health]\nlisten = 'unix:{socket}'"));
    let pgsvid = setup.start();
    let listen = format!("unix:{socket}");
    let status = || run(&["status", "--socket", &listen]);
    assert!(status().1.starts_with("current"), "{}", status().1);
    mode(setup.files.path(), 0o777);
    eventually(LIMIT, "status tells it", || status().1.contains("others may write to it"));
    let told = status().1;
    let first = told.split_whitespace().next().unwrap();
    assert_ne!(first, "current", "{told}");
    let arguments = setup.arguments();
    let all: Vec<&str> = ["check", "--format", "json"]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let (code, report) = run(&all);
    assert_eq!(code, 1, "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let found = sections
        .iter()
        .flat_map(|section| section["findings"].as_array().unwrap())
        .find(|found| found["code"] == "directory-shared")
        .unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(found["severity"], "failure", "{found:#}");
    let command = found["command"].as_str().unwrap_or_else(|| panic!("no command: {found:#}"));
    assert!(told.contains(command), "{command}: {told}");
    let pasted = Program::spawn(Path::new("/bin/bash"), ["-c", command], &[]);
    assert!(pasted.wait_exit(LIMIT).success(), "{command}: {}", pasted.standard_error());
    eventually(LIMIT, "all is well", || status().1.starts_with("current"));
    assert!(pgsvid.is_running());
}
