//! What the manifests guarantee about privileges, keys, probes and networks.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kubernetes::manifests::{Manifests, example, root, strings};

fn containers(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers"]
        .iter()
        .flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten())
        .collect()
}

fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let mut all = containers(pod).into_iter();
    all.find(|container| container["name"] == name).unwrap_or_else(|| panic!("there is no {name}"))
}

/// A container's own setting, else the pod's.
fn setting<'a>(pod: &'a Value, container: &'a Value, name: &str) -> &'a Value {
    let own = &container["securityContext"][name];
    if own.is_null() { &pod["spec"]["securityContext"][name] } else { own }
}

fn mount<'a>(container: &'a Value, path: &str) -> Option<&'a Value> {
    container["volumeMounts"].as_array()?.iter().find(|mount| mount["mountPath"] == path)
}

fn volume<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    volumes.iter().find(|volume| volume["name"] == name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn pgsvid_itself_says_each_setting_at_its_own_container() {
    for (name, expected) in [("dbserver", 1), ("dbclient", 2), ("javaclient", 2), ("pooled", 1)] {
        let manifests = example(name);
        let all = manifests.pod()["spec"]["initContainers"].as_array().unwrap();
        assert_eq!(all.len(), expected, "{name}");
        for container in all {
            let wanted = json!({
                "runAsNonRoot": true,
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
                "seccompProfile": { "type": "RuntimeDefault" },
            });
            assert_eq!(container["securityContext"], wanted, "{name}");
            for kind in ["requests", "limits"] {
                for resource in ["cpu", "memory"] {
                    assert!(
                        container["resources"][kind][resource].is_string(),
                        "{kind} {resource}"
                    );
                }
            }
        }
    }
}

/// The Pod Security Standard "restricted", which the namespace enforces.
#[test]
fn every_pod_keeps_the_restricted_standard() {
    let namespace = example("dbserver");
    let labels = &namespace.only("Namespace")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    for name in ["dbserver", "dbclient", "javaclient", "pooled"] {
        let manifests = example(name);
        let pod = manifests.pod();
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod["spec"][field].is_null(), "{name}");
        }
        for container in containers(pod) {
            let is = |field: &str| setting(pod, container, field);
            assert_eq!(is("runAsNonRoot"), true, "{name}");
            assert_ne!(is("runAsUser"), 0, "{name}");
            assert!(is("runAsUser").is_number(), "{name}");
            assert_eq!(is("allowPrivilegeEscalation"), false, "{name}");
            assert_eq!(is("readOnlyRootFilesystem"), true, "{name}");
            assert_eq!(is("seccompProfile")["type"], "RuntimeDefault", "{name}");
            assert_eq!(strings(&is("capabilities")["drop"]), ["ALL"], "{name}");
            assert!(is("capabilities")["add"].is_null(), "{name}");
        }
        let allowed = ["configMap", "csi", "emptyDir"];
        for volume in pod["spec"]["volumes"].as_array().unwrap() {
            let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
            assert!(kinds.clone().all(|kind| allowed.contains(&kind.as_str())), "{volume}");
        }
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "{name}");
    }
}

/// Who reads the key in each example.
const READERS: [(&str, &str); 4] =
    [("dbserver", "postgres"), ("dbclient", "app"), ("javaclient", "app"), ("pooled", "pgbouncer")];

/// PostgreSQL refuses a key that is not its own user's, and so does libpq.
#[test]
fn pgsvid_runs_as_the_user_who_reads_the_key() {
    for (name, reader) in READERS {
        let manifests = example(name);
        let pod = manifests.pod();
        for field in ["runAsUser", "runAsGroup"] {
            let ids: BTreeSet<String> = pod["spec"]["initContainers"]
                .as_array()
                .unwrap()
                .iter()
                .chain([container(pod, reader)])
                .map(|container| setting(pod, container, field).to_string())
                .collect();
            assert_eq!(ids.len(), 1, "{name}: {field} {ids:?}");
        }
    }
}

#[test]
fn keys_are_in_memory_and_their_readers_cannot_write() {
    for (name, reader) in READERS {
        let manifests = example(name);
        let pod = manifests.pod();
        let (pgsvid, reader) = (container(pod, "pgsvid"), container(pod, reader));
        let svids = mount(pgsvid, "/svids").unwrap();
        assert!(svids["readOnly"].is_null(), "{name}: pgsvid writes");
        let read = mount(reader, "/svids").unwrap();
        assert_eq!((&read["name"], &read["readOnly"]), (&svids["name"], &json!(true)), "{name}");
        let directory = &volume(pod, svids["name"].as_str().unwrap())["emptyDir"];
        assert_eq!(directory["medium"], "Memory", "{name}");
        assert!(directory["sizeLimit"].is_string(), "{name}");

        let agent = mount(pgsvid, "/spiffe-workload-api").unwrap();
        assert_eq!(agent["readOnly"], true, "{name}");
        let driver = &volume(pod, agent["name"].as_str().unwrap())["csi"];
        assert_eq!(*driver, json!({ "driver": "csi.spiffe.io", "readOnly": true }), "{name}");
        // Who reads the key needs no other identity of the agent's.
        assert!(mount(reader, "/spiffe-workload-api").is_none(), "{name}");
        assert_eq!(mount(pgsvid, "/etc/pgsvid").unwrap()["readOnly"], true, "{name}");
    }
    let manifests = example("dbserver");
    let pod = manifests.pod();
    let socket = |name| mount(container(pod, name), "/var/run/postgresql").unwrap();
    assert_eq!(socket("pgsvid")["name"], socket("postgres")["name"]);
    assert_eq!(socket("pgsvid")["readOnly"], true);
}

