//! The Debian package on its own machine: docs/vm.md as it is written, and how systemd runs the unit.

use std::fs;
use std::process::Command;

use dev_agent::{DevAgent, Entry};
use test_support::{Directory, Installation, LIMIT, eventually};

use crate::packaging::machine::Machine;
use crate::packaging::{built, debian_package, root, standard_output};

/// What no machine here has, or what has been done by then: SPIRE, and building.
const LEFT_OUT: [&str; 4] = ["spire-", "scripts/", "target/debug/", "grep rotated"];

pub(crate) struct Place {
    pub(crate) agent: DevAgent,
    pub(crate) machine: Machine,
    /// `15-main`
    pub(crate) cluster: String,
    _directory: Directory,
}

/// A machine with PostgreSQL of Debian, and an agent. No package yet.
pub(crate) fn place() -> Place {
    let directory = Directory::new();
    let socket = directory.subdirectory("agent");
    let agent = DevAgent::builder(socket.join("api.sock"))
        .entry(Entry::new("spiffe://example.org/ns/applications/sa/dbserver").dns("dbserver-svc"))
        .automatic(false)
        .start()
        .unwrap();
    let packages = directory.subdirectory("packages");
    fs::copy(debian_package(), packages.join("pgsvid.deb")).unwrap();
    let machine = Machine::boot(&socket, &packages);
    let version = debians_version();
    // As the distribution's package leaves it, whatever this machine has.
    machine.succeed(&format!(
        "pg_lsclusters --no-header | while read -r version name rest; do
             pg_dropcluster --stop \"$version\" \"$name\"
         done
         rm -rf /etc/pgsvid /var/lib/pgsvid
         # An index of all man pages would take longer than everything else.
         rm -f /var/lib/man-db/auto-update
         pg_createcluster --port 5432 {version} main
         systemctl start postgresql@{version}-main"
    ));
    Place { agent, machine, cluster: format!("{version}-main"), _directory: directory }
}

/// The newest that Debian's packages have installed.
fn debians_version() -> String {
    let program = Installation::found().program("postgres").display().to_string();
    let version =
        program.strip_prefix("/usr/lib/postgresql/").and_then(|rest| rest.split('/').next());
    version.expect("Debian's PostgreSQL; unset PGSVID_PG_BIN").to_owned()
}

/// The commands of docs/vm.md, block by block.
fn blocks(cluster: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/vm.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| {
            block
                .replace("target/dist/pgsvid_*_amd64.deb", "/packages/pgsvid.deb")
                .replace("15-main", cluster)
                .replace("scripts/package\n", "")
        })
        .filter(|block| !LEFT_OUT.iter().any(|word| block.contains(word)))
        .collect()
}

#[test]
fn the_page_leads_from_nothing_to_a_verified_rotation_and_back() {
    let place = place();
    let Place { agent, machine, cluster, .. } = &place;
    let unit = format!("pgsvid@{cluster}");
    let (last, steps) =
        blocks(cluster).split_last().map(|(last, all)| (last.clone(), all.to_vec())).unwrap();
    assert!(steps.len() == 5 && last.contains("--purge"), "{steps:?}");
    for step in &steps {
        machine.succeed(step);
        // It is asked for, and not waited for; a reader takes longer to get to the next step.
        if step.contains("systemctl reload") {
            machine.wait_logged(&unit, &["rotated", "verdict=current"], 1);
        }
    }
    machine.wait_logged(&unit, &["rotated", "verdict=current"], 1);

    // Each renewal is served, and proved.
    for times in 2..5 {
        agent.rotate().unwrap();
        machine.wait_logged(&unit, &["rotated", "verdict=current"], times);
    }
    machine.wait_logged(&unit, &["sandbox entered", "other files", "other system calls"], 1);
    let show = |property: &str| {
        machine.succeed(&format!("systemctl show --value -p {property} {unit}")).trim().to_owned()
    };
    assert_eq!(show("ActiveState"), "active");
    assert_eq!(show("User"), "postgres");
    // It is told once a second at most.
    eventually(LIMIT, "systemd knows the verdict", || {
        show("StatusText").starts_with("current; spiffe://")
    });

    it_is_ready_before_its_postgresql_starts(machine, cluster);
    it_comes_back_when_it_is_killed(machine, &unit);
    its_daemon_is_replaced_and_systemd_sees_one_service(machine, &unit);

    machine.succeed(&last);
    assert!(!machine.run("command -v pgsvid").status.success());
    let left =
        machine.succeed("find /usr /lib/systemd /etc -xdev -name '*pgsvid*' ! -path '*/ssl/*' ! -path '*/postgresql/*'");
    assert_eq!(left.trim(), "/etc/pgsvid", "only the directory of the administrator's own files");
    // PostgreSQL has its former settings, and starts from them.
    machine.succeed(&format!("systemctl restart postgresql@{cluster}"));
    let certificate = machine.succeed("sudo -u postgres psql -XAtc 'SHOW ssl_cert_file'");
    assert!(!certificate.contains("pgsvid"), "{certificate}");
}

