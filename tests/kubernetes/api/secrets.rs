//! `[[secrets]]` on a real API server: what is written and restored, and every printed remedy as printed.

use std::time::Instant;

use serde_json::json;
use test_support::{LIMIT, Mark, Signal};

use super::publisher::{FIELDS, Publisher, Running, as_printed, wait};
use crate::cluster::Component;
use crate::kubectl::{apply, attempt, kubectl};

fn table(name: &str) -> String {
    format!("[[secrets]]\nname = '{name}'\ncreate = true\n{FIELDS}")
}

/// A publisher of the Secret `server`, with its rights, that has written its first set.
fn writing(namespace: &'static str) -> (Publisher, Running) {
    let publisher = Publisher::new(namespace);
    publisher.configure_and_grant(&table("server"));
    let pgsvid = publisher.run();
    pgsvid.event("secrets-handed-over");
    (publisher, pgsvid)
}

#[test]
fn v02_v03_v04_v14_a_secret_is_created_and_restored_and_what_others_set_stays() {
    let publisher = Publisher::new("v02");
    publisher.kubectl(&["create", "configmap", "owner"]);
    let uid =
        publisher.kubectl(&["get", "configmap", "owner", "--output", "jsonpath={.metadata.uid}"]);
    publisher.configure_and_grant(&format!(
        "[[secrets]]\nname = 'server'\ntype = 'kubernetes.io/tls'\ncreate = true\nlabels = {{ 'cnpg.io/reload' = '' }}\n\
         annotations = {{ 'example.org/by' = 'pgsvid' }}\nowner = {{ api_version = 'v1', kind = 'ConfigMap', name = 'owner', uid = '{uid}' }}\n\
         [secrets.fields]\n'tls.crt' = 'chain'\n'tls.key' = 'key'\n'ca.crt' = 'bundle'\nDB_ROOT_CERT = {{ content = 'bundle', base64 = true }}\n"
    ));
    let pgsvid = publisher.run();
    pgsvid.event("secret-created");
    pgsvid.event("secrets-handed-over");
    let secret = publisher.secret("server").unwrap();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], uid.as_str());
    assert_eq!(secret["metadata"]["labels"]["cnpg.io/reload"], "");
    let chain = publisher.field("server", "tls.crt").unwrap();

    // Another look writes nothing: GitOps tools see no change.
    pgsvid.0.signal(Signal::HUP);
    let handed_over =
        |count| wait("it looked again", || pgsvid.count("secrets-handed-over") == count);
    handed_over(2);
    let again = publisher.secret("server").unwrap();
    assert_eq!(secret["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"]);

    publisher.kubectl(&["label", "secret", "server", "team=db"]);
    publisher.kubectl(&[
        "patch",
        "secret",
        "server",
        "--patch",
        r#"{"data":{"tls.crt":"eA==","more":"eQ=="}}"#,
    ]);
    let (event, mark) = pgsvid.event_after(Mark::default(), "secret-restored");
    assert_eq!((&event["fields"], &event["by"]), (&json!("data.tls.crt"), &json!("kubectl-patch")));
    wait("it is restored", || publisher.field("server", "tls.crt").as_ref() == Some(&chain));
    let secret = publisher.secret("server").unwrap();
    assert_eq!(
        (&secret["data"]["more"], &secret["metadata"]["labels"]["team"]),
        (&json!("eQ=="), &json!("db"))
    );

    publisher.kubectl(&["delete", "secret", "server"]);
    pgsvid.event_after(mark, "secret-restored");
    let is_back = || publisher.field("server", "tls.crt").as_ref() == Some(&chain);
    wait("it is there again", is_back);
    // A second deletion in a row is news, too.
    publisher.kubectl(&["delete", "secret", "server"]);
    wait("it is there again", is_back);
    publisher.agent.rotate().unwrap();
    wait("the next set", || publisher.field("server", "tls.crt").is_some_and(|it| it != chain));
    assert!(publisher.command(&["status"]).contains("restored 3 times"));
    let check = publisher.checked();
    assert!(check.contains("ServiceAccount v02/publisher"), "{check}");
}

