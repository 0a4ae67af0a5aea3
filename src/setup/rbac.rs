//! The least rights that Kubernetes must grant for `[[secrets]]`, as YAML.

use std::fmt::Write as _;

use serde_json::Value;

use crate::consumers::SecretsSettings;
use crate::kubernetes::Subject;

/// Role and `RoleBinding` of each namespace, for `kubectl apply -f -`, with a final newline.
#[must_use]
pub fn rbac(secrets: &SecretsSettings, subject: &Subject) -> String {
    let mut yaml = String::from(
        "# The rights of pgsvid on the Secrets of its configuration, and on no others (docs/kubernetes-secrets.md).\n",
    );
    for object in secrets.grants().objects(subject) {
        yaml.push_str("---\n");
        block(&object, 0, &mut yaml);
    }
    yaml
}

// Writing to a String does not fail, so the results are ignored.

/// An object or a list in block style, each line indented by `depth`.
fn block(value: &Value, depth: usize, yaml: &mut String) {
    let indent = " ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let _ = write!(yaml, "{indent}{key}:");
                nested(value, depth, yaml);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut text = String::new();
                block(item, depth + 2, &mut text);
                let _ = write!(yaml, "{indent}- {}", text.trim_start());
            }
        }
        scalar => drop(writeln!(yaml, "{indent}{scalar}")),
    }
}

fn nested(value: &Value, depth: usize, yaml: &mut String) {
    match value {
        Value::Object(_) => {
            yaml.push('\n');
            block(value, depth + 2, yaml);
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            yaml.push('\n');
            block(value, depth + 2, yaml);
        }
        // Of scalars JSON is YAML: the strings are quoted.
        _ => drop(writeln!(yaml, " {value}")),
    }
}
