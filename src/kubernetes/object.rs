//! What every object of the Kubernetes API has (`metav1.ObjectMeta`), as far as pgsvid reads it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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
    /// Which.
    pub fields_v1: Fields,
}

/// A tree of fields: each key is `f:` and the name of a field, or `k:` and the key of an element of a list. What is no such tree is
/// passed over: it takes no memory, however long it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(BTreeMap<String, Fields>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a tree of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if key.starts_with("f:") || key.starts_with("k:") {
                fields.insert(key, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Fields(fields))
    }
}

impl Fields {
    fn size(&self) -> usize {
        self.0.iter().map(|(name, below)| name.len() + 64 + below.size()).sum()
    }
}

impl OwnerReference {
    /// Its key in the fields of a manager: owners are distinguished by their uid.
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
        self.at(path).is_some()
    }

    /// About how many bytes of memory they take.
    pub(super) fn size(&self) -> usize {
        self.manager.len() + self.operation.len() + self.fields_v1.size()
    }

    /// Drops the fields below this one for which `is_kept` is false.
    pub(super) fn keep(&mut self, name: &str, is_kept: impl Fn(&str) -> bool) {
        if let Some(Fields(fields)) = self.fields_v1.0.get_mut(&format!("f:{name}")) {
            fields.retain(|key, _| key.strip_prefix("f:").is_some_and(&is_kept));
        }
    }

    /// The names of the fields below this one.
    pub fn below<'a>(&'a self, path: &[&str]) -> impl Iterator<Item = &'a str> + use<'a> {
        let found = self.at(path).map(|it| it.0.keys()).into_iter().flatten();
        found.filter_map(|name| name.strip_prefix("f:"))
    }

    fn at(&self, path: &[&str]) -> Option<&Fields> {
        path.iter().try_fold(&self.fields_v1, |tree, name| {
            if name.starts_with("k:") {
                tree.0.get(*name)
            } else {
                tree.0.get(&format!("f:{name}"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_are_kept_of_what_a_manager_has_set() {
        let entry: ManagedFields = serde_json::from_str(
            r#"{ "manager": "m", "fieldsV1": { "f:data": { ".": {}, "f:a": {}, "f:b": {} }, "x": [[], [1]], "f:type": {} } }"#,
        )
        .unwrap();
        assert!(entry.has(&["data", "a"]) && entry.has(&["type"]) && !entry.has(&["x"]));
        assert_eq!(entry.below(&["data"]).collect::<Vec<_>>(), ["a", "b"]);
        for wrong in [r#"{"fieldsV1":[]}"#, r#"{"fieldsV1":{"f:a":1}}"#] {
            assert!(serde_json::from_str::<ManagedFields>(wrong).is_err(), "{wrong}");
        }
    }
}
