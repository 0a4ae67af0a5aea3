//! What kustomize makes of a directory, as objects that a test can change before it applies them.

use std::path::Path;

use serde_json::Value;
use test_support::Directory;

use crate::kubectl::{attempt, kubectl};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The objects of a directory of this repository.
#[track_caller]
pub(crate) fn rendered(directory: &str) -> Vec<Value> {
    parsed(&kubectl(&["kustomize", root().join(directory).to_str().unwrap()]))
}

/// An example, moved from the namespace `applications` to another one.
#[track_caller]
pub(crate) fn example(name: &str, namespace: &str) -> Vec<Value> {
    let directory = root().join("k8s/examples").join(name);
    let text = kubectl(&["kustomize", directory.to_str().unwrap()]);
    parsed(&text.replace("applications", namespace))
}

/// What a kustomization gives: `rest` is added to its fields, with paths of components relative to k8s/components, and each file
/// lies beside it.
#[track_caller]
pub(crate) fn kustomization(namespace: &str, rest: &str, files: &[(&str, &str)]) -> Vec<Value> {
    // kustomize accepts relative paths only.
    let directory = Directory::new();
    let up = "../".repeat(directory.path().components().count() - 1);
    let components = format!("{up}{}/k8s/components/", &root().to_str().unwrap()[1..]);
    let kind = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
    let rest = rest.replace("COMPONENTS/", &components);
    directory.write("kustomization.yaml", format!("{kind}namespace: {namespace}\n{rest}"), 0o644);
    for (name, text) in files {
        directory.write(name, *text, 0o644);
    }
    parsed(&kubectl(&["kustomize", directory.path().to_str().unwrap()]))
}

/// Objects in YAML.
#[track_caller]
fn parsed(yaml: &str) -> Vec<Value> {
    let arguments =
        ["create", "--dry-run=client", "--validate=false", "--output", "json", "--filename", "-"];
    let text = attempt(&arguments, yaml).unwrap_or_else(|said| panic!("{said}: {yaml}"));
    // One after the other.
    serde_json::Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect()
}

/// The one of a kind, to be changed.
#[track_caller]
pub(crate) fn only<'a>(objects: &'a mut [Value], kind: &str) -> &'a mut Value {
    let mut found = objects.iter_mut().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there is more than one {kind}");
    first
}

/// A pod's container by its name, to be changed.
#[track_caller]
pub(crate) fn container<'a>(pod: &'a mut Value, name: &str) -> &'a mut Value {
    let containers = ["initContainers", "containers"];
    let spec = pod["spec"].as_object_mut().unwrap();
    let mut all = spec.iter_mut().filter(|(key, _)| containers.contains(&key.as_str()));
    let found = all.find_map(|(_, list)| {
        list.as_array_mut().unwrap().iter_mut().find(|one| one["name"] == name)
    });
    found.unwrap_or_else(|| panic!("there is no container {name}"))
}