#[test]
fn v01_v08_a_secret_is_missing_and_its_rights_are_until_the_printed_commands_were_run() {
    let publisher = Publisher::new("v01");
    publisher.configure(&format!("[[secrets]]\nname = 'server'\n{FIELDS}"));
    let pgsvid = publisher.run();
    as_printed(&pgsvid.code("secret-forbidden"));
    as_printed(&pgsvid.code("secret-missing"));
    pgsvid.event("secrets-handed-over");
    assert!(publisher.field("server", "tls.key").is_some());
}

#[test]
fn v01_the_printed_command_creates_a_secret_of_the_type_tls() {
    let publisher = Publisher::new("v01-tls");
    publisher.configure_and_grant(&format!(
        "[[secrets]]\nname = 'server'\ntype = 'kubernetes.io/tls'\n{FIELDS}"
    ));
    let pgsvid = publisher.run();
    as_printed(&pgsvid.code("secret-missing"));
    pgsvid.event("secrets-handed-over");
    assert_eq!(publisher.secret("server").unwrap()["type"], "kubernetes.io/tls");
}

#[test]
fn v08_the_printed_command_grants_the_right_to_watch() {
    let publisher = Publisher::new("v08-watch");
    publisher.configure(&table("server"));
    let rule =
        |verbs: &[&str]| json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": verbs });
    let granted = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "few", "namespace": "v08-watch" },
        "rules": [rule(&["get", "patch", "create"])],
    });
    apply(&[granted]).unwrap();
    publisher.kubectl(&[
        "create",
        "rolebinding",
        "few",
        "--role=few",
        "--serviceaccount=v08-watch:publisher",
    ]);
    let pgsvid = publisher.run();
    let event = pgsvid.event("secret-unwatched");
    assert_eq!(event["code"], "secret-forbidden", "{event}");
    as_printed(&event);
    let chain = publisher.field("server", "tls.crt");
    publisher.kubectl(&["delete", "secret", "server"]);
    wait("it is there again", || publisher.field("server", "tls.crt") == chain);
}

