//! Hooks in the packaged unit: what docs/hooks.md says about systemd.

use std::fs;

use test_support::{LIMIT, eventually};

use crate::packaging::machine::Machine;
use crate::packaging::package::{Place, place};
use crate::packaging::root;

/// What a hook finds around it. Each line is one fact.
const FACTS: &str = r#"#!/bin/sh
can() { if (: >"$1") 2>/dev/null; then echo "$2 writable"; else echo "$2 read-only"; fi; }
{
    echo "user $(id -un):$(id -gn)"
    echo "umask $(umask)"
    grep -E '^(NoNewPrivs|CapEff):' /proc/self/status
    [ -d /proc/1 ] && echo "others visible" || echo "others invisible"
    env | grep -c SYSTEMD\\\|NOTIFY\\\|WATCHDOG | sed 's/^/systemd variables /'
    can /etc/hook etc
    can /var/tmp/hook temporary
    can /var/lib/haproxy/hook haproxy
    can "$PGSVID_DIRECTORY/../$(basename "$PGSVID_DIRECTORY")/hook" directory
    chown postgres "$PGSVID_DIRECTORY/hook" 2>/dev/null && echo "chown allowed" || echo "chown refused"
    sudo -n true 2>/dev/null && echo "root" || echo "no root"
} >/run/pgsvid/CLUSTER/facts.new 2>&1
mv /run/pgsvid/CLUSTER/facts.new /run/pgsvid/CLUSTER/facts
"#;

/// A command that ignores SIGTERM, with a child.
const STUCK: &str = r"#!/bin/sh
trap '' TERM
sleep 54321 &
while :; do sleep 12345; done
";

/// A program that reloads at a signal.
const POOLER: &str = r#"#!/bin/sh
trap "echo reloaded >>/run/pooler/log" HUP
echo $$ >/run/pooler/pid
while :; do sleep 0.1; done
"#;

/// The block of the page that has this text.
fn block<'a>(page: &'a str, text: &str) -> &'a str {
    let mut blocks = page.split("```").skip(1).step_by(2);
    let found = blocks.find(|block| block.contains(text)).expect("the page has such a block");
    found.split_once('\n').unwrap().1
}

/// The same text, indented or not.
fn flush(text: &str) -> String {
    text.lines().map(|line| line.trim_start().to_owned() + "\n").collect()
}

fn write(machine: &Machine, path: &str, mode: &str, text: &str) {
    machine.succeed(&format!("cat >{path} <<'EOF'\n{text}\nEOF\nchmod {mode} {path}"));
}