/// As at boot: both are started in one transaction, and files are there first.
fn it_is_ready_before_its_postgresql_starts(machine: &Machine, cluster: &str) {
    machine.succeed(&format!(
        "systemctl stop postgresql@{cluster} pgsvid@{cluster}
         printf '[Unit]\\nWants=postgresql@{cluster}.service pgsvid@{cluster}.service\\n' \
             >/run/systemd/system/both.target
         systemctl daemon-reload
         systemctl start both.target"
    ));
    let moment = |unit: &str, property: &str| -> u64 {
        let script = format!("systemctl show --value -p {property} {unit}@{cluster}");
        machine.succeed(&script).trim().parse().unwrap()
    };
    let ready = moment("pgsvid", "ActiveEnterTimestampMonotonic");
    assert!(ready > 0 && ready <= moment("postgresql", "InactiveExitTimestampMonotonic"));
    machine.wait_logged(
        &format!("pgsvid@{cluster}"),
        &["rotated", "generation=0", "verdict=current"],
        1,
    );
}

/// Killed, it is the parent's affair; hung, the watchdog's.
fn its_daemon_is_replaced_and_systemd_sees_one_service(machine: &Machine, unit: &str) {
    let show = |property: &str| {
        machine.succeed(&format!("systemctl show --value -p {property} {unit}")).trim().to_owned()
    };
    let daemon = || {
        let output = machine.run(&format!("pgrep -P {}", show("MainPID"))).stdout;
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let service = || ["MainPID", "NRestarts", "ActiveState"].map(show);
    let (before, killed) = (service(), daemon());
    machine.succeed(&format!("kill -KILL {killed}"));
    machine.wait_logged(unit, &["daemon-restarted"], 1);
    eventually(LIMIT, "systemd hears of the next daemon", || {
        show("StatusText").starts_with("current; spiffe://")
    });
    assert_ne!(daemon(), killed);
    assert_eq!(service(), before);

    machine.succeed(&format!(
        "mkdir -p /run/systemd/system/{unit}.service.d
         printf '[Service]\\nWatchdogSec=2s\\n' >/run/systemd/system/{unit}.service.d/watchdog.conf
         systemctl daemon-reload
         systemctl restart {unit}"
    ));
    let (parent, hung) = (show("MainPID"), daemon());
    machine.succeed(&format!("kill -STOP {hung}"));
    machine.wait_logged(unit, &["Watchdog timeout"], 1);
    eventually(LIMIT, "there is another daemon", || {
        show("ActiveState") == "active" && show("MainPID") != parent && daemon() != hung
    });
    assert!(!machine.run(&format!("kill -0 {hung}")).status.success(), "the hung one is gone");
    machine.succeed(&format!("rm -r /run/systemd/system/{unit}.service.d; systemctl daemon-reload; systemctl restart {unit}"));
}

fn it_comes_back_when_it_is_killed(machine: &Machine, unit: &str) {
    machine.succeed(&format!("systemctl kill --kill-whom=main --signal=KILL {unit}"));
    machine.wait_logged(unit, &["Scheduled restart job"], 1);
    machine.wait_logged(unit, &["rotated", "generation=0", "verdict=current"], 2);
}

#[test]
fn a_wrong_configuration_is_reported_and_not_tried_again() {
    let place = place();
    let Place { machine, cluster, .. } = &place;
    machine.succeed("dpkg -i /packages/pgsvid.deb");
    machine.succeed(&format!("echo 'nonsense = 1' >/etc/pgsvid/{cluster}.toml"));
    let unit = format!("pgsvid@{cluster}");
    assert!(!machine.run(&format!("systemctl start {unit}")).status.success());
    machine.wait_logged(&unit, &["nonsense"], 1);
    let restarts =
        machine.succeed(&format!("systemctl show --value -p NRestarts -p ActiveState {unit}"));
    assert!(restarts.contains("failed") && restarts.contains('0'), "{restarts}");
}

#[test]
fn the_package_has_what_belongs_to_it_and_needs_nothing() {
    let contents = standard_output(
        &Command::new("dpkg-deb").arg("--contents").arg(debian_package()).output().unwrap(),
    );
    for (path, mode) in [
        ("./usr/bin/pgsvid", "-rwxr-xr-x 0/0"),
        ("./lib/systemd/system/pgsvid@.service", "-rw-r--r-- 0/0"),
        ("./etc/pgsvid/example.toml", "-rw-r--r-- 0/0"),
        ("./etc/default/pgsvid", "-rw-r--r-- 0/0"),
        ("./usr/share/man/man1/pgsvid.1.gz", "-rw-r--r-- 0/0"),
        ("./usr/share/man/man1/pgsvid-setup-apply.1.gz", "-rw-r--r-- 0/0"),
        ("./usr/share/bash-completion/completions/pgsvid", "-rw-r--r-- 0/0"),
        ("./usr/share/zsh/vendor-completions/_pgsvid", "-rw-r--r-- 0/0"),
        ("./usr/share/fish/vendor_completions.d/pgsvid.fish", "-rw-r--r-- 0/0"),
        ("./usr/share/pgsvid/pgsvid.schema.json", "-rw-r--r-- 0/0"),
        ("./usr/share/doc/pgsvid/docs/vm.md", "-rw-r--r-- 0/0"),
        ("./usr/share/doc/pgsvid/docs/evidence/compatibility.md", "-rw-r--r-- 0/0"),
        ("./usr/share/doc/pgsvid/copyright", "-rw-r--r-- 0/0"),
    ] {
        let found = contents.lines().any(|line| line.starts_with(mode) && line.ends_with(path));
        assert!(found, "{path} in\n{contents}");
    }
    let field = |name: &str| {
        let output =
            Command::new("dpkg-deb").arg("--field").arg(debian_package()).arg(name).output();
        standard_output(&output.unwrap()).trim().to_owned()
    };
    assert_eq!(field("Architecture"), "amd64");
    assert_eq!(field("Depends"), "");
    assert!(field("Version").starts_with(env!("CARGO_PKG_VERSION")));
}

#[test]
fn man_pages_are_well_formed_and_completions_know_the_commands() {
    let mut pages = 0;
    for entry in fs::read_dir(built("man")).unwrap() {
        let page = entry.unwrap().path();
        let output =
            Command::new("groff").args(["-man", "-ww", "-z", "-Tutf8"]).arg(&page).output();
        let output = output.expect("runs groff");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        standard_output(&output);
        pages += 1;
    }
    assert!(pages >= 10, "{pages}");
    let completions = fs::read_to_string(built("completions/pgsvid.bash")).unwrap();
    assert!(["fetch", "inspect", "--directory"].iter().all(|word| completions.contains(word)));
    // The program itself is not made larger by them.
    let program = fs::read(built("pgsvid")).unwrap();
    let text = b"complete -F";
    assert!(!program.windows(text.len()).any(|window| window == text));
}