#[test]
fn v13_a_lease_that_a_stranger_holds_is_reported() {
    let publisher = Publisher::new("v13-other");
    publisher.configure_and_grant(&format!("[lease]\nduration = '3s'\n{}", table("server")));
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "pgsvid", "namespace": "v13-other" },
        "spec": { "holderIdentity": "stranger", "leaseDurationSeconds": 15 },
    });
    apply(&[lease]).unwrap();
    let pgsvid = publisher.run();
    as_printed(&pgsvid.code("secret-not-kept"));
    // It is not renewed.
    pgsvid.event("secrets-handed-over");
    // A label is no reason to stop, and a Lease that vanishes is taken again.
    publisher.kubectl(&["label", "lease", "pgsvid", "a=b"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(pgsvid.count("lease-lost"), 0);
    publisher.kubectl(&["delete", "lease", "pgsvid"]);
    pgsvid.event("lease-lost");
    wait("it has the Lease again", || pgsvid.count("lease-acquired") == 2);
}

#[test]
fn v08_v13_the_printed_command_grants_a_lease_and_the_creation_of_a_secret() {
    let publisher = Publisher::new("v08");
    publisher.configure(&format!("[lease]\nduration = '3s'\n{}", table("server")));
    let pgsvid = publisher.run();
    as_printed(&pgsvid.code("lease-unusable"));
    pgsvid.event("secrets-handed-over");
    assert!(publisher.field("server", "tls.key").is_some());
}

#[test]
fn v08_a_namespace_is_missing_until_the_printed_command_was_run() {
    let publisher = Publisher::new("v08-ns");
    // Somebody who may write every Secret.
    kubectl(&[
        "create",
        "clusterrolebinding",
        "v08-ns",
        "--clusterrole=admin",
        "--serviceaccount=v08-ns:publisher",
    ]);
    publisher.configure(&format!(
        "[[secrets]]\nnamespace = 'v08-later'\nname = 'server'\ncreate = true\n{FIELDS}"
    ));
    let pgsvid = publisher.run();
    as_printed(&pgsvid.code("secret-namespace-missing"));
    pgsvid.event("secrets-handed-over");
}

#[test]
fn v09_the_printed_rights_are_enough_and_give_no_list_and_no_other_secret() {
    let (publisher, pgsvid) = writing("v09");
    publisher.kubectl(&["create", "secret", "generic", "other"]);
    // Another installation writes to the same namespace.
    publisher.configure(&table("theirs"));
    let theirs = publisher.command(&["setup", "rbac", "--service-account", "another"]);
    attempt(&["apply", "--filename", "-"], &theirs).unwrap();
    let can = |verb: &str, what: &str| {
        let arguments = [
            "--namespace",
            "v09",
            "auth",
            "can-i",
            verb,
            what,
            "--as",
            "system:serviceaccount:v09:publisher",
        ];
        attempt(&arguments, "").is_ok()
    };
    for verb in ["get", "patch", "watch", "create"] {
        assert!(can(verb, "secrets/server"), "{verb}");
        assert!(!can(verb, "secrets/other") && !can(verb, "secrets"), "{verb}");
    }
    for verb in ["list", "delete", "update"] {
        assert!(!can(verb, "secrets/server"), "{verb}");
    }
    // Its watch works with these rights.
    publisher.kubectl(&["delete", "secret", "server"]);
    pgsvid.event("secret-restored");
}

#[test]
fn v05_a_field_that_another_manager_applies_is_left_to_it_until_it_lets_go() {
    let publisher = Publisher::new("v05");
    publisher.configure_and_grant(&table("server"));
    let applied = |data| {
        let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "server", "namespace": "v05" }, "data": data });
        let arguments = ["apply", "--server-side", "--field-manager=gitops", "--filename", "-"];
        attempt(&arguments, &object.to_string()).unwrap();
    };
    applied(json!({ "tls.crt": "eA==", "mine": "eQ==" }));
    let pgsvid = publisher.run();
    let event = pgsvid.code("secret-owned-by-another");
    assert!(event["message"].as_str().unwrap().contains("gitops applies data.tls.crt"), "{event}");
    assert_eq!(publisher.field("server", "tls.crt").unwrap(), b"x");
    assert_eq!(
        publisher.field("server", "tls.key"),
        None,
        "all fields of a Secret change together"
    );
    applied(json!({ "mine": "eQ==" }));
    pgsvid.event("secrets-handed-over");
    let version = publisher.secret("server").unwrap()["metadata"]["resourceVersion"].clone();
    // Both go on to apply, and neither changes anything.
    applied(json!({ "mine": "eQ==" }));
    pgsvid.0.signal(Signal::HUP);
    wait("it looked again", || pgsvid.count("secrets-handed-over") == 2);
    let secret = publisher.secret("server").unwrap();
    assert_eq!(
        (&secret["metadata"]["resourceVersion"], &secret["data"]["mine"]),
        (&version, &json!("eQ=="))
    );
}

#[test]
fn v06_an_immutable_secret_is_deleted_by_the_printed_command_and_created_again() {
    let publisher = Publisher::new("v06");
    publisher.configure_and_grant(&table("server"));
    let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "server", "namespace": "v06" }, "immutable": true });
    apply(&[object]).unwrap();
    let pgsvid = publisher.run();
    as_printed(&pgsvid.code("secret-immutable"));
    pgsvid.event("secrets-handed-over");
}

#[test]
fn v07_a_secret_of_more_than_a_mebibyte_is_reported_and_written_once_there_is_room() {
    let publisher = Publisher::new("v07");
    publisher.configure_and_grant(&table("server"));
    publisher.files.write("large", "x".repeat(1024 * 1024 - 100), 0o644);
    let from = format!("--from-file=large={}", publisher.files.join("large").display());
    publisher.kubectl(&["create", "secret", "generic", "server", &from]);
    let pgsvid = publisher.run();
    pgsvid.code("secret-too-large");
    publisher.kubectl(&[
        "patch",
        "secret",
        "server",
        "--type=json",
        "--patch",
        r#"[{"op":"remove","path":"/data/large"}]"#,
    ]);
    pgsvid.event("secrets-handed-over");
}