#[test]
fn h18_a_hook_lives_in_the_sandbox_of_the_unit_and_ends_with_it() {
    let place = place();
    let Place { agent, machine, cluster, .. } = &place;
    let unit = format!("pgsvid@{cluster}");
    let page = fs::read_to_string(root().join("docs/hooks.md")).unwrap();
    let page = page.replace("15-main", cluster);
    machine.succeed("dpkg -i /packages/pgsvid.deb");
    machine.succeed("install -d -o postgres /var/lib/haproxy");
    write(machine, "/usr/local/bin/facts", "755", &FACTS.replace("CLUSTER", cluster));
    write(machine, "/usr/local/bin/stuck", "755", STUCK);
    write(machine, "/usr/local/bin/fails", "755", "#!/bin/sh\necho no such host\nexit 3");
    // A pooler of the same user, in a unit of its own.
    write(machine, "/usr/local/bin/pooler", "755", POOLER);
    machine.succeed(
        "install -d -o postgres /run/pooler
         systemd-run --quiet --uid=postgres --unit=pooler /usr/local/bin/pooler",
    );
    // What the page shows for more than the unit may do, with another command than the reload of a HAProxy.
    let toml = flush(block(&page, "\"/usr/bin/touch\""));
    let path = flush(block(&page, "[Path]"));
    let service = flush(block(&page, "systemctl reload haproxy"));
    let service = service.replace("/usr/bin/systemctl reload haproxy", "/usr/bin/touch /run/done");
    write(machine, "/etc/systemd/system/renewed.path", "644", &path);
    write(machine, "/etc/systemd/system/renewed.service", "644", &service);
    machine.succeed("systemctl daemon-reload; systemctl start renewed.path");
    let hooks = "[[hooks]]\nname = 'facts'\ncommand = ['/usr/local/bin/facts']\n\
                 [[hooks]]\nname = 'stuck'\ncommand = ['/usr/local/bin/stuck']\ntimeout = '1s'\n\
                 [[hooks]]\nname = 'fails'\ncommand = ['/usr/local/bin/fails']\n\
                 [[hooks]]\nname = 'pooler'\nsignal = 'HUP'\npid_file = '/run/pooler/pid'\nprocess = 'pooler'\n";
    let agent_socket = "unix:///run/spire/agent/public/api.sock";
    let text = format!(
        "[workload_api]\nendpoint = '{agent_socket}'\n[files]\ndirectory = '/var/lib/pgsvid/{cluster}'\n{hooks}{toml}"
    );
    write(machine, &format!("/etc/pgsvid/{cluster}.toml"), "644", &text);

    // The unit is ready although hooks fail and hang.
    machine.succeed(&format!("systemctl start {unit} || {{ journalctl --no-pager --output=cat --unit={unit} >&2; exit 1; }}"));
    let facts = || machine.succeed(&format!("cat /run/pgsvid/{cluster}/facts 2>/dev/null || :"));
    eventually(LIMIT, "the hook has written what it finds", || !facts().is_empty());
    let found = facts();
    for fact in [
        "user postgres:postgres",
        "umask 0077",
        "NoNewPrivs:\t1",
        "CapEff:\t0000000000000000",
        "others invisible",
        "systemd variables 0",
        "etc read-only",
        "temporary writable",
        "haproxy read-only",
        "directory writable",
        "chown refused",
        "no root",
    ] {
        assert!(found.lines().any(|line| line == fact), "{fact:?} is not in\n{found}");
    }
    machine.wait_logged(&unit, &["hook-timed-out"], 1);
    machine.wait_logged(&unit, &["hook-command-failed", "no such host"], 1);
    machine.wait_logged(&unit, &["hook-succeeded", "pooler"], 1);
    eventually(LIMIT, "the pooler has got its signal", || {
        machine.succeed("cat /run/pooler/log 2>/dev/null || :").contains("reloaded")
    });
    eventually(LIMIT, "the unit of one's own has run", || {
        machine.run("test -e /run/done").status.success()
    });

    // The drop-in of the page lets a command write elsewhere.
    let drop_in = flush(block(&page, "ReadWritePaths="));
    machine.succeed(&format!("mkdir -p /etc/systemd/system/{unit}.service.d"));
    write(machine, &format!("/etc/systemd/system/{unit}.service.d/hook.conf"), "644", &drop_in);
    machine.succeed(&format!("systemctl daemon-reload; systemctl restart {unit}"));
    eventually(LIMIT, "the hook may write there", || facts().contains("haproxy writable"));

    // Each renewal runs them again, and the end of the unit is the end of all that they have started.
    machine.succeed("rm /run/done");
    agent.rotate().unwrap();
    eventually(LIMIT, "the renewal has reached the unit of one's own", || {
        machine.run("test -e /run/done").status.success()
    });
    eventually(LIMIT, "a hook hangs", || machine.run("pgrep -xf 'sleep 54321'").status.success());
    machine.succeed(&format!("systemctl stop {unit}"));
    let left = machine.succeed("pgrep -xaf 'sleep (54321|12345)' || :");
    assert_eq!(left, "");
    // This machine's systemd cannot list a control group ("Failed to kill control group"): what has left the hook's process group
    // is systemd's to kill.
    let mode = machine.succeed(&format!("systemctl show --value -p KillMode {unit}"));
    assert_eq!(mode.trim(), "mixed");
    let result = machine.succeed(&format!("systemctl show --value -p Result {unit}"));
    assert_eq!(result.trim(), "success");
}
