//! An API server that refuses, is away, or is hostile.

use std::time::Duration;

use serde_json::json;
use test_support::{Fault, LIMIT};

use crate::{FIELDS, World, wait};

fn usual() -> World {
    let world = World::new();
    world.configure(&format!("[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}"));
    world
}

#[test]
fn v10_v15_every_error_of_the_api_server_is_reported_and_once_it_works_the_newest_set_is_written() {
    for (fault, code) in [
        (Fault::Status(500), "kubernetes-failing"),
        (Fault::Status(429), "kubernetes-failing"),
        (Fault::Garbage, "kubernetes-answer-unusable"),
        (Fault::Endless, "kubernetes-answer-unusable"),
        (Fault::TooLong, "secret-too-large"),
        (Fault::Altering, "secret-refused"),
    ] {
        let world = usual();
        world.server.fault(fault);
        let pgsvid = world.run();
        let event = pgsvid.code(code);
        assert!(event["fix"].is_string() || code == "kubernetes-failing", "{event}");
        // A set that comes in the meantime is not lost.
        world.agent.rotate().unwrap();
        world.server.fault(Fault::None);
        pgsvid.event("secrets-handed-over");
        assert!(pgsvid.0.process().resident() < 40 * 1024, "{fault:?}");
    }
}

#[test]
fn v15_an_api_server_that_is_silent_or_floods_a_watch_stops_nothing() {
    let world = usual();
    world.server.fault(Fault::Flood);
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    let first = world.server.field("own", "server", "tls.crt");
    let before = pgsvid.0.process().work();
    std::thread::sleep(Duration::from_secs(3));
    let busy = pgsvid.0.process().work().busy.saturating_sub(before.busy);
    assert!(busy < Duration::from_secs(1), "{busy:?}");
    world.agent.rotate().unwrap();
    wait("the next set is written", || world.server.field("own", "server", "tls.crt") != first);
    world.server.fault(Fault::Silent);
    world.agent.rotate().unwrap();
    pgsvid.code("kubernetes-unreachable");
}

#[test]
fn v08_without_rights_the_finding_holds_the_yaml_that_grants_them() {
    let world = usual();
    world.server.fault(Fault::Forbidden);
    let pgsvid = world.run();
    let event = pgsvid.code("secret-forbidden");
    let command = event["command"].as_str().unwrap();
    let yaml = command.strip_prefix("printf %s '").unwrap();
    let yaml = yaml.strip_suffix("' | kubectl apply -f -").unwrap();
    let list: serde_json::Value = serde_json::from_str(yaml).unwrap();
    assert_eq!(list["items"][0]["rules"][0]["resourceNames"], json!(["server"]));
    assert_eq!(list["items"][1]["subjects"][0]["name"], "publisher");
    let check = world.command(&["check", "--format", "json"]);
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(text.contains("secret-forbidden") && check.status.code() == Some(1), "{text}");
    let rbac = world.command(&["setup", "rbac", "--service-account", "publisher"]);
    let text = String::from_utf8_lossy(&rbac.stdout).into_owned();
    assert!(
        text.contains("resourceNames: [\"server\"]") && text.contains("namespace: \"own\""),
        "{text}"
    );
}

#[test]
fn v08_v15_a_secret_that_cannot_be_watched_is_reported_and_read_more_often() {
    for (status, code) in [(403, "secret-forbidden"), (500, "secret-unwatched")] {
        let world = usual();
        world.server.fault(Fault::Watches(status));
        let pgsvid = world.run();
        pgsvid.event("secrets-handed-over");
        assert_eq!(pgsvid.event("secret-unwatched")["code"], code);
        let chain = world.server.field("own", "server", "tls.crt").unwrap();
        world.server.edit("own", "server", |secret| secret["data"]["tls.crt"] = json!("eA=="));
        if status == 403 {
            // It is read each 20 to 30 seconds.
            pgsvid.0.wait_for_event(LIMIT * 2, |event| event["event"] == "secret-restored");
            wait("it is restored", || {
                world.server.field("own", "server", "tls.crt").unwrap() == chain
            });
        }
    }
}

#[test]
fn v15_an_event_that_is_too_long_hides_no_change() {
    let world = usual();
    world.server.fault(Fault::LongEvent);
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    let chain = world.server.field("own", "server", "tls.crt").unwrap();
    world.server.edit("own", "server", |secret| secret["data"]["tls.crt"] = json!("eA=="));
    wait("it is restored", || world.server.field("own", "server", "tls.crt").unwrap() == chain);
    assert_eq!(pgsvid.count("secret-unwatched"), 0);
}

#[test]
fn v12_a_token_that_is_exchanged_is_used_at_once() {
    let world = usual();
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    world.server.accept_only("the-next-token");
    world.agent.rotate().unwrap();
    pgsvid.code("kubernetes-unauthorized");
    world.server.files.write("token", "the-next-token\n", 0o644);
    let first = world.server.field("own", "server", "tls.crt");
    wait("the next set is written", || world.server.field("own", "server", "tls.crt") != first);
}

#[test]
fn v19_an_api_server_of_another_authority_gets_neither_token_nor_key() {
    let world = usual();
    let other = test_support::ApiServer::start();
    let authority = std::fs::read_to_string(other.files.join("ca.pem")).unwrap();
    world.server.files.write("ca.pem", &authority, 0o644);
    let pgsvid = world.run();
    pgsvid.code("kubernetes-untrusted");
    assert!(world.server.requests().is_empty());
}

#[test]
fn v10_fetch_writes_no_secrets_and_says_so() {
    let world = usual();
    let fetch = world.command(&["fetch"]);
    let text = String::from_utf8_lossy(&fetch.stderr).into_owned();
    assert!(fetch.status.code() == Some(2) && text.contains("pgsvid run"), "{text}");
}

#[test]
fn v22_of_more_secrets_than_one_connection_has_room_for_each_is_watched() {
    const COUNT: usize = 120;
    let world = World::new();
    let table = |number| format!("[[secrets]]\nname = 's{number}'\ncreate = true\n{FIELDS}");
    let tables: String = (0..COUNT).map(table).collect();
    world.configure(&format!("[lease]\n{tables}"));
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    for number in [0, 49, 50, COUNT - 1] {
        let name = format!("s{number}");
        wait("it is watched", || {
            world.server.delete("own", &name);
            std::thread::sleep(Duration::from_millis(500));
            world.server.secret("own", &name).is_some()
        });
    }
    assert_eq!(pgsvid.count("secret-unwatched") + pgsvid.count("lease-lost"), 0);
}
