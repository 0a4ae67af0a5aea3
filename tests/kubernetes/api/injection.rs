//! O12: the policies of k8s/injection give a pod what the components of k8s/components give it.

use std::sync::Once;

use serde_json::{Value, json};
use test_support::eventually;

use crate::LIMIT;
use crate::kubectl::{apply, attempt, kubectl};
use crate::manifests::{kustomization, only, rendered};

/// The policies in the version that this Kubernetes has, once they are in force.
pub(crate) fn policies() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        apply(&rendered("k8s/injection/v1beta1")).unwrap();
        // The API server reads them within a second or so.
        eventually(LIMIT, "a pod is changed, and another one refused", || {
            let injected = create(&pod("server", json!({}))).ok();
            injected.is_some_and(|pod| pod["spec"]["initContainers"][0]["name"] == "pgsvid")
                && create(&pod("other", json!({}))).is_err()
        });
    });
}

/// A pod with the annotation, whose containers have the components' names.
pub(crate) fn pod(inject: &str, annotations: Value) -> Value {
    let mut all = annotations;
    all["pgsvid.dev/inject"] = json!(inject);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "own", "namespace": "default", "annotations": all},
        "spec": {
            "securityContext": {"runAsUser": 999},
            "containers": [{"name": "postgres", "image": "own"}, {"name": "app", "image": "own"}],
        },
    })
}

/// What the API server would store.
pub(crate) fn create(pod: &Value) -> Result<Value, String> {
    let arguments = ["create", "--dry-run=server", "--output", "json", "--filename", "-"];
    attempt(&arguments, &pod.to_string()).map(|text| serde_json::from_str(&text).unwrap())
}

/// The API server admits no pod before a controller has made it.
fn default_account() {
    eventually(LIMIT, "the default account", || {
        attempt(&["get", "serviceaccount", "default"], "").is_ok()
    });
}

/// The pod's specification; kustomize puts the container that it changes before the others.
fn specification(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    let containers = spec["containers"].as_array_mut().unwrap();
    containers.sort_by_key(|container| container["name"].to_string());
    spec
}

/// Pods as others write them: bare, and with everything that the component adds to.
fn own(container: &str, full: bool) -> Value {
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "securityContext": {"runAsUser": 999},
        "containers": [{"name": "before", "image": "own"}, {"name": container, "image": "own"}],
    });
    if full {
        spec["initContainers"] = json!([{"name": "migrate", "image": "own"}]);
        spec["volumes"] = json!([{"name": "own", "emptyDir": {}}]);
        let main = &mut spec["containers"][1];
        main["volumeMounts"] = json!([{"name": "own", "mountPath": "/own"}]);
        main["env"] = json!([{"name": "OWN", "value": "1"}]);
    }
    spec
}

#[test]
fn o12_an_injected_pod_equals_that_of_the_component() {
    default_account();
    policies();
    for (kind, component, container) in
        [("server", "sidecar", "postgres"), ("client", "client", "app")]
    {
        for full in [false, true] {
            let mut expected = pod(kind, json!({}));
            expected["metadata"]["annotations"] = json!({});
            expected["spec"] = added(component, own(container, full));
            // The component's has a sum in its name.
            let volumes = expected["spec"]["volumes"].as_array().unwrap();
            let map = volumes.iter().find_map(|volume| volume["configMap"]["name"].as_str());
            let mut asking = pod(kind, json!({"pgsvid.dev/config": map.unwrap()}));
            asking["spec"] = own(container, full);
            let [expected, injected] = [&expected, &asking].map(|pod| create(pod).unwrap());
            assert_eq!(specification(&injected), specification(&expected), "{kind}, {full}");
        }
    }
}

/// What the component makes of a pod.
fn added(component: &str, spec: Value) -> Value {
    let workload = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "own"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec},
        },
    });
    let fields = format!("resources: [own.yaml]\ncomponents: [COMPONENTS/{component}]\n");
    let files = [("own.yaml", workload.to_string())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut objects = kustomization("default", &fields, &files);
    only(&mut objects, "Deployment")["spec"]["template"]["spec"].take()
}

/// The container and the configuration may have other names.
#[test]
fn o12_annotations_name_the_container_and_the_configuration() {
    default_account();
    policies();
    let mut asking =
        pod("server", json!({"pgsvid.dev/container": "database", "pgsvid.dev/config": "ours"}));
    asking["spec"]["containers"][1]["name"] = json!("database");
    let injected = create(&asking).unwrap();
    let mounts = |at: usize| injected["spec"]["containers"][at]["volumeMounts"].to_string();
    assert!(mounts(1).contains("/svids") && !mounts(0).contains("/svids"), "{injected}");
    assert_eq!(injected["spec"]["volumes"][0]["configMap"]["name"], "ours");
}

/// A pod that does not ask for it stays as it is.
#[test]
fn o12_other_pods_are_left_alone() {
    default_account();
    policies();
    let mut other = pod("server", json!({}));
    other["metadata"].as_object_mut().unwrap().remove("annotations");
    let created = create(&other).unwrap();
    assert!(created["spec"]["initContainers"].is_null(), "{created}");
    // Policies themselves are accepted without warnings about their expressions.
    for kind in ["mutatingadmissionpolicies", "validatingadmissionpolicies"] {
        let warnings = kubectl(&[
            "get",
            kind,
            "--output",
            "jsonpath={.items[*].status.typeChecking.expressionWarnings}",
        ]);
        assert_eq!(warnings, "", "{kind}");
    }
}
