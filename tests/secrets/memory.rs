//! An API server whose answers take far more memory than any that is meant well. The chart's limit is 32 MiB.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use test_support::Fault;

use crate::{FIELDS, World, wait};

/// How many Secrets are configured.
const SECRETS: usize = 14;
/// How long an answer is, in bytes: as long as pgsvid reads.
const LENGTH: usize = 2_900_000;
/// How long one with many values is: each value takes about a hundred bytes of memory.
const LENGTH_OF_MANY: usize = 1_000_000;
/// How much more memory it may take than before, in KiB.
const MOST: u64 = 16 * 1024;

/// A Secret with this text in its metadata, and this one as its data.
fn secret(metadata: &str, data: &str) -> &'static str {
    let text = format!(
        r#"{{"metadata":{{"uid":"u","resourceVersion":"7"{metadata}}},"type":"Opaque","data":{{{data}}}}}"#
    );
    text.leak()
}

/// Elements of a list or an object, as many as fit.
fn many(mut one: impl FnMut(usize) -> String) -> String {
    let mut all = String::with_capacity(LENGTH_OF_MANY);
    for number in 0.. {
        let next = one(number);
        if all.len() + next.len() >= LENGTH_OF_MANY {
            break;
        }
        let _ = write!(all, "{}{next}", if number == 0 { "" } else { "," });
    }
    all
}

/// As many kinds of answers as there are Secrets. `root` is an authority, as PEM.
fn answers(root: &[u8]) -> Vec<&'static str> {
    let empty = || many(|_| "{}".to_owned());
    let pairs = || many(|number| format!(r#""{number}":"""#));
    let fields = many(|number| format!(r#""f:{number}":{{}}"#));
    let own = format!(r#"{{"manager":"pgsvid","fieldsV1":{{"f:data":{{{fields}}}}}}}"#);
    let long = || secret("", &format!(r#""ca.crt":"{}""#, "QUFB".repeat(LENGTH / 4)));
    let bundle = STANDARD.encode(root.repeat(LENGTH / 4 * 3 / root.len()));
    let bundle = || secret("", &format!(r#""ca.crt":"{bundle}""#));
    vec![
        secret(&format!(r#","managedFields":[{}]"#, empty()), ""),
        secret(&format!(r#","ownerReferences":[{}]"#, empty()), ""),
        secret(&format!(r#","labels":{{{}}}"#, pairs()), ""),
        secret(&format!(r#","managedFields":[{own}]"#), ""),
        secret("", &pairs()),
        secret(&format!(r#","labels":{{"a":"{}"}}"#, "x".repeat(LENGTH)), ""),
        "[".repeat(LENGTH).leak(),
        long(),
        long(),
        long(),
        long(),
        long(),
        long(),
        bundle(),
    ]
}

#[test]
fn v21_no_answer_of_a_hostile_api_server_takes_far_more_memory_than_a_usual_one() {
    let world = World::new();
    let mut tables = String::new();
    for number in 0..SECRETS {
        let fields = if number % 2 == 0 { FIELDS } else { "fields = { 'ca.crt' = 'bundle' }\n" };
        let _ = write!(tables, "[[secrets]]\nname = 's{number}'\ncreate = true\n{fields}");
    }
    world.configure(&tables);
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    let root = world.server.wait_for_field("own", "s0", "ca.crt");
    let before = pgsvid.0.process().peak();
    let more = || pgsvid.0.process().peak().saturating_sub(before);
    let answers: &[&str] = answers(&root).leak();
    assert_eq!(answers.len(), SECRETS);
    for fault in [Fault::Bodies(answers), Fault::Headers(1 << 20)] {
        let asked = || world.server.requests().len();
        let (first, least) = (asked(), if fault == Fault::Headers(1 << 20) { 1 } else { SECRETS });
        world.server.fault(fault);
        world.agent.rotate().unwrap();
        let is_over = || asked() >= first + least || more() >= MOST;
        wait("the Secrets were asked for", is_over);
        // What comes of the last answer.
        std::thread::sleep(Duration::from_secs(2));
        assert!(more() < MOST, "{} KiB", more());
    }
    // It goes on afterwards.
    let first = world.server.field("own", "s0", "tls.crt");
    world.server.fault(Fault::None);
    world.agent.rotate().unwrap();
    wait("the next set is written", || world.server.field("own", "s0", "tls.crt") != first);
}
