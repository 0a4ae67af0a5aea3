//! What is written, and what is restored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use test_support::Mark;

use crate::{FIELDS, World, agent, wait};

#[test]
fn v02_v14_a_secret_is_created_with_its_owner_and_follows_each_set() {
    let world = World::new();
    world.configure(&format!(
        "[[secrets]]\nname = 'server'\ntype = 'kubernetes.io/tls'\ncreate = true\nlabels = {{ 'cnpg.io/reload' = '' }}\n\
         owner = {{ api_version = 'v1', kind = 'ConfigMap', name = 'x', uid = 'u' }}\n{FIELDS}\
         [[secrets]]\nnamespace = 'apps'\nname = 'root'\n[secrets.fields]\nDB_ROOT_CERT = {{ content = 'bundle', base64 = true }}\n"
    ));
    world.server.put("apps", "root", &json!({ "PASSWORD": "eA==" }));
    let pgsvid = world.run();
    let first = pgsvid.event("secrets-handed-over");
    assert_eq!(first["secrets"], "own/server, apps/root");
    let secret = world.server.secret("own", "server").unwrap();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["labels"]["cnpg.io/reload"], "");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "u");
    let chain = world.server.field("own", "server", "tls.crt").unwrap();
    assert!(chain.starts_with(b"-----BEGIN CERTIFICATE"));
    assert!(
        world.server.field("own", "server", "tls.key").unwrap().starts_with(b"-----BEGIN PRIVATE")
    );
    let twice = world.server.field("apps", "root", "DB_ROOT_CERT").unwrap();
    assert_eq!(
        STANDARD.decode(twice).unwrap(),
        world.server.field("own", "server", "ca.crt").unwrap()
    );
    assert_eq!(world.server.field("apps", "root", "PASSWORD").unwrap(), b"x");

    world.agent.rotate().unwrap();
    wait("the next set is written", || {
        world.server.field("own", "server", "tls.crt").unwrap() != chain
    });
    // Only what differs is written: the authorities are the same.
    let written = world.server.written();
    let of = |name: &str| written.iter().filter(|(path, _)| path.ends_with(name)).count();
    assert_eq!((of("/server"), of("/root")), (2, 1), "{written:?}");
    // No list is ever asked for.
    let requests = world.server.requests();
    assert!(requests.iter().all(|it| !it.ends_with("/secrets")), "{requests:?}");
}

#[test]
fn v01_a_secret_that_has_to_exist_is_waited_for() {
    let world = World::new();
    world.configure(&format!("[[secrets]]\nname = 'server'\n{FIELDS}"));
    let pgsvid = world.run();
    let event = pgsvid.code("secret-missing");
    assert_eq!(event["event"], "reload-pending", "{event}");
    assert!(event["command"].as_str().unwrap().starts_with("kubectl -n own create secret"));
    assert_eq!(world.server.secret("own", "server"), None);
    world.server.put("own", "server", &json!({}));
    pgsvid.event("secrets-handed-over");
    world.server.wait_for_field("own", "server", "tls.crt");
}

#[test]
fn v03_v04_a_secret_that_somebody_changes_or_deletes_is_restored() {
    let world = World::new();
    world.configure(&format!("[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}"));
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    let chain = world.server.field("own", "server", "tls.crt").unwrap();
    world.server.edit("own", "server", |secret| {
        secret["data"]["tls.crt"] = json!("eA==");
        secret["data"]["more"] = json!("eQ==");
    });
    let (event, mark) = pgsvid.event_after(Mark::default(), "secret-restored");
    assert_eq!(event["fields"], "data.tls.crt");
    wait("it is restored", || world.server.field("own", "server", "tls.crt").unwrap() == chain);
    // What is not pgsvid's stays.
    assert_eq!(world.server.field("own", "server", "more").unwrap(), b"y");
    world.server.delete("own", "server");
    pgsvid.event_after(mark, "secret-restored");
    assert_eq!(world.server.wait_for_field("own", "server", "tls.crt"), chain);
    assert_eq!(world.server.secret("own", "server").unwrap()["data"].get("more"), None);
    // Each deletion is news, also one that follows a deletion.
    for _ in 0..2 {
        world.server.delete("own", "server");
        assert_eq!(world.server.wait_for_field("own", "server", "tls.crt"), chain);
    }
    assert_eq!(pgsvid.event("secret-contested")["code"], "secret-contested");
    let status = world.command(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        status.status.success()
            && text.contains("handed-over")
            && text.contains("restored 4 times"),
        "{text}"
    );
}

