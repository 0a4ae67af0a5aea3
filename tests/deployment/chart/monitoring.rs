//! Monitors and alerts fit together.

use std::process::Command;

use serde_json::{Value, json};

use crate::chart::helm::objects;
use crate::chart::values::{AGENT, CLIENT, SECRET, SIDECAR};
use crate::kubernetes::manifests::{root, tool};

/// The alerts ask for the job `pgsvid`; Prometheus's operator would name it after the objects.
#[test]
fn each_monitor_reads_the_metrics_as_the_job_of_the_alerts() {
    for (kind, values, endpoints) in [
        (
            "PodMonitor",
            "podMonitor: {enabled: true, interval: 15s, labels: {release: p}}",
            "podMetricsEndpoints",
        ),
        (
            "ServiceMonitor",
            "serviceMonitor: {enabled: true, interval: 15s, labels: {release: p}}",
            "endpoints",
        ),
    ] {
        let objects = objects(&[AGENT, SECRET, values]);
        let monitor = objects.only(kind);
        assert_eq!(monitor["metadata"]["labels"]["release"], "p", "{kind}");
        let expected = json!([{
            "port": "metrics",
            "interval": "15s",
            "relabelings": [{ "targetLabel": "job", "replacement": "pgsvid" }],
        }]);
        assert_eq!(monitor["spec"][endpoints], expected, "{kind}");
        let port = &objects.pod()["spec"]["containers"][0]["ports"];
        assert_eq!(*port, json!([{ "name": "metrics", "containerPort": 9809 }]), "{kind}");
    }
    let rules = std::fs::read_to_string(root().join("examples/monitoring/pgsvid.rules.yml"));
    assert!(rules.unwrap().contains("up{job=\"pgsvid\"}"));
}

#[test]
fn the_pods_of_other_charts_are_selected_by_the_labels_of_the_values() {
    for mode in [SIDECAR, CLIENT] {
        let more = "podSelector: {app: a}\npodMonitor: {enabled: true}\nclusterSPIFFEID: {enabled: true, dnsNameTemplates: [a]}";
        let objects = objects(&[AGENT, mode, more]);
        let selector = json!({ "matchLabels": { "app": "a" } });
        assert_eq!(objects.only("PodMonitor")["spec"]["selector"], selector);
        assert_eq!(objects.only("ClusterSPIFFEID")["spec"]["podSelector"], selector);
    }
}

/// Helm must not evaluate the templates in the alerts' texts.
#[test]
fn the_alerts_are_those_of_the_file() {
    let objects =
        objects(&[AGENT, SECRET, "prometheusRule: {enabled: true, labels: {release: p}}"]);
    let rule = objects.only("PrometheusRule");
    assert_eq!(rule["metadata"]["labels"]["release"], "p");
    let file = root().join("examples/monitoring/pgsvid.rules.yml");
    let program =
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let python = tool("venv/bin/python3");
    let output = Command::new(python).args(["-c", program]).arg(file).output().unwrap();
    let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rule["spec"], expected);
    assert!(rule["spec"]["groups"][0]["rules"].as_array().unwrap().len() >= 15);
}
