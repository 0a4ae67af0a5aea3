//! All components, policies and examples match the schemas, and the schemas detect errors.

use std::path::PathBuf;

use crate::kubernetes::manifests::{
    Manifests, VERSIONS, example, kustomize, root, validate, validate_for,
};

fn directories(parent: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(parent)).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

#[test]
fn every_example_is_valid_on_the_oldest_and_on_a_current_kubernetes() {
    let examples = directories("k8s/examples");
    assert_eq!(examples.len(), 8);
    for directory in examples {
        assert!(Manifests::build(&directory).all().count() >= 3, "{}", directory.display());
    }
}

/// To workloads as others write them: of each kind, and with volumes and init containers of their own.
#[test]
fn every_component_can_be_added_to_each_kind_of_workload() {
    for (component, kinds, container) in [
        ("sidecar", &["StatefulSet", "Deployment"][..], "postgres"),
        ("sidecar-ungated", &["StatefulSet", "Deployment"][..], "postgres"),
        ("client", &["StatefulSet", "Deployment", "DaemonSet", "Job"][..], "app"),
    ] {
        for kind in kinds {
            let manifests = added(component, kind, container);
            let spec = &manifests.pod()["spec"];
            let names = |list: &str| -> Vec<&str> {
                spec[list].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect()
            };
            // First of all: what comes later may need the files.
            let pgsvid = if component == "client" {
                vec!["pgsvid-fetch", "pgsvid", "migrate"]
            } else {
                vec!["pgsvid", "migrate"]
            };
            assert_eq!(names("initContainers"), pgsvid, "{component}, {kind}");
            // Only a database's pod depends on what pgsvid has proven, unless that is not wanted.
            let gate = &spec["initContainers"][pgsvid.len() - 2]["readinessProbe"];
            assert_eq!(!gate.is_null(), component == "sidecar", "{component}, {kind}");
            assert_eq!(names("containers"), [container], "{component}, {kind}");
            assert!(names("volumes").contains(&"own"), "{component}, {kind}");
            let mounts = spec["containers"][0]["volumeMounts"].as_array().unwrap();
            assert!(mounts.iter().any(|mount| mount["mountPath"] == "/own"), "{mounts:?}");
            assert!(mounts.iter().any(|mount| mount["mountPath"] == "/svids"), "{mounts:?}");
        }
    }
}

/// A small workload, with a component.
pub(crate) fn added(component: &str, kind: &str, container: &str) -> Manifests {
    let directory = tempfile::tempdir_in(root().join("target")).unwrap();
    let write = |name: &str, text: &str| {
        let mut file = std::fs::File::create(directory.path().join(name)).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let (version, selector) = if kind == "Job" {
        ("batch/v1", "")
    } else {
        ("apps/v1", "  selector: {matchLabels: {a: b}}\n")
    };
    let service = if kind == "StatefulSet" { "  serviceName: own\n" } else { "" };
    let restart = if kind == "Job" { "Never" } else { "Always" };
    write(
        "workload.yaml",
        &format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: own}}\nspec:\n{selector}{service}  template:\n    \
             metadata: {{labels: {{a: b}}}}\n    spec:\n      restartPolicy: {restart}\n      initContainers: \
             [{{name: migrate, image: own}}]\n      containers:\n        - name: {container}\n          image: own\n\
             \x20         volumeMounts: [{{name: own, mountPath: /own}}]\n      volumes: [{{name: own, emptyDir: {{}}}}]\n"
        ),
    );
    write(
        "kustomization.yaml",
        &format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [workload.yaml]\ncomponents: \
             [../../k8s/components/{component}]\n"
        ),
    );
    Manifests::build(directory.path())
}

/// tests/kubernetes has them in force on the API server of 1.34.
#[test]
fn the_policies_are_valid_on_the_versions_that_have_them() {
    for (directory, versions) in [("v1", ["1.36", "1.37"]), ("v1beta1", ["1.34", "1.35"])] {
        let rendered = kustomize(&root().join("k8s/injection").join(directory));
        let output = validate_for(&versions, &rendered);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{directory}: {errors}");
    }
}

#[test]
fn what_is_wrong_is_found() {
    for (yaml, wanted) in [
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, imag: b}]}",
            "'imag' was unexpected",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}", "'containers' is a required"),
        ("apiVersion: v1\nkind: Pot\nmetadata: {name: a}", "find schema for kind Pot"),
        (
            "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {name: a}\n\
             spec: {spiffeIDTemplate: a, dnsNames: [b]}",
            "'dnsNames' was unexpected",
        ),
        (
            "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {name: a, namespace: b}\n\
             spec: {spiffeIDTemplate: a}",
            "'namespace' was unexpected",
        ),
        (
            "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nmetadata: {name: a, namespace: b}\n\
             spec: {selector: {}, podMetricsEndpoints: []}",
            "should be non-empty",
        ),
    ] {
        let output = validate(yaml.as_bytes());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{yaml}\n{errors}");
        for version in VERSIONS {
            let found = errors.lines().find(|line| line.contains(&format!("Kubernetes {version}")));
            assert!(found.is_some_and(|line| line.contains(wanted)), "{wanted}: {errors}");
        }
    }
    let twice = validate(b"kind: Pod\nkind: Pod\n");
    assert!(String::from_utf8_lossy(&twice.stderr).contains("kind twice"));
}

/// Whatever runs pods names its image once, and pgsvid's is the one that is built from this source.
#[test]
fn the_image_is_that_of_this_version() {
    for name in ["dbserver", "dbclient", "javaclient"] {
        let manifests = example(name);
        let containers = manifests.pod()["spec"]["initContainers"].as_array().unwrap();
        for container in containers {
            let image = format!("ghcr.io/pgsvid/pgsvid:{}", env!("CARGO_PKG_VERSION"));
            assert_eq!(container["image"], image, "{name}");
        }
    }
}
