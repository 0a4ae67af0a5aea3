//! The chart is one with the rest of the repository: versions, files, and Helm's own checks.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::chart::helm::{Example, chart, lint, objects, render_as};
use crate::chart::values::{AGENT, CLIENT, FILES, SECRET, SIDECAR};
use crate::kubernetes::configuration::assert_valid;
use crate::kubernetes::manifests::{Manifests, root};

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

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
        let text = read(Path::new("charts").join(path).join("Chart.yaml"));
        assert!(text.contains(&format!("version: {version}\n")), "{path}");
    }
    let text = read("charts/pgsvid/Chart.yaml");
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

/// Helm reads no file outside of a chart.
#[test]
fn the_files_of_the_charts_are_those_of_other_examples() {
    let database = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf", "products.sql"];
    for (original, chart, names) in [
        ("examples/monitoring", "charts/pgsvid", &["pgsvid.rules.yml", "dashboard.json"][..]),
        ("k8s/examples/dbserver/database", "charts/examples/database", &database),
    ] {
        for name in names {
            let original = root().join(original).join(name);
            let copy = root().join(chart).join("files").join(name);
            if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
                std::fs::copy(&original, &copy).unwrap();
            }
            let stale = "PGSVID_WRITE_DOCS=1 cargo test --test deployment the_files_of_the_charts";
            assert!(read(original) == read(copy), "{name} is stale: {stale}");
        }
    }
}

#[test]
fn the_dashboard_is_the_file() {
    let objects = objects(&[AGENT, SECRET, "dashboard: {enabled: true}"]);
    let map = objects.named("ConfigMap", "rel-pgsvid-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let file = read("examples/monitoring/dashboard.json");
    assert_eq!(parse(map["data"]["pgsvid.json"].as_str().unwrap()), parse(&file));
}

/// What docs/kubernetes.md installs.
#[test]
fn the_values_of_the_documentation_give_a_publisher() {
    let values = read("charts/examples/publisher.yaml");
    let objects = objects(&[&values]);
    objects.only("PodDisruptionBudget");
    assert_valid(objects.configurations()[0]);
    assert_eq!(objects.only("Deployment")["spec"]["replicas"], 2);
    let role = objects.named("Role", "pgsvid.rel-pgsvid");
    assert_eq!(role["metadata"]["namespace"], "databases");
    assert_eq!(role["rules"][1]["resourceNames"], serde_json::json!(["products-server"]));
    // The page calls the Deployment as the release.
    let rendered = render_as(["pgsvid", "pgsvid"], &chart(), &[&values], &[]);
    let manifests = Manifests::validated("the chart", rendered.unwrap().as_bytes());
    assert_eq!(manifests.only("Deployment")["metadata"]["name"], "pgsvid");
    let page = read("docs/kubernetes.md");
    assert!(page.contains("--values charts/examples/publisher.yaml"));

    // The chart's own page shows the same values.
    let readme = read("charts/pgsvid/README.md");
    let (_, body) = values.split_once('\n').unwrap();
    assert!(readme.contains(body), "charts/pgsvid/README.md shows other values");
}

#[test]
fn the_page_of_the_chart_names_templates_that_exist() {
    let definitions: String = ["_pod.tpl", "_container.tpl"]
        .iter()
        .map(|name| read(Path::new("charts/pgsvid/templates").join(name)))
        .collect();
    let readme = read("charts/pgsvid/README.md");
    let named: BTreeSet<_> =
        readme.split("include \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(named.len(), 5);
    for name in named {
        assert!(definitions.contains(&format!("define \"{name}\"")), "{name}");
    }
}
