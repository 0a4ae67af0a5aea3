//! A throw-away machine: this one's file system with a layer of its own over it, booted with its own systemd, in its own
//! network. Everything done in it is gone when it ends.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use test_support::{Account, Directory, LIMIT, Program, eventually};

use crate::packaging::standard_output;

/// The layer is in memory, and the mounts are in a namespace that ends with the program.
const BOOT: &str = r#"
mount -t tmpfs -o mode=755 tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root"
exec systemd-nspawn --quiet --directory="$0/root" --register=no --keep-unit --private-network \
    --link-journal=no --console=pipe --bind="$1":/run/spire/agent/public --bind-ro="$2":/packages \
    --boot systemd.unit=basic.target
"#;

/// As far as the commands of the documentation use it.
const SUDO: &str = r#"#!/bin/sh
if [ "$1" = -u ]; then
    user=$2
    shift 2
    exec runuser -u "$user" -- "$@"
fi
exec "$@"
"#;

pub(crate) struct Machine {
    nspawn: Program,
    _layer: Directory,
}

impl Machine {
    /// Boots it. It sees the directory of an agent's socket where SPIRE's default would be, below /run, and packages below
    /// /packages.
    #[track_caller]
    pub(crate) fn boot(agent: &Path, packages: &Path) -> Self {
        let layer = Directory::new();
        let path = |path: &Path| path.display().to_string();
        let arguments = [
            "--mount",
            "--",
            "/bin/sh",
            "-ec",
            BOOT,
            &path(layer.path()),
            &path(agent),
            &path(packages),
        ];
        let unshare = Path::new("/usr/bin/unshare");
        let nspawn = Program::spawn_as(Account::current(), unshare, arguments, &[]);
        let machine = Self { nspawn, _layer: layer };
        eventually(LIMIT, "the machine has booted (apt-get install systemd-container)", || {
            machine.first_process().is_some() && {
                let state = machine.run("systemctl is-system-running || :");
                let state = String::from_utf8_lossy(&state.stdout).into_owned();
                ["running", "degraded"].contains(&state.trim())
            }
        });
        machine.succeed(&format!(
            "cat >/usr/local/bin/sudo <<'END'\n{SUDO}END\nchmod 755 /usr/local/bin/sudo"
        ));
        machine
    }

    /// Runs a shell script as root in it.
    pub(crate) fn run(&self, script: &str) -> Output {
        let first = self.first_process().expect("the machine runs").to_string();
        Command::new("nsenter")
            .args(["--all", "--target", &first, "--", "/bin/sh", "-ec", script])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("SYSTEMD_PAGER", "cat")
            .current_dir("/")
            .output()
            .expect("runs nsenter, of util-linux")
    }

    /// The same; it has to succeed. Returns what it wrote to standard output.
    #[track_caller]
    pub(crate) fn succeed(&self, script: &str) -> String {
        standard_output(&self.run(script))
    }

    /// Waits until the log of a unit has so many lines with all of these.
    #[track_caller]
    pub(crate) fn wait_logged(&self, unit: &str, wanted: &[&str], times: usize) {
        let log = Log { machine: self, unit };
        eventually(LIMIT, format_args!("{wanted:?} {times} times in\n{log}"), || {
            let text = log.to_string();
            let fits = |line: &&str| wanted.iter().all(|text| line.contains(text));
            text.lines().filter(fits).count() >= times
        });
    }

    /// The process that is number 1 in there.
    fn first_process(&self) -> Option<u32> {
        let nspawn = self.nspawn.pid();
        let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            numbers.is_some_and(|numbers| numbers.split_whitespace().last() == Some("1"))
        })
    }
}

/// What a unit has written, and systemd about it, read when it is shown.
struct Log<'a> {
    machine: &'a Machine,
    unit: &'a str,
}

impl fmt::Display for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let script = format!("journalctl --no-pager --output=cat --unit={}", self.unit);
        f.write_str(&String::from_utf8_lossy(&self.machine.run(&script).stdout))
    }
}
