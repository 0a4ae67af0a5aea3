//! Runs Helm on the chart, with values from the tests.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::kubernetes::manifests::{Manifests, VERSIONS, root, tool};

/// The release of every test: its name, and its namespace.
pub(crate) const RELEASE: [&str; 2] = ["rel", "pgsvid"];

/// Why Helm has rendered nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The chart's checks: their codes.
    Codes(BTreeSet<String>),
    /// The schema of the values: the places in them.
    Schema(BTreeSet<String>),
}

pub(crate) fn chart() -> PathBuf {
    root().join("charts/pgsvid")
}

/// Renders the chart of this repository, with each of these texts as a file of values.
#[track_caller]
pub(crate) fn render(values: &[&str]) -> Result<String, Refusal> {
    render_with(&chart(), values, &[])
}

/// Renders a chart.
#[track_caller]
pub(crate) fn render_with(
    chart: &Path,
    values: &[&str],
    arguments: &[&str],
) -> Result<String, Refusal> {
    render_as(RELEASE, chart, values, arguments)
}

/// Renders a chart for a release with this name and namespace.
#[track_caller]
pub(crate) fn render_as(
    [name, namespace]: [&str; 2],
    chart: &Path,
    values: &[&str],
    arguments: &[&str],
) -> Result<String, Refusal> {
    let output = helm(&["template", name], chart, values, |command| {
        command.args(["--namespace", namespace]).args(arguments);
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (rendered, errors) = (text(output.stdout), text(output.stderr));
    if output.status.success() {
        assert_eq!(errors, "", "{values:?}");
        return Ok(rendered);
    }
    Err(refusal(&errors))
}

/// Renders the chart, validates the objects, and parses them.
#[track_caller]
pub(crate) fn objects(values: &[&str]) -> Manifests {
    let rendered = render(values).unwrap_or_else(|refusal| panic!("{values:?}: {refusal:?}"));
    Manifests::validated("the chart", rendered.as_bytes())
}

/// Helm's own checks of a chart, where warnings are errors.
#[track_caller]
pub(crate) fn lint(chart: &Path, values: &[&str]) {
    let output = helm(&["lint", "--strict"], chart, values, |_| {});
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{values:?}: {said}");
    for mark in ["[WARNING]", "[ERROR]"] {
        assert!(!said.contains(mark), "{values:?}: {said}");
    }
}

/// A copy of `charts/`, in which Helm puts the chart into an example that depends on it.
pub(crate) struct Example {
    _directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Example {
    #[track_caller]
    pub(crate) fn new(name: &str) -> Self {
        let directory = tempfile::tempdir_in(root().join("target")).unwrap();
        copy(&root().join("charts"), directory.path());
        let path = directory.path().join("examples").join(name);
        let output = helm(&["dependency", "update", "--skip-refresh"], &path, &[], |_| {});
        assert!(output.status.success(), "{output:?}");
        Self { _directory: directory, path }
    }

    #[track_caller]
    pub(crate) fn objects(&self, arguments: &[&str]) -> Manifests {
        let rendered = render_with(&self.path, &[], arguments).unwrap();
        Manifests::validated("the example", rendered.as_bytes())
    }
}

/// Copies a directory, with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Runs Helm, with files and caches of its own, and for the oldest Kubernetes.
fn helm(
    command: &[&str],
    chart: &Path,
    values: &[&str],
    more: impl FnOnce(&mut Command),
) -> Output {
    let directory = TempDir::new().unwrap();
    let mut helm = Command::new(tool("helm"));
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        helm.env(name, directory.path());
    }
    helm.args(command).arg(chart);
    if command[0] != "dependency" {
        helm.args(["--kube-version", VERSIONS[0]]);
    }
    for (index, text) in values.iter().enumerate() {
        let path = directory.path().join(format!("{index}.yaml"));
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        helm.arg("--values").arg(path);
    }
    more(&mut helm);
    helm.output().unwrap()
}

/// What Helm's message is about: a code in brackets, or a line `- at 'PLACE': …` of the schema's.
#[track_caller]
fn refusal(errors: &str) -> Refusal {
    let codes = codes(errors);
    if !codes.is_empty() {
        return Refusal::Codes(codes);
    }
    let places = errors.lines().filter_map(|line| line.trim().strip_prefix("- at '"));
    let places: BTreeSet<_> =
        places.filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())).collect();
    assert!(!places.is_empty(), "Helm has failed: {errors}");
    Refusal::Schema(places)
}

/// Each `[pgsvid/CODE]` of a text.
pub(crate) fn codes(text: &str) -> BTreeSet<String> {
    let after = text.split("[pgsvid/").skip(1);
    after.filter_map(|rest| Some(rest.split_once(']')?.0.to_owned())).collect()
}
