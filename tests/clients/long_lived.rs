//! P25: connection objects that outlive the generation with which they were opened.

use std::fs;
use std::thread;

use dev_agent::Svid;
use test_support::{LIMIT, Psql, PsqlOutput, eventually};

use crate::both::Both;

/// The serial number of the client's certificate, as this connection was made with it.
const SERIAL: &str = "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid();\n";

#[test]
fn p25_a_long_lived_psql_connects_again_after_two_rotations() {
    let mut both = Both::start("");
    let before = client_svid(&both);
    let output = reconnect_after(&mut both, |both| {
        both.rotate();
        both.rotate();
    });
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // With the generation that it began with: it is still there.
    let serial = u128::from_be_bytes(before.serial).to_string();
    assert_eq!(output.stdout.lines().collect::<Vec<_>>(), [serial.as_str(), &serial], "{output:?}");
    // A new one takes the newest.
    let newest = u128::from_be_bytes(client_svid(&both).serial).to_string();
    assert_eq!(both.psql().script(SERIAL).run().stdout, newest);
}

#[test]
fn p25_a_psql_whose_generation_had_to_go_fails_and_never_without_tls() {
    let mut both = Both::start("keep_at_most = 2");
    let output = reconnect_after(&mut both, |both| {
        both.rotate();
        both.rotate();
        eventually(LIMIT, "two generations stay", || generations(both) == 2);
    });
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stderr.contains("svid_bundle.pem\" does not exist"), "{output:?}");
}

/// Runs a psql that connects, waits for what is done meanwhile, and connects again by `\c` alone, which
/// takes the parameters of the former connection.
fn reconnect_after(both: &mut Both, meanwhile: impl FnOnce(&mut Both)) -> PsqlOutput {
    let connected = both.setup.other.join("connected");
    let go = both.setup.other.join("go");
    let wait = format!(
        "\\! touch {}; until [ -e {} ]; do sleep 0.05; done\n",
        connected.display(),
        go.display()
    );
    let psql: Psql = both.psql().script(&format!("{SERIAL}{wait}\\c\n{SERIAL}"));
    let running = thread::spawn(move || psql.run());
    eventually(LIMIT, "psql is connected", || connected.exists());
    meanwhile(both);
    both.setup.other.write("go", "", 0o644);
    running.join().unwrap()
}

fn client_svid(both: &Both) -> Svid {
    both.setup.agent.svids().swap_remove(1)
}

fn generations(both: &Both) -> usize {
    let entries = fs::read_dir(both.files.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("..v")).count()
}
