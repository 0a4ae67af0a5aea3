//! What every object of the Kubernetes API has (`metav1.ObjectMeta`), as far as pgsvid reads it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The metadata of an object.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Identifies the object, also from a later one of the same name.
    pub uid: String,
    /// Identifies its present version.
    pub resource_version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The objects with which it is removed.
    pub owner_references: Vec<OwnerReference>,
    /// Who has set which fields.
    pub managed_fields: Vec<ManagedFields>,
}

/// An object with which another one is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// The fields that one manager has set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedFields {
    /// Its name.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// A tree: each key is `f:` and the name of a field.
    pub fields_v1: Value,
}

impl OwnerReference {
    /// Its key in the fields of a manager: owners are told apart by their uid.
    #[must_use]
    pub fn key(&self) -> String {
        format!("k:{}", serde_json::json!({ "uid": self.uid }))
    }
}

impl ManagedFields {
    /// Whether they were applied (server-side apply), and not set by an update.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.operation == "Apply"
    }

    /// Whether they include this field. A name that begins with `k:` is the key of an element of a list.
    #[must_use]
    pub fn has(&self, path: &[&str]) -> bool {
        let mut tree = &self.fields_v1;
        for name in path {
            let found =
                if name.starts_with("k:") { tree.get(name) } else { tree.get(format!("f:{name}")) };
            match found {
                Some(found) => tree = found,
                None => return false,
            }
        }
        true
    }

    /// The names of the fields below this one.
    pub fn below<'a>(&'a self, path: &[&str]) -> impl Iterator<Item = &'a str> + use<'a> {
        let tree =
            path.iter().try_fold(&self.fields_v1, |tree, name| tree.get(format!("f:{name}")));
        let found = tree.and_then(Value::as_object).into_iter().flatten();
        found.filter_map(|(name, _)| name.strip_prefix("f:"))
    }
}
