//! Helm, with the chart of this repository.

use std::path::Path;
use std::process::Command;

use test_support::Directory;

use crate::manifests::root;

/// Runs Helm in the root of the repository; what it prints, or the error that it reports.
fn attempt(namespace: &str, arguments: &[&str]) -> Result<String, String> {
    let files = Directory::new();
    let mut helm = Command::new(root().join("target/tools/kubernetes/helm"));
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        helm.env(name, files.path());
    }
    helm.args(["--namespace", namespace]).args(arguments).current_dir(root());
    let output = helm.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A release of the chart `charts/pgsvid`, which is uninstalled at the end of the test.
pub(crate) struct Release {
    namespace: String,
    name: &'static str,
}

impl Release {
    /// Nothing is installed yet.
    pub(crate) fn named(namespace: &str, name: &'static str) -> Self {
        Self { namespace: namespace.to_owned(), name }
    }

    /// Installs or upgrades it with a file of values, and these options; what Helm prints.
    #[track_caller]
    pub(crate) fn install(&self, values: &Path, more: &[&str]) -> String {
        let values = values.to_str().unwrap();
        let command = ["upgrade", "--install", self.name, "charts/pgsvid", "--create-namespace"];
        self.helm(&[&command[..], &["--values", values], more].concat())
    }

    /// The same with the values of an example of k8s/, for this namespace instead of `applications`.
    #[track_caller]
    pub(crate) fn install_example(&self, example: &str, more: &[&str]) -> String {
        let values = root().join("k8s/examples").join(example).join("values.yaml");
        let values = std::fs::read_to_string(values).unwrap();
        let files = Directory::new();
        let own = values.replace("applications", &self.namespace);
        self.install(&files.write("values.yaml", own, 0o644), more)
    }

    /// Uninstalls it before the test ends.
    #[track_caller]
    pub(crate) fn uninstall(&self) {
        self.helm(&["uninstall", self.name]);
    }

    #[track_caller]
    fn helm(&self, arguments: &[&str]) -> String {
        let said = attempt(&self.namespace, arguments);
        said.unwrap_or_else(|error| panic!("helm {arguments:?}: {error}"))
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let _ = attempt(&self.namespace, &["uninstall", self.name, "--ignore-not-found"]);
    }
}