#[test]
fn v12_a_token_that_is_not_accepted_is_reported_and_an_exchanged_one_is_used() {
    let (publisher, pgsvid) = writing("v12");
    let first = publisher.field("server", "tls.crt");
    publisher.exchange_token();
    publisher.agent.rotate().unwrap();
    wait("the next set", || publisher.field("server", "tls.crt") != first);
    publisher.files.write("token", "no-token", 0o644);
    publisher.agent.rotate().unwrap();
    pgsvid.code("kubernetes-unauthorized");
    let second = publisher.field("server", "tls.crt");
    publisher.exchange_token();
    wait("the next set", || publisher.field("server", "tls.crt") != second);
}

#[test]
fn v16_a_policy_that_refuses_a_secret_is_distinguished_from_missing_rights() {
    let publisher = Publisher::new("v16");
    publisher.configure_and_grant(&table("server"));
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none", "namespace": "v16" }, "spec": { "hard": { "count/secrets": "0" } },
    });
    apply(&[quota]).unwrap();
    wait("the quota holds", || {
        publisher
            .kubectl(&["get", "resourcequota", "none", "--output", "jsonpath={.status.hard}"])
            .contains("count/secrets")
    });
    let pgsvid = publisher.run();
    pgsvid.code("secret-refused");
    publisher.kubectl(&["delete", "resourcequota", "none"]);
    pgsvid.event("secrets-handed-over");
}

#[test]
fn v18_a_field_that_is_no_longer_configured_is_removed() {
    let (publisher, pgsvid) = writing("v18");
    pgsvid.0.terminate(LIMIT);
    publisher.configure("[[secrets]]\nname = 'server'\nfields = { 'tls.crt' = 'chain' }\n");
    let pgsvid = publisher.run();
    pgsvid.event("secrets-handed-over");
    assert_eq!(publisher.field("server", "tls.key"), None);
    assert!(publisher.field("server", "tls.crt").is_some());
}

#[test]
fn v13_a_killed_leader_is_followed_within_its_lease() {
    let publisher = Publisher::new("v13");
    let tables = format!("[lease]\nduration = '3s'\n{}", table("server"));
    publisher.configure_and_grant(&tables);
    publisher.configure_as("second.toml", &tables);
    let first = publisher.run();
    first.event("secrets-handed-over");
    let second = publisher.run_as("second.toml");
    second.event("secrets-standby");
    first.0.signal(Signal::KILL);
    let killed = Instant::now();
    second.event("lease-acquired");
    println!("a killed leader is followed after {:.1} s", killed.elapsed().as_secs_f64());
    second.event("secrets-handed-over");
    let holder = publisher.kubectl(&[
        "get",
        "lease",
        "pgsvid",
        "--output",
        "jsonpath={.spec.leaseTransitions}",
    ]);
    assert_eq!(holder, "1");
}

#[test]
fn v10_an_api_server_that_is_killed_gets_the_newest_set_when_it_is_back() {
    let (publisher, pgsvid) = writing("v10");
    let server = Component::named("kube-apiserver").kill();
    publisher.agent.rotate().unwrap();
    pgsvid.code("kubernetes-unreachable");
    // One that starts while it is away.
    publisher.configure_as("later.toml", &table("later"));
    let later = publisher.run_as("later.toml");
    later.code("kubernetes-unreachable");
    server.start();
    wait("the API server is back", || attempt(&["get", "--raw", "/readyz"], "").is_ok());
    wait("the next set", || pgsvid.count("secrets-handed-over") == 2);
    later.code("secret-forbidden");
    // Its watch is open again.
    publisher.kubectl(&["delete", "secret", "server"]);
    pgsvid.event("secret-restored");
}
