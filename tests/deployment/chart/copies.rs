//! The chart is one with the rest of the repository: versions, files, and Helm's own checks.

use serde_json::Value;

use crate::chart::helm::{Example, chart, lint, objects};
use crate::chart::values::{AGENT, CLIENT, FILES, SECRET, SIDECAR};
use crate::kubernetes::manifests::root;

#[test]
fn helm_finds_nothing_to_warn_of() {
    for values in [
        &[AGENT, SECRET][..],
        &[
            FILES,
            SECRET,
            "replicas: 2\nnetworkPolicy: {enabled: true}\nserviceMonitor: {enabled: true}",
        ],
        &[
            AGENT,
            SIDECAR,
            "podSelector: {a: b}\npodMonitor: {enabled: true}\nprometheusRule: {enabled: true}",
        ],
        &[AGENT, CLIENT, "dashboard: {enabled: true}"],
    ] {
        lint(&chart(), values);
    }
    for name in ["database", "application"] {
        lint(&Example::new(name).path, &[]);
    }
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    for path in ["pgsvid", "examples/database", "examples/application"] {
        let text = std::fs::read_to_string(root().join("charts").join(path).join("Chart.yaml"));
        let text = text.unwrap();
        assert!(text.contains(&format!("version: {version}\n")), "{path}");
    }
    let text = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    assert!(text.contains(&format!("\nappVersion: {version}\n")));
    let image = |values: &[&str]| objects(values).pod()["spec"]["containers"][0]["image"].clone();
    assert_eq!(image(&[AGENT, SECRET]), format!("ghcr.io/pgsvid/pgsvid:{version}"));
    let digest = "0".repeat(64);
    let own = format!(
        "image: {{repository: registry.example/pgsvid, tag: a, digest: 'sha256:{digest}'}}"
    );
    let expected = format!("registry.example/pgsvid:a@sha256:{digest}");
    assert_eq!(image(&[AGENT, SECRET, &own]), expected);
}

/// Helm reads no file outside of the chart.
#[test]
fn the_charts_files_are_those_of_the_monitoring_example() {
    for name in ["pgsvid.rules.yml", "dashboard.json"] {
        let original = root().join("examples/monitoring").join(name);
        let copy = chart().join("files").join(name);
        if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
            std::fs::copy(&original, &copy).unwrap();
        }
        let read = |path| std::fs::read_to_string(path).unwrap();
        let stale = "PGSVID_WRITE_DOCS=1 cargo test --test deployment the_charts_files";
        assert!(read(original) == read(copy), "{name} is stale: {stale}");
    }
}

#[test]
fn the_dashboard_is_the_file() {
    let objects = objects(&[AGENT, SECRET, "dashboard: {enabled: true}"]);
    let map = objects.named("ConfigMap", "rel-pgsvid-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let file = std::fs::read_to_string(root().join("examples/monitoring/dashboard.json")).unwrap();
    assert_eq!(parse(map["data"]["pgsvid.json"].as_str().unwrap()), parse(&file));
}
