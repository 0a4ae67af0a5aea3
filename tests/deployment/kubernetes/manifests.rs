//! The output of kustomize for a directory, validated and parsed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// The oldest Kubernetes with native sidecars, and a current one. `scripts/lib/kubernetes.sh` installs their schemas.
pub(crate) const VERSIONS: [&str; 2] = ["1.29", "1.37"];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An example of k8s/, rendered once for all tests.
pub(crate) fn example(name: &str) -> &'static Manifests {
    static SERVER: LazyLock<Manifests> = LazyLock::new(|| build("dbserver"));
    static CLIENT: LazyLock<Manifests> = LazyLock::new(|| build("dbclient"));
    static JAVA: LazyLock<Manifests> = LazyLock::new(|| build("javaclient"));
    static POOLED: LazyLock<Manifests> = LazyLock::new(|| build("pooled"));
    fn build(name: &str) -> Manifests {
        Manifests::build(&root().join("k8s/examples").join(name))
    }
    match name {
        "dbserver" => &SERVER,
        "dbclient" => &CLIENT,
        "javaclient" => &JAVA,
        "pooled" => &POOLED,
        _ => panic!("there is no example {name}"),
    }
}

/// Rendered resources.
pub(crate) struct Manifests(Vec<Value>);

impl Manifests {
    /// Renders the directory, and validates the result.
    #[track_caller]
    pub(crate) fn build(directory: &Path) -> Self {
        Self::validated(&directory.display().to_string(), &kustomize(directory))
    }

    /// Validates manifests, and parses them.
    #[track_caller]
    pub(crate) fn validated(origin: &str, yaml: &[u8]) -> Self {
        let output = validate(yaml);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{origin}: {errors}");
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |document| document["kind"] == kind)
    }

    /// The only one of its kind.
    #[track_caller]
    pub(crate) fn only(&self, kind: &str) -> &Value {
        let mut found = self.of_kind(kind);
        let first = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
        assert!(found.next().is_none(), "there is more than one {kind}");
        first
    }

    #[track_caller]
    pub(crate) fn named(&self, kind: &str, name: &str) -> &Value {
        let mut found = self.of_kind(kind);
        let found = found.find(|document| document["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The one thing that runs pods.
    #[track_caller]
    pub(crate) fn workload(&self) -> &Value {
        let mut found = self.all().filter(|document| !document["spec"]["template"].is_null());
        let first = found.next().expect("something runs pods");
        assert!(found.next().is_none(), "there is more than one workload");
        first
    }

    /// Its pod template.
    pub(crate) fn pod(&self) -> &Value {
        &self.workload()["spec"]["template"]
    }

    /// Each `pgsvid.toml`.
    pub(crate) fn configurations(&self) -> Vec<&str> {
        let maps = self.of_kind("ConfigMap");
        maps.filter_map(|map| map["data"].get("pgsvid.toml")?.as_str()).collect()
    }

    /// What SPIRE's controller manager would register for the pod: its SPIFFE ID, and its DNS names.
    #[track_caller]
    pub(crate) fn identity(&self, pod: &Value) -> (String, Vec<String>) {
        let selected: Vec<&Value> = self
            .of_kind("ClusterSPIFFEID")
            .filter(|identity| {
                let labels = identity["spec"]["podSelector"]["matchLabels"].as_object().unwrap();
                labels.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value)
            })
            .collect();
        assert_eq!(selected.len(), 1, "one identity for a pod: {selected:?}");
        let spec = &selected[0]["spec"];
        let names = strings(&spec["dnsNameTemplates"]);
        (
            fill(spec["spiffeIDTemplate"].as_str().unwrap(), pod),
            names.iter().map(|name| fill(name, pod)).collect(),
        )
    }
}

/// A template of the controller manager's, filled in: those fields that the examples use.
#[track_caller]
fn fill(template: &str, pod: &Value) -> String {
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
    let filled = template
        .replace("{{ .TrustDomain }}", "example.org")
        .replace("{{ .ClusterDomain }}", "cluster.local")
        .replace("{{ .PodMeta.Namespace }}", "applications")
        .replace("{{ .PodSpec.ServiceAccountName }}", account);
    assert!(!filled.contains("{{"), "{filled}");
    filled
}

/// A list of texts; an absent one is empty.
pub(crate) fn strings(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

pub(crate) fn tool(name: &str) -> PathBuf {
    let path = root().join("target/tools/kubernetes").join(name);
    assert!(path.exists(), "{} is missing: scripts/test installs it", path.display());
    path
}

#[track_caller]
pub(crate) fn kustomize(directory: &Path) -> Vec<u8> {
    let output = Command::new(tool("kustomize")).arg("build").arg(directory).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", directory.display());
    // A deprecated field, for one.
    assert_eq!(errors, "", "{}", directory.display());
    output.stdout
}

/// Validates manifests strictly for the oldest and for a current Kubernetes; they come back as JSON.
pub(crate) fn validate(yaml: &[u8]) -> Output {
    validate_for(&VERSIONS, yaml)
}

/// Validates manifests strictly for these versions.
pub(crate) fn validate_for(versions: &[&str], yaml: &[u8]) -> Output {
    let here = root().join("tests/deployment/kubernetes");
    let mut child = Command::new(tool("venv/bin/python3"))
        .arg(here.join("documents.py"))
        .arg(here.join("schemas"))
        .args(versions)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(yaml).unwrap();
    child.wait_with_output().unwrap()
}
