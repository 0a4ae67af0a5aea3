//! kubectl as an administrator.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs it; what it prints.
#[track_caller]
pub(crate) fn kubectl(arguments: &[&str]) -> String {
    attempt(arguments, "").unwrap_or_else(|said| panic!("kubectl {arguments:?}: {said}"))
}

/// Runs it with this input; what it prints, or the error that it reports.
pub(crate) fn attempt(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("kubectl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scripts/test-kubernetes has kubectl in PATH");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// What the API server has.
#[track_caller]
pub(crate) fn get(arguments: &[&str]) -> Value {
    let text = kubectl(&[&["get", "--output", "json"], arguments].concat());
    serde_json::from_str(&text).unwrap()
}

/// Applies objects; the error that the API server answers.
pub(crate) fn apply(objects: &[Value]) -> Result<(), String> {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    attempt(&["apply", "--filename", "-"], &list.to_string()).map(drop)
}
