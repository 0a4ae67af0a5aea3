//! The systemd unit, as `systemd-analyze` judges it. `package` runs it.

use std::path::Path;
use std::process::Command;

use crate::packaging::{root, standard_output};

/// What systemd calls the exposure of a service: from 0, safe, to 10.
const MOST_EXPOSURE: f64 = 2.0;

fn analyze(arguments: &[&str]) -> String {
    judged(arguments, &root().join("packaging/pgsvid@.service"))
}

fn judged(arguments: &[&str], unit: &Path) -> String {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("LC_ALL", "C")
        .output()
        .expect("runs systemd-analyze, of systemd");
    standard_output(&output)
}

fn unit() -> String {
    std::fs::read_to_string(root().join("packaging/pgsvid@.service")).unwrap()
}

#[test]
fn its_exposure_is_low() {
    let text = analyze(&["security", "--offline=true", "--no-pager"]);
    let (_, level) = text.rsplit_once("exposure level for").expect("a judgement");
    let level: f64 = level.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(level > 0.0 && level < MOST_EXPOSURE, "{text}");
}

/// Each of these would break what the unit is for, however much it would please `systemd-analyze`.
#[test]
fn what_would_break_it_is_left_out_with_a_reason() {
    let unit = unit();
    for setting in
        ["PrivateUsers=", "DynamicUser=", "RemoveIPC=", "PrivateNetwork=", "IPAddressDeny="]
    {
        assert!(!unit.lines().any(|line| line.starts_with(setting)), "{setting} is set");
        assert!(unit.contains(&format!("#   {setting}")), "no reason is given for {setting}");
    }
}

/// docs/security.md and docs/evidence/performance.md say what is used. No key gets onto a disk.
#[test]
fn its_limits_leave_room_for_the_largest_messages_and_for_every_connection() {
    let unit = unit();
    let has = |wanted: &str| unit.lines().any(|line| line == wanted);
    for line in
        ["MemoryMax=128M", "MemorySwapMax=0", "LimitNOFILE=256", "LimitCORE=0", "TasksMax=32"]
    {
        assert!(has(line), "{line} is missing");
    }
}

#[test]
fn the_drop_in_that_it_shows_closes_every_address_but_the_loopback() {
    let unit = unit();
    let shown: Vec<_> = unit
        .lines()
        .skip_while(|line| !line.starts_with("#   IPAddressDeny="))
        .filter_map(|line| line.strip_prefix("#                      "))
        .collect();
    assert!(shown.len() == 3 && shown[0] == "[Service]", "{shown:?}");
    let place = test_support::Directory::new();
    let changed = place.write("pgsvid@.service", format!("{unit}\n{}", shown.join("\n")), 0o644);
    let text = judged(&["security", "--offline=true", "--no-pager"], &changed);
    let judgement = text.lines().find(|line| line.contains("IPAddressDeny=")).unwrap();
    assert!(judgement.contains("only localhost"), "{judgement}");
}

#[test]
fn it_is_ready_once_files_are_published_and_comes_before_its_postgresql() {
    let unit = unit();
    let has = |wanted: &str| unit.lines().any(|line| line == wanted);
    for line in [
        "Type=notify",
        "NotifyAccess=all",
        "KillMode=mixed",
        "OOMPolicy=continue",
        "WatchdogSec=30s",
        "Before=postgresql@%i.service",
        "User=postgres",
    ] {
        assert!(has(line), "{line} is missing");
    }
}
