//! The systemd unit, as `systemd-analyze` judges it. `package` runs it.

use std::process::Command;

use crate::packaging::{root, standard_output};

/// What systemd calls the exposure of a service: from 0, safe, to 10.
const MOST_EXPOSURE: f64 = 2.0;

fn analyze(arguments: &[&str]) -> String {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(root().join("packaging/pgsvid@.service"))
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

#[test]
fn it_is_ready_once_files_are_published_and_comes_before_its_postgresql() {
    let unit = unit();
    let has = |wanted: &str| unit.lines().any(|line| line == wanted);
    for line in ["Type=notify", "WatchdogSec=30s", "Before=postgresql@%i.service", "User=postgres"]
    {
        assert!(has(line), "{line} is missing");
    }
}
