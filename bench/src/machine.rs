//! What was measured on.

use std::fs;
use std::path::Path;

use test_support::{Account, Cluster, Program};

use crate::settings::Settings;

/// One line for each part of the machine that counts.
pub(crate) fn description(settings: &Settings) -> String {
    let cluster = Cluster::new();
    let postgres = cluster.sql("postgres", "postgres", "SELECT version()");
    let version = Program::spawn_as(Account::current(), &settings.pgsvid, ["version"], &[]);
    version.wait_exit(test_support::LIMIT);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let uname = rustix::system::uname();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{cores} cores of {}; Linux {}; {}; {}; load before the end {}",
        model.map_or("unknown model", |(_, model)| model),
        uname.release().to_string_lossy(),
        version.standard_output().lines().next().unwrap_or("pgsvid"),
        postgres.split(" on ").next().unwrap_or(&postgres),
        load.trim_end(),
    )
}

/// The kind of file system that a directory is on.
pub(crate) fn file_system(directory: &Path) -> String {
    match rustix::fs::statfs(directory).expect("asks for the file system").f_type {
        // linux/magic.h
        0xef53 => "ext4".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        other => format!("file system {other:#x}"),
    }
}
