//! O13: a pod that asks for pgsvid and cannot get it is refused, by the validation that is about its fault.

use serde_json::{Value, json};

use super::injection::{create, pod, policies};
use crate::kubectl::{get, kubectl};

/// What the policy says to this pod: the number of the validation, and its sentence.
fn refusal(pod: &Value) -> String {
    let error = create(pod).expect_err("it is refused");
    let wanted = "ValidatingAdmissionPolicy 'pgsvid-injection' with binding 'pgsvid-injection' denied request: ";
    let said = error.split(wanted).nth(1).unwrap_or_else(|| panic!("{error}"));
    println!("{said}");
    said.trim().to_owned()
}

/// The names and paths that a remedy must have.
#[track_caller]
fn assert_names(said: &str, names: &[&str]) {
    for name in names {
        assert!(said.contains(name), "{name}: {said}");
    }
}

#[test]
fn o13_a_pod_without_the_container_or_the_user_is_refused_with_the_remedy() {
    policies();
    let mut no_container = pod("server", json!({}));
    no_container["spec"]["containers"][0]["name"] = json!("db");
    assert_names(&refusal(&no_container), &["postgres", "db", "app", "pgsvid.dev/container"]);

    let elsewhere = pod("client", json!({"pgsvid.dev/container": "web"}));
    assert_names(&refusal(&elsewhere), &["web", "pgsvid.dev/container"]);

    for security in [json!(null), json!({}), json!({"runAsUser": 0})] {
        let mut no_user = pod("server", json!({}));
        no_user["spec"]["securityContext"] = security;
        assert_names(&refusal(&no_user), &["spec.securityContext.runAsUser", "999"]);
    }

    let mut other_user = pod("server", json!({}));
    other_user["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 26});
    assert_names(&refusal(&other_user), &["postgres", "securityContext.runAsUser"]);

    assert_names(
        &refusal(&pod("yes", json!({}))),
        &["pgsvid.dev/inject", "yes", "server", "client"],
    );
}

/// No database starts without pgsvid because a policy is missing.
#[test]
fn o13_a_pod_that_asks_and_was_not_changed_is_refused() {
    policies();
    let binding = get(&["mutatingadmissionpolicybinding", "pgsvid-server"]);
    kubectl(&["delete", "mutatingadmissionpolicybinding", "pgsvid-server"]);
    let asking = pod("server", json!({}));
    let error = crate::eventually("the binding is gone", || create(&asking).err());
    assert_names(&error, &["MutatingAdmissionPolicy", "pgsvid-server"]);
    // A container with the name alone has no certificate for the database.
    let mut with_a_namesake = asking.clone();
    with_a_namesake["spec"]["initContainers"] =
        json!([{ "name": "pgsvid", "image": "example.org/other" }]);
    assert_names(&refusal(&with_a_namesake), &["MutatingAdmissionPolicy", "pgsvid-server"]);
    crate::kubectl::apply(&[clean(binding)]).unwrap();
    crate::eventually("it is back", || create(&asking).ok());
}

#[test]
fn o13_a_pod_that_exists_gets_no_annotation_that_does_nothing() {
    policies();
    let mut plain = pod("server", json!({}));
    plain["metadata"]["annotations"] = json!({});
    plain["metadata"]["name"] = json!("exists");
    crate::kubectl::apply(&[plain.clone()]).unwrap();
    let namespace = plain["metadata"]["namespace"].as_str().unwrap_or("default");
    let annotate = |text: &str| {
        crate::kubectl::attempt(&["--namespace", namespace, "annotate", "pod", "exists", text], "")
    };
    let error = annotate("pgsvid.dev/inject=server").unwrap_err();
    assert_names(&error, &["pgsvid.dev/inject", "template"]);
    annotate("example.org/other=x").unwrap();
    kubectl(&["--namespace", namespace, "delete", "pod", "exists", "--now"]);
}

/// As somebody would have written it.
fn clean(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| key == "name");
    object
}
