//! The released program: static, stripped, small, and working in its sandbox.

use std::process::Command;
use std::time::Duration;

use test_support::{Process, Setup};

use crate::packaging::{built, standard_output};

/// What it takes with everything; `scripts/build-release` refuses 10 MB.
/// Half a megabyte of it is for certificates from files and hooks, 0.15 for PgBouncer and for sessions that have outlived their
/// certificate, 0.1 for other formats (AES and PKCS#12), 0.2 for a helper.conf of spiffe-helper (HCL), 0.25 for Patroni, replication,
/// and what `check` judges since the attacks of 1 December, 0.5 for Kubernetes Secrets, and 0.13 for servers that others reload.
const MOST_BYTES: u64 = 8_900_000;
/// Private memory of the parent, in KiB.
const MOST_OF_PARENT: u64 = 400;

fn readelf(option: &str) -> String {
    let output = Command::new("readelf").args(["--wide", option]).arg(built("pgsvid")).output();
    standard_output(&output.expect("runs readelf, of binutils"))
}

#[test]
fn it_is_static_stripped_and_small() {
    let segments = readelf("--program-headers");
    assert!(segments.contains("GNU_RELRO") && !segments.contains("INTERP"), "{segments}");
    assert!(readelf("--file-header").contains("DYN"), "not position-independent: no ASLR");
    assert!(!readelf("--dynamic").contains("(NEEDED)"), "it needs a library");
    let sections = readelf("--sections");
    assert!(!sections.contains(".symtab") && !sections.contains(".debug"), "{sections}");
    let bytes = std::fs::metadata(built("pgsvid")).unwrap().len();
    assert!(bytes < MOST_BYTES, "{bytes}");
}

#[test]
fn it_knows_what_it_was_built_from() {
    let output = Command::new(built("pgsvid")).arg("version").env_clear().output().unwrap();
    let text = standard_output(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("pgsvid {}", env!("CARGO_PKG_VERSION")));
    assert!(!lines[1].contains("unknown"), "{text}");
    assert!(lines[3].contains("static") && lines[3].contains("abort"), "{text}");
    assert!(!lines[3].contains("debug"), "{text}");
}

/// Where it was built is nobody's business, and would make a build elsewhere another one.
#[test]
fn it_holds_no_path_of_whoever_built_it() {
    let bytes = std::fs::read(built("pgsvid")).unwrap();
    let home = std::env::var("HOME").unwrap();
    for path in [env!("CARGO_MANIFEST_DIR"), &format!("{home}/.cargo/registry")] {
        let found = bytes.windows(path.len()).any(|window| window == path.as_bytes());
        assert!(!found, "it holds {path}");
    }
}

#[test]
fn it_rotates_a_real_postgresql_under_its_sandbox() {
    let setup = Setup::new(built("pgsvid"));
    let pgsvid = setup.start();
    let entered = pgsvid.event("sandbox-entered");
    assert!(entered["denied"].as_str().unwrap().contains("other system calls"), "{entered}");
    for generation in 2..5 {
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
    }
    setup.cluster.restart();
    setup.agent.rotate().unwrap();
    pgsvid.current(5);
    assert!(pgsvid.terminate(test_support::LIMIT).success());
}

/// docs/evidence/performance.md has the figure.
#[test]
fn its_parent_costs_little_and_sleeps() {
    let setup = Setup::new(built("pgsvid"));
    let pgsvid = setup.start();
    let parent = Process(pgsvid.pid());
    let seconds = std::env::var("PARENT_SECONDS").map_or(2, |text| text.parse().unwrap());
    let before = parent.work();
    std::thread::sleep(Duration::from_secs(seconds));
    let (work, memory) = (parent.work().since(before), parent.memory());
    assert_eq!(work.sleeps, 0, "{work:?}");
    assert!(memory.private <= MOST_OF_PARENT, "{memory:?}");
}

/// What a login takes its numbers from is found otherwise in a static program than in a dynamic one.
#[test]
fn a54_it_logs_in_by_password_under_its_sandbox() {
    let setup = Setup::new(built("pgsvid"));
    let file = setup.other.write("password", "correct horse\n", 0o600);
    let file = file.display();
    setup.configure(&format!("[postgres]\npassword_file = '{file}'\nverify_every = '1s'"));
    setup.cluster.set_hba("local postgres pgsvid scram-sha-256\nlocal all all peer");
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);
    setup.cluster.sql("postgres", "postgres", "ALTER ROLE pgsvid PASSWORD 'correct horse'");
    for generation in 2..5 {
        setup.agent.rotate().unwrap();
        let rotated = pgsvid.current(generation);
        assert!(rotated["reload_ms"].is_number(), "{rotated}");
    }
    assert!(pgsvid.terminate(test_support::LIMIT).success());
    let arguments = setup.arguments();
    let usual = arguments.chunks(2).filter(|pair| !pair[0].starts_with("--log")).flatten();
    let check = Command::new(built("pgsvid")).arg("check").args(usual).output().unwrap();
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(text.contains("role pgsvid may call pg_reload_conf()"), "{text}");
}

/// A name is looked up before the sandbox is entered: in a static program without the C library's plug-ins.
#[test]
fn it_looks_up_the_name_that_it_verifies_at() {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    let name = hosts
        .lines()
        .filter_map(|line| line.strip_prefix("127.0.0.1"))
        .flat_map(str::split_whitespace)
        .find(|name| *name != "localhost");
    let setup = Setup::new(built("pgsvid"));
    // Debian gives every machine such a name; where there is none, its own is asked for by DNS or not at all.
    let host = name.unwrap_or("ip6-localhost");
    setup.configure(&format!("[postgres]\nverify = '{host}:{}'", setup.cluster.port()));
    let pgsvid = setup.start();
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}

/// A name of `[[served]]` is looked up within the sandbox, again and again.
#[test]
fn it_looks_up_the_name_of_instances_in_its_sandbox() {
    let setup = Setup::new(built("pgsvid"));
    let port = setup.cluster.port();
    setup
        .configure(&format!("[postgres]\n[[served]]\naddress = 'localhost:{port}'\nwithin = '1s'"));
    let pgsvid = setup.start();
    // One of its addresses has a server.
    let found = pgsvid.event("instance-current");
    assert_eq!(found["address"], format!("127.0.0.1:{port}"), "{found}");
}
