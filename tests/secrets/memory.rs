//! An API server whose answers take far more memory than any that is meant well. The chart's limit is 32 MiB.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use test_support::Fault;

use crate::{FIELDS, World, wait};

/// How many Secrets are configured.
const SECRETS: usize = 8;
/// How long an answer is, in bytes: as long as pgsvid reads.
const LENGTH: usize = 2_900_000;
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
    let mut all = String::with_capacity(LENGTH);
    for number in 0.. {
        let next = one(number);
        if all.len() + next.len() >= LENGTH {
            break;
        }
        let _ = write!(all, "{}{next}", if number == 0 { "" } else { "," });
    }
    all
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
    std::thread::sleep(Duration::from_secs(1));
    let before = pgsvid.0.process().peak();
    let tree = |key: &str| many(|number| format!(r#""f:{key}{number}":{{}}"#));
    let bundle = root.repeat(LENGTH / 4 * 3 / root.len());
    for (what, body) in [
        ("managers", secret(&format!(r#","managedFields":[{}]"#, many(|_| "{}".to_owned())), "")),
        ("owners", secret(&format!(r#","ownerReferences":[{}]"#, many(|_| "{}".to_owned())), "")),
        ("labels", secret(&format!(r#","labels":{{{}}}"#, many(|it| format!(r#""{it}":"""#))), "")),
        (
            "fields",
            secret(
                &format!(
                    r#","managedFields":[{{"manager":"pgsvid","fieldsV1":{{"f:data":{{{}}}}}}}]"#,
                    tree("")
                ),
                "",
            ),
        ),
        ("data", secret("", &many(|it| format!(r#""{it}":"""#)))),
        ("one long field", secret("", &format!(r#""ca.crt":"{}""#, "QUFB".repeat(LENGTH / 4)))),
        ("a long bundle", secret("", &format!(r#""ca.crt":"{}""#, STANDARD.encode(bundle)))),
        ("one label", secret(&format!(r#","labels":{{"a":"{}"}}"#, "x".repeat(LENGTH)), "")),
        ("no end", "[".repeat(LENGTH).leak()),
    ] {
        let asked = world.server.requests().len();
        world.server.fault(Fault::Body(body));
        world.agent.rotate().unwrap();
        wait("each Secret was asked for", || world.server.requests().len() >= asked + SECRETS);
        // What comes of it, and the watches.
        std::thread::sleep(Duration::from_millis(700));
        let more = pgsvid.0.process().peak().saturating_sub(before);
        println!("{what}: {more} KiB");
        assert!(more < MOST, "{what}: {more} KiB");
        world.server.fault(Fault::None);
    }
    world.server.fault(Fault::Headers(1 << 20));
    world.agent.rotate().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let more = pgsvid.0.process().peak().saturating_sub(before);
    assert!(more < MOST, "headers: {more} KiB");
    // It goes on afterwards.
    let first = world.server.field("own", "s0", "tls.crt");
    world.server.fault(Fault::None);
    world.agent.rotate().unwrap();
    wait("the next set is written", || world.server.field("own", "s0", "tls.crt") != first);
}