#[test]
fn whoever_needs_the_files_starts_after_a_native_sidecar_that_has_published() {
    for name in ["dbserver", "dbclient", "javaclient"] {
        let manifests = example(name);
        let pod = manifests.pod();
        let pgsvid = pod["spec"]["initContainers"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (&pgsvid["name"], &pgsvid["restartPolicy"]),
            (&json!("pgsvid"), &json!("Always"))
        );
        assert_eq!(strings(&pgsvid["args"]), ["run"], "{name}");
        let probe = |kind: &str| strings(&pgsvid[kind]["exec"]["command"]);
        assert_eq!(probe("startupProbe"), ["/pgsvid", "status", "--startup"], "{name}");
        assert_eq!(probe("livenessProbe"), ["/pgsvid", "status", "--live"], "{name}");
        assert_eq!(probe("readinessProbe").is_empty(), name != "dbserver");
    }
    let client = example("dbclient");
    let fetch = container(client.pod(), "pgsvid-fetch");
    assert_eq!(strings(&fetch["args"]), ["fetch", "--timeout", "2m"]);
    assert!(fetch["restartPolicy"].is_null(), "it ends");
    let server = example("dbserver");
    let ready = &container(server.pod(), "pgsvid")["readinessProbe"]["exec"]["command"];
    assert_eq!(strings(ready), ["/pgsvid", "status"]);
}

#[test]
fn the_application_finds_its_service_and_nothing_else_of_libpq_is_set() {
    for name in ["dbclient", "javaclient"] {
        let manifests = example(name);
        let app = container(manifests.pod(), "app");
        let variables = app["env"].as_array().unwrap();
        let names: Vec<_> =
            variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["PGSERVICEFILE", "PGSERVICE"]);
        assert_eq!(variables[0]["value"], "/svids/pg_service.conf");
        let reference = &variables[1]["valueFrom"]["configMapKeyRef"];
        let map = manifests.named("ConfigMap", reference["name"].as_str().unwrap());
        let service = map["data"][reference["key"].as_str().unwrap()].as_str().unwrap();
        let toml = map["data"]["pgsvid.toml"].as_str().unwrap();
        assert!(toml.contains(&format!("\nname = \"{service}\"\n")), "{service}: {toml}");
    }
    let program = std::fs::read_to_string(root().join("k8s/examples/javaclient/Application.java"));
    assert!(program.unwrap().contains("\"jdbc:postgresql://?service=products\""));
}

/// Each selector selects what it is meant for, and each port is one that somebody listens on.
#[test]
fn services_policies_budgets_and_monitors_select_the_pod() {
    for name in ["dbserver", "dbclient", "javaclient", "pooled"] {
        let manifests = example(name);
        let labels = &manifests.pod()["metadata"]["labels"];
        let selects = |selector: &Value| {
            let selector = selector.as_object().unwrap();
            selector.iter().all(|(key, value)| labels[key] == *value)
        };
        for (kind, path) in [
            ("Service", "/spec/selector"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("PodMonitor", "/spec/selector/matchLabels"),
            ("StatefulSet", "/spec/selector/matchLabels"),
            ("Deployment", "/spec/selector/matchLabels"),
        ] {
            for document in manifests.of_kind(kind) {
                assert!(selects(document.pointer(path).unwrap()), "{name}: {kind}");
            }
        }
        assert_eq!(
            manifests.only("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"],
            "metrics"
        );
        let port = &container(manifests.pod(), "pgsvid")["ports"][0];
        assert_eq!(*port, json!({ "name": "metrics", "containerPort": 9809 }));
        for toml in manifests.configurations() {
            assert!(toml.contains("listen = \"0.0.0.0:9809\""), "{toml}");
        }
        // Metrics are for the monitoring alone.
        let policy = &manifests.only("NetworkPolicy")["spec"];
        let rules = policy["ingress"].as_array().unwrap();
        let metrics: Vec<_> =
            rules.iter().filter(|rule| rule["ports"][0]["port"] == 9809).collect();
        assert_eq!(metrics.len(), 1);
        let from = json!([{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } }]);
        assert_eq!(metrics[0]["from"], from);
        assert_eq!(strings(&policy["policyTypes"]), ["Ingress", "Egress"]);
        assert!(rules.iter().all(|rule| rule["from"].is_array()), "from everywhere: {rules:?}");
    }
    for server in ["dbserver", "pooled"] {
        for client in ["dbclient", "javaclient"] {
            clients_are_let_through(example(server), example(client).pod());
        }
    }
    let open = &example("pooled").only("NetworkPolicy")["spec"]["ingress"][0]["ports"];
    assert_eq!(open[1]["port"], "pooled");
}

fn clients_are_let_through(server: &Manifests, client: &Value) {
    let policy = &server.only("NetworkPolicy")["spec"];
    let rule = &policy["ingress"][0];
    let labels = rule["from"][0]["podSelector"]["matchLabels"].as_object().unwrap();
    assert!(!labels.is_empty());
    assert!(labels.iter().all(|(name, value)| client["metadata"]["labels"][name] == *value));
    assert_eq!(rule["ports"][0]["port"], "postgresql");
    assert_eq!(policy["egress"], json!([]));
}
