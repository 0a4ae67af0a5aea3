//! Keys in the memory of the running daemon, as root finds them there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "real processes run on the real clock")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use dev_agent::{Entry, Misbehaviour, Svid};
use test_support::{LIMIT, Pgsvid, Setup};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// What to look for.
struct Needle {
    name: String,
    bytes: Vec<u8>,
}

/// The private scalar of a P-256 key: as PKCS#8 has it, and as arithmetic holds it, in limbs of this machine; and a part
/// of the key's PEM that holds half of it.
fn needles(name: &str, svid: &Svid) -> [Needle; 3] {
    // RFC 5915: ECPrivateKey is version 1, then an OCTET STRING of 32 bytes.
    let mark = [2, 1, 1, 4, 32];
    let at = svid.key.windows(5).position(|window| window == mark).unwrap() + mark.len();
    let scalar = svid.key[at..at + 32].to_vec();
    let limbs = scalar.iter().rev().copied().collect();
    let pem = svid.key_pem().lines().nth(1).unwrap().to_owned();
    let needle = |kind: &str, bytes| Needle { name: format!("{name}, {kind}"), bytes };
    [needle("scalar", scalar), needle("limbs", limbs), needle("PEM", pem.into_bytes())]
}

/// Where each needle was found: its name, and the mapping.
fn search(pgsvid: &Pgsvid, needles: &[Needle]) -> Vec<(String, String)> {
    let mut starts = vec![false; 1 << 16];
    let start = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    for needle in needles {
        starts[start(&needle.bytes)] = true;
    }
    let memory = File::open(format!("/proc/{}/mem", pgsvid.pid())).unwrap();
    let maps = fs::read_to_string(format!("/proc/{}/maps", pgsvid.pid())).unwrap();
    let mut found = Vec::new();
    for map in maps.lines() {
        let mut fields = map.split_whitespace();
        let (range, mode) = (fields.next().unwrap(), fields.next().unwrap());
        if !mode.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.read_exact_at(&mut bytes, from).unwrap();
        for (at, window) in bytes.windows(2).enumerate() {
            if starts[start(window)] {
                for needle in needles.iter().filter(|it| bytes[at..].starts_with(&it.bytes)) {
                    found.push((needle.name.clone(), format!("{map} at {at:#x}")));
                }
            }
        }
    }
    found
}

/// Waits until the memory holds the scalar of the last key, once, and no other part of any: what a task holds in passing
/// is gone when it has ended.
#[track_caller]
fn assert_one_copy(pgsvid: &Pgsvid, keys: &[Svid]) {
    let needles: Vec<Needle> = keys
        .iter()
        .enumerate()
        .flat_map(|(at, svid)| needles(&format!("key {} of {}", at + 1, keys.len()), svid))
        .collect();
    let wanted = [format!("key {0} of {0}, scalar", keys.len())];
    let mut found = Vec::new();
    let patience = Instant::now() + LIMIT;
    while found.iter().map(|(name, _)| name).ne(&wanted) {
        assert!(Instant::now() < patience, "{found:#?}");
        found = search(pgsvid, &needles);
    }
}

#[test]
fn the_idle_daemon_holds_one_copy_of_the_published_key_and_none_of_an_earlier_one() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mut keys = vec![setup.agent.svid()];
    for generation in 2..=8 {
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
        keys.push(setup.agent.svid());
        assert_one_copy(&pgsvid, &keys);
    }
}

#[test]
fn keys_that_were_not_chosen_and_large_messages_leave_nothing_either() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mut keys = vec![setup.agent.svid()];
    for generation in [2, 4] {
        // Of these only the first is published.
        let issue = || setup.agent.issue(&Entry::new(Setup::SPIFFE_ID).dns("localhost")).unwrap();
        let (chosen, others) = (issue(), [issue(), issue()]);
        let mut message = setup.agent.response();
        message.svids = [&chosen, &others[0], &others[1]].map(Svid::to_message).to_vec();
        // As an authority with a long history has it: more than any buffer holds at once.
        let bundle = message.svids[0].bundle.repeat(500);
        assert!(bundle.len() > 200_000);
        message.svids[0].bundle = bundle;
        setup.agent.push(&message);
        pgsvid.current(generation);
        keys.extend(others);
        keys.push(chosen);
        assert_one_copy(&pgsvid, &keys);

        setup.agent.rotate().unwrap();
        pgsvid.current(generation + 1);
        keys.push(setup.agent.svid());
        assert_one_copy(&pgsvid, &keys);
    }
}

#[test]
fn a_set_of_an_earlier_run_is_one_copy_too() {
    let setup = Setup::new(PGSVID);
    assert!(setup.start().terminate(LIMIT).success());
    let keys = [setup.agent.svid()];
    setup.agent.misbehave(Misbehaviour::HangUp);
    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    assert_one_copy(&pgsvid, &keys);
}
