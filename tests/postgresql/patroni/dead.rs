//! A REST API that a bad set has ended, and what no bad set can reach.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use test_support::{LIMIT, Patroni, Signal, eventually};

use super::{Node, PART, STRICT, check, is, prepared, started};

const STARTED: &str = "SELECT pg_postmaster_start_time()";

/// Patroni serves the files of another directory, into which a test puts what it likes.
fn with_own_files() -> Node {
    let (setup, patroni, etcd) = prepared("", "", "loads_within = '3s'");
    let own = setup.other.subdirectory("own");
    let restapi = format!("{STRICT}{}", Patroni::with_files(&own));
    patroni.configure(&restapi, &patroni.alone(), "");
    put(&setup.files.path().canonicalize().unwrap(), &own);
    let node = started(setup, patroni, etcd);
    node.current("patroni", 1);
    node
}

/// Links to the published files, or to others.
fn put(from: &Path, own: &Path) {
    for name in ["svid.pem", "svid_key.pem", "svid_bundle.pem"] {
        let _ = std::fs::remove_file(own.join(name));
        symlink(from.join(name), own.join(name)).unwrap();
    }
}

fn dead(node: &Node) {
    // A key that does not belong to the certificate, for one reload of Patroni by somebody else.
    let own = node.setup.other.join("own");
    let other = node.setup.agent.issue(&dev_agent::Entry::new("spiffe://example.org/x")).unwrap();
    std::fs::remove_file(own.join("svid_key.pem")).unwrap();
    node.setup.other.write("own/svid_key.pem", other.key_pem(), 0o600);
    // Patroni reads its files only if the serial number is another one.
    std::fs::remove_file(own.join("svid.pem")).unwrap();
    let next = node.setup.agent.issue(&dev_agent::Entry::new("spiffe://example.org/y")).unwrap();
    node.setup.other.write("own/svid.pem", next.chain_pem(), 0o644);
    node.patroni.signal(Signal::HUP);
    eventually(LIMIT, "the REST API is dead", || node.patroni.log().contains("Failed to reload"));
    put(node.setup.files.path(), &own);
}

/// The page that the remedy names.
fn page() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/patroni.md");
    std::fs::read_to_string(page).unwrap()
}

#[test]
fn r04_a_dead_rest_api_is_never_asked_and_the_printed_way_out_keeps_postgresql_up() {
    let node = with_own_files();
    let before = node.patroni.try_sql(STARTED).unwrap();
    dead(&node);
    node.setup.agent.rotate().unwrap();
    node.current("postgres", 2);
    let told = node.told("patroni-silent");
    assert_eq!(told["level"], "ERROR", "{told}");
    let found = check(&node.setup);
    assert!(is(&found, "patroni-silent", "failure"), "{found:?}");
    node.setup.agent.rotate().unwrap();
    node.current("postgres", 3);
    assert_eq!(node.requests(), 0);
    // Patroni goes on, because nobody has asked it to reload.
    let loops = || node.patroni.log().matches("the leader with the lock").count();
    let count = loops();
    eventually(LIMIT, "its loop goes on", || loops() > count + 1);

    // What the page that is printed says, step by step; there is no service manager here.
    assert_eq!(told["command"], "patronictl list", "{told}");
    let fix = page();
    let pause = ["edit-config", "--set", "pause=true", "--force"];
    let resume = ["edit-config", "--set", "pause=null", "--force"];
    for step in [pause, resume] {
        assert!(fix.contains(&format!("patronictl {}", step.join(" "))), "{fix}");
    }
    for step in ["--signal=KILL patroni", "systemctl start patroni", "KillMode=process"] {
        assert!(fix.contains(step), "{step}: {fix}");
    }
    node.patroni.ctl(&pause).unwrap();
    node.patroni.kill();
    node.patroni.start();
    node.current("patroni", 3);
    node.patroni.ctl(&resume).unwrap();
    node.assert_serves_newest();
    assert_eq!(node.patroni.try_sql(STARTED).unwrap(), before);
    node.setup.agent.rotate().unwrap();
    node.current("patroni", 4);
}

#[test]
fn r04_a_hung_patroni_is_restarted_without_maintenance_mode_if_another_node_leads() {
    let node = with_own_files();
    dead(&node);
    // The second reload hangs it. Another node takes the lock.
    node.patroni.signal(Signal::HUP);
    node.etcd.put("/service/test/leader", "other");
    node.setup.agent.rotate().unwrap();
    node.current("postgres", 2);
    let told = node.told("patroni-silent");
    assert_eq!(told["command"], "patronictl list", "{told}");
    assert!(page().contains("Do the second and the third command only"));
    let is_writable = |node: &Node| {
        node.patroni.try_sql("SELECT pg_is_in_recovery()").is_ok_and(|answer| answer == "f")
    };
    assert!(is_writable(&node), "a Patroni that hangs demotes nobody");
    node.patroni.kill();
    assert!(is_writable(&node));
    node.patroni.start();
    let demoted = || node.patroni.try_sql("SELECT pg_is_in_recovery()").is_ok_and(|it| it == "t");
    eventually(LIMIT, "Patroni has demoted it", demoted);
}

/// Exchanges two complete generations every two milliseconds, while Patroni reloads until it has logged `most` reloads or a
/// failure. Returns whether a reload failed.
fn reloads_among_swaps(node: &Node, most: usize) -> bool {
    let files = node.setup.files.path().canonicalize().unwrap();
    let data = files.join("..data");
    let second = std::fs::read_link(&data).unwrap();
    // The lock is a file beside them.
    let directories = std::fs::read_dir(&files).unwrap().map(|entry| entry.unwrap());
    let first = directories
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| PathBuf::from(entry.file_name()))
        .find(|name| *name != second);
    let generations = [first.expect("an earlier generation"), second];
    let done = AtomicBool::new(false);
    let log = || node.patroni.log();
    let failures = || log().matches("Failed to reload").count();
    let reloads = || log().matches("Reloading PostgreSQL configuration").count();
    let before = reloads();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for generation in generations.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let new = files.join("..test");
                symlink(generation, &new).unwrap();
                std::fs::rename(new, &data).unwrap();
                sleep(Duration::from_millis(2));
            }
        });
        let over = || {
            node.patroni.signal(Signal::HUP);
            sleep(Duration::from_millis(200));
            failures() > 0 || reloads() >= before + most
        };
        let is_over = (0..400).any(|_| over());
        done.store(true, Ordering::Relaxed);
        assert!(is_over, "{}", log());
    });
    failures() > 0
}

/// Two generations are there, and pgsvid has ended, so that the test alone exchanges them.
fn at_rest(more: &str) -> Node {
    let (setup, patroni, etcd) = prepared("", more, "");
    if more.is_empty() {
        let files = Patroni::with_files(setup.files.path());
        patroni.configure(&files, &patroni.alone(), "");
    }
    let node = started(setup, patroni, etcd);
    node.current("patroni", 1);
    node.setup.agent.rotate().unwrap();
    node.current("patroni", 2);
    node.pgsvid.terminate(LIMIT);
    node
}

#[test]
fn r06_with_a_part_of_the_configuration_in_each_set_no_reload_of_others_ends_the_rest_api() {
    let node = at_rest(PART);
    assert!(!reloads_among_swaps(&node, 10), "{}", node.patroni.log());
    eventually(LIMIT, "the REST API answers", || node.patroni.served().is_ok());
}

#[test]
fn r06_with_stable_names_a_reload_of_others_in_the_middle_of_a_swap_ends_the_rest_api() {
    let node = at_rest("");
    assert!(reloads_among_swaps(&node, 240), "{}", node.patroni.log());
}