#[test]
fn v04_a_secret_that_is_changed_without_end_is_contested() {
    let world = World::new();
    world.configure(&format!("[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}"));
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    let chain = world.server.field("own", "server", "tls.crt").unwrap();
    for _ in 0..4 {
        world.server.edit("own", "server", |secret| secret["data"]["tls.crt"] = json!("eA=="));
        wait("it is restored", || world.server.field("own", "server", "tls.crt").unwrap() == chain);
    }
    let event = pgsvid.event("secret-contested");
    assert_eq!(event["code"], "secret-contested");
}

#[test]
fn v23_a_secret_whose_restoration_waits_is_not_called_handed_over() {
    let world = World::new();
    world.configure(&format!("[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}"));
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    let chain = world.server.field("own", "server", "tls.crt").unwrap();
    let change = || {
        world.server.edit("own", "server", |secret| secret["data"]["tls.crt"] = json!("eA=="));
    };
    let restored = || world.server.field("own", "server", "tls.crt").unwrap() == chain;
    for _ in 0..5 {
        change();
        wait("it is restored", restored);
    }
    // From here on the pauses are of four seconds and more.
    let status = || -> Value {
        serde_json::from_slice(&world.command(&["status", "--format", "json"]).stdout).unwrap()
    };
    let is = |verdict: &str, holds: bool| {
        let status = status();
        let consumer = &status["consumers"][0];
        consumer["verdict"] == verdict && consumer["secrets"][0]["holds"] == holds
    };
    for happens in [&change as &dyn Fn(), &|| world.server.delete("own", "server")] {
        wait("it is handed over", || is("handed-over", true));
        happens();
        wait("it is missed", || is("unavailable", false));
        let status = status();
        assert_eq!(status["consumers"][0]["findings"][0]["code"], "secret-contested", "{status:#}");
        assert!(!status["degraded"].as_array().unwrap().is_empty(), "{status:#}");
        let found = || world.server.field("own", "server", "tls.crt");
        wait("it is restored", || found().as_ref() == Some(&chain));
    }
    wait("it is handed over", || is("handed-over", true));
}

#[test]
fn v17_a_field_whose_password_cannot_be_read_is_reported_and_written_once_it_can() {
    let world = World::new();
    let password = world.files.join("password");
    world.configure(&format!(
        "[[secrets]]\nname = 'server'\ncreate = true\n[secrets.fields]\n'a.p12' = {{ content = 'pkcs12', password_file = '{}' }}\n",
        password.display()
    ));
    let pgsvid = world.run();
    pgsvid.code("secret-field-unavailable");
    world.files.write("password", "sesame", 0o644);
    world.server.wait_for_field("own", "server", "a.p12");
    pgsvid.event("secrets-handed-over");
}

#[test]
fn v03_a_secret_that_was_there_and_is_deleted_is_a_failure_if_it_may_not_be_created() {
    let world = World::new();
    world.configure(&format!("[[secrets]]\nname = 'server'\n{FIELDS}"));
    world.server.put("own", "server", &json!({}));
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    world.server.delete("own", "server");
    let event = pgsvid.code("secret-missing");
    assert_eq!(event["level"], "ERROR", "{event}");
    assert_eq!(world.command(&["status"]).status.code(), Some(1));
}

#[test]
fn v04_two_pgsvid_that_write_one_secret_say_so_as_a_failure() {
    let world = World::new();
    let other = agent(&world.files, "other.sock");
    let tables = format!("[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}");
    world.configure(&tables);
    world.configure_as("other.toml", &other, &tables);
    let first = world.run();
    first.event("secrets-handed-over");
    let second = world.run_as("other.toml");
    for pgsvid in [&first, &second] {
        let event = pgsvid.event("secret-contested");
        assert!(event["fix"].as_str().unwrap().contains("[lease]"), "{event}");
    }
    let status = world.command(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("degraded"), "{text}");
}
