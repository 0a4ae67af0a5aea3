//! The publisher: what its pod may do, which rights it has, and what it connects to.

use std::io::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::chart::helm::objects;
use crate::chart::values::{AGENT, FILES, SECRET};
use crate::kubernetes::PGSVID;
use crate::kubernetes::configuration::assert_valid;
use crate::kubernetes::manifests::{Manifests, strings};

fn publisher(more: &[&str]) -> Manifests {
    objects(&[&[AGENT, SECRET][..], more].concat())
}

fn container(objects: &Manifests) -> &Value {
    let containers = objects.pod()["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// Kubernetes ignores most of these settings in a pod's securityContext; its schema has no such keys there.
#[test]
fn each_security_setting_is_at_the_container() {
    let objects = publisher(&["runAsUser: 1234"]);
    let wanted = json!({
        "runAsNonRoot": true,
        "runAsUser": 1234,
        "runAsGroup": 1234,
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    assert_eq!(container(&objects)["securityContext"], wanted);
    let spec = &objects.pod()["spec"];
    assert_eq!(spec["securityContext"], json!({ "fsGroup": 1234 }));
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(spec[field].is_null(), "{field}");
    }
    assert_eq!(spec["enableServiceLinks"], false);
    for kind in ["requests", "limits"] {
        for resource in ["cpu", "memory"] {
            assert!(container(&objects)["resources"][kind][resource].is_string());
        }
    }
}

#[test]
fn the_agents_socket_and_the_configuration_are_read_only() {
    let objects = publisher(&[]);
    let mounts = container(&objects)["volumeMounts"].as_array().unwrap();
    let paths: Vec<_> = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/etc/pgsvid", "/spiffe-workload-api"]);
    assert!(mounts.iter().all(|mount| mount["readOnly"] == true));
    let volumes = objects.pod()["spec"]["volumes"].as_array().unwrap();
    assert_eq!(volumes[1]["csi"], json!({ "driver": "csi.spiffe.io", "readOnly": true }));
}

/// Without an agent there is no volume for its socket, and what the values add is there.
#[test]
fn a_source_of_files_has_its_own_volume_and_no_socket() {
    let objects = super::helm::objects(&[FILES, SECRET]);
    let volumes = objects.pod()["spec"]["volumes"].as_array().unwrap();
    let names: Vec<_> = volumes.iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pgsvid", "tls"]);
    assert_eq!(container(&objects)["volumeMounts"][1]["mountPath"], "/tls");
}

/// One rule of a Role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    namespace: String,
    group: String,
    resource: String,
    names: Vec<String>,
    verbs: Vec<String>,
}

/// All rules of all Roles, sorted.
fn rights(objects: &Manifests) -> Vec<Right> {
    let mut rights = Vec::new();
    for role in objects.of_kind("Role") {
        for rule in role["rules"].as_array().unwrap() {
            rights.push(Right {
                namespace: role["metadata"]["namespace"].as_str().unwrap().to_owned(),
                group: strings(&rule["apiGroups"]).concat(),
                resource: strings(&rule["resources"]).concat(),
                names: strings(&rule["resourceNames"]),
                verbs: strings(&rule["verbs"]),
            });
        }
    }
    rights.sort();
    rights
}

fn right(namespace: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Right {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    let group = if resource == "leases" { "coordination.k8s.io" } else { "" };
    Right {
        namespace: namespace.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        names: owned(names),
        verbs: owned(verbs),
    }
}

#[test]
fn the_rights_are_those_of_the_configured_secrets_and_no_others() {
    let objects = objects(&[
        AGENT,
        "config: {secrets: [{namespace: db, name: b, fields: {x: chain}}, {namespace: db, name: a, create: true, fields: {x: chain}}, \
         {namespace: app, name: c, fields: {x: bundle}}]}",
    ]);
    let expected = [
        right("app", "secrets", &["c"], &["get", "patch", "watch"]),
        right("db", "secrets", &["a"], &["create"]),
        right("db", "secrets", &["a", "b"], &["get", "patch", "watch"]),
        right("pgsvid", "leases", &[], &["create"]),
        right("pgsvid", "leases", &["rel-pgsvid"], &["get", "update"]),
    ];
    assert_eq!(rights(&objects), expected);
}

#[test]
fn pods_take_turns_by_a_lease_that_they_may_write() {
    let secret = right("db", "secrets", &["server"], &["get", "patch", "watch"]);
    let verbs = ["get", "update"];
    for (more, namespace, name) in [
        ("", "pgsvid", "rel-pgsvid"),
        ("config: {lease: {}}", "pgsvid", "rel-pgsvid"),
        ("replicas: 2", "pgsvid", "rel-pgsvid"),
        ("replicas: 2\nconfig: {lease: {namespace: other}}", "other", "rel-pgsvid"),
        ("config: {lease: {name: own}}", "pgsvid", "own"),
        ("replicas: 2\nconfig: {kubernetes: {namespace: other}}", "other", "rel-pgsvid"),
    ] {
        let objects = publisher(&[more]);
        let mut expected = vec![
            secret.clone(),
            right(namespace, "leases", &[], &["create"]),
            right(namespace, "leases", &[name], &verbs),
        ];
        expected.sort();
        assert_eq!(rights(&objects), expected, "{more}");
        let toml: Value = toml::from_str(objects.configurations()[0]).unwrap();
        assert_eq!(toml["lease"], json!({ "name": name, "namespace": namespace }), "{more}");
        let strategy = &objects.only("Deployment")["spec"]["strategy"];
        assert_eq!(strategy["type"], "RollingUpdate", "{more}");
    }
}

const REMOTE: &str = "config: {kubernetes: {server: 'https://other:8443', ca_file: /other/ca, token_file: /other/token}}\n\
    extraVolumes: [{name: other, secret: {secretName: other}}]\nextraVolumeMounts: [{name: other, mountPath: /other}]";

/// There the chart grants nothing. Without a Lease two pods at once would write two SVIDs in turns.
#[test]
fn for_another_cluster_there_is_a_lease_if_it_is_asked_for() {
    let alone = publisher(&[REMOTE]);
    assert_eq!(alone.only("Deployment")["spec"]["strategy"], json!({ "type": "Recreate" }));
    assert!(!alone.configurations()[0].contains("lease"));
    for more in ["config: {lease: {}}", "replicas: 2"] {
        let objects = publisher(&[REMOTE, more]);
        let toml: Value = toml::from_str(objects.configurations()[0]).unwrap();
        assert_eq!(toml["lease"], json!({ "name": "rel-pgsvid", "namespace": "pgsvid" }), "{more}");
        assert_eq!(objects.of_kind("Role").count(), 0, "{more}");
    }
}

/// YAML reads them as a number and as a truth value, unless they are quoted.
#[test]
fn names_that_look_like_something_else_stay_names() {
    let secrets =
        "config: {secrets: [{namespace: '123', name: 'on', create: true, fields: {x: chain}}]}";
    let more = "serviceAccount: {name: 'yes'}\nclusterSPIFFEID: {enabled: true, dnsNameTemplates: [a], className: '1'}\n\
        priorityClassName: 'off'\nconfig: {lease: {name: '1.5', namespace: '0'}}\nfullnameOverride: '7'";
    let objects = objects(&[AGENT, secrets, more]);
    let lease = right("0", "leases", &["1.5"], &["get", "update"]);
    assert!(rights(&objects).contains(&lease));
    assert!(rights(&objects).contains(&right("123", "secrets", &["on"], &["create"])));
    assert_eq!(objects.pod()["spec"]["serviceAccountName"], "yes");
    assert_eq!(objects.pod()["spec"]["priorityClassName"], "off");
    assert_eq!(objects.only("ClusterSPIFFEID")["spec"]["className"], "1");
    assert_eq!(objects.only("Deployment")["metadata"]["name"], "7");
}

#[test]
fn each_role_is_bound_to_the_publisher_alone() {
    for (more, account) in
        [("", "rel-pgsvid"), ("serviceAccount: {create: false, name: own}", "own")]
    {
        let objects = publisher(&["replicas: 2", more]);
        assert_eq!(objects.pod()["spec"]["serviceAccountName"], account);
        for role in objects.of_kind("Role") {
            let metadata = &role["metadata"];
            let binding = objects.named("RoleBinding", metadata["name"].as_str().unwrap());
            assert_eq!(binding["metadata"]["namespace"], metadata["namespace"]);
            assert_eq!(binding["roleRef"]["name"], metadata["name"]);
            let subjects =
                json!([{ "kind": "ServiceAccount", "name": account, "namespace": "pgsvid" }]);
            assert_eq!(binding["subjects"], subjects);
        }
    }
}

/// The chart derives the rights from the values, and pgsvid from the configuration that the chart makes of them.
#[test]
fn the_rights_are_those_that_pgsvid_itself_asks_for() {
    let objects = objects(&[
        AGENT,
        "config: {secrets: [{namespace: db, name: b, fields: {x: chain}}, {namespace: db, name: a, create: true, fields: {x: chain}}, \
         {namespace: app, name: c, fields: {x: bundle}}]}\nreplicas: 2",
    ]);
    let toml = objects.configurations()[0];
    assert_valid(toml);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let output = Command::new(PGSVID)
        .env_clear()
        .args([
            "setup",
            "rbac",
            "--service-account",
            "rel-pgsvid",
            "--namespace",
            "pgsvid",
            "--config",
        ])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = Manifests::validated("setup rbac", &output.stdout);
    assert_eq!(rights(&objects), rights(&printed));
    assert_eq!(rights(&objects).len(), 5);
}

/// The `ServiceAccount`'s own token is for this cluster's API server only.
#[test]
fn a_publisher_for_another_cluster_has_no_token_of_this_one() {
    for (more, expected) in [("", true), (REMOTE, false)] {
        let objects = publisher(&[more]);
        assert_eq!(objects.pod()["spec"]["automountServiceAccountToken"], expected, "{more}");
    }
}

#[test]
fn each_selector_selects_the_pods() {
    let objects = publisher(&[
        "replicas: 2\nnetworkPolicy: {enabled: true}\nserviceMonitor: {enabled: true}",
        "clusterSPIFFEID: {enabled: true, dnsNameTemplates: [db]}\npodLabels: {team: a}",
    ]);
    let labels = &objects.pod()["metadata"]["labels"];
    assert_eq!(labels["team"], "a");
    for (kind, path) in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("Service", "/spec/selector"),
        ("ClusterSPIFFEID", "/spec/podSelector/matchLabels"),
    ] {
        let selector = objects.only(kind).pointer(path).unwrap().as_object().unwrap();
        assert_eq!(selector.len(), 2, "{kind}");
        assert!(selector.iter().all(|(name, value)| labels[name] == *value), "{kind}");
    }
    let service = objects.only("Service");
    let monitor = &objects.only("ServiceMonitor")["spec"]["selector"]["matchLabels"];
    let selector = monitor.as_object().unwrap();
    assert!(selector.iter().all(|(name, value)| service["metadata"]["labels"][name] == *value));
    let identity = &objects.only("ClusterSPIFFEID")["spec"];
    let namespace = json!({ "matchLabels": { "kubernetes.io/metadata.name": "pgsvid" } });
    assert_eq!(identity["namespaceSelector"], namespace);
}

fn ports(rule: &Value) -> Vec<i64> {
    let ports = rule["ports"].as_array().unwrap();
    ports.iter().map(|port| port["port"].as_i64().unwrap()).collect()
}

#[test]
fn the_network_policy_admits_monitoring_and_what_pgsvid_connects_to() {
    let on = "networkPolicy: {enabled: true}";
    let policy = |more: &[&str]| publisher(more).only("NetworkPolicy")["spec"].clone();
    let plain = policy(&[on]);
    assert_eq!(strings(&plain["policyTypes"]), ["Ingress", "Egress"]);
    let from = json!([{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } }]);
    assert_eq!(plain["ingress"][0]["from"], from);
    assert_eq!(ports(&plain["ingress"][0]), [9809]);
    let egress: Vec<_> = plain["egress"].as_array().unwrap().iter().map(ports).collect();
    assert_eq!(egress, [vec![443, 6443], vec![53, 53]]);

    let databases = policy(&[
        on,
        "config: {served: [{address: 'a.db:5433'}, {address: b.db}], files: {service: {name: s, options: {host: h, port: 6432}}}, client: {}}",
    ]);
    assert_eq!(ports(&databases["egress"][2]), [5432, 5433, 6432]);
    // As pgsvid reads them: an address of IPv6 has a port only after brackets.
    for (address, port) in
        [("fd00::5", 5432), ("'[fd00::5]'", 5432), ("'[fd00::5]:5433'", 5433), ("db.", 5432)]
    {
        let served = format!("config: {{served: {{address: {address}}}}}");
        assert_eq!(ports(&policy(&[on, &served])["egress"][2]), [port], "{address}");
    }
    assert_eq!(ports(&policy(&[on, REMOTE])["egress"][0]), [8443]);
    let narrow = policy(&[
        on,
        "networkPolicy: {apiServer: {to: [{ipBlock: {cidr: 10.0.0.1/32}}], ports: [6443]}, monitoring: []}",
    ]);
    assert_eq!(narrow["egress"][0]["to"], json!([{ "ipBlock": { "cidr": "10.0.0.1/32" } }]));
    assert_eq!(narrow["ingress"], json!([]));
    let local = policy(&[on, "config: {health: {listen: '127.0.0.1:9809'}}"]);
    assert_eq!(local["ingress"], json!([]));
}
