//! The schema of the Helm chart's values: the chart's own part, and the configuration's schema for the value `config`.

use serde_json::{Map, Value};

/// The values that are no part of the configuration.
const OWN: &str = include_str!("values.json");

/// The schema of the values (draft 07, which each Helm 3 reads).
pub(crate) fn schema() -> serde_json::Result<Value> {
    let mut schema: Value = serde_json::from_str(OWN)?;
    schema["properties"]["config"] = config(pgsvid::config::schema());
    Ok(schema)
}

/// The configuration's schema, as a part of another one.
fn config(mut schema: Value) -> Value {
    let Some(root) = schema.as_object_mut() else { return schema };
    root.remove("$schema");
    root.remove("title");
    if let Some(tables) = root.get_mut("properties").and_then(Value::as_object_mut) {
        loosen(tables);
    }
    schema
}

/// The chart itself says what an entry lacks, with the remedy: `[pgsvid/secret-without-name]` and others.
fn loosen(tables: &mut Map<String, Value>) {
    if let Some(items) = tables["secrets"].get_mut("items").and_then(Value::as_object_mut) {
        items.remove("required");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/pgsvid");

    #[test]
    fn the_chart_has_the_schema_of_this_configuration() {
        let path = format!("{CHART}/values.schema.json");
        let wanted = schema().unwrap();
        if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
            File::create(&path).unwrap().write_all(format!("{wanted:#}\n").as_bytes()).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let is_current = serde_json::from_str::<Value>(&text).is_ok_and(|found| found == wanted);
        assert!(is_current, "{path} is stale: PGSVID_WRITE_DOCS=1 cargo test -p pgsvid-generate");
    }

    /// Every Helm 3 reads draft 07; the configuration's schema is generated as draft 2020-12.
    #[test]
    fn the_schema_needs_no_newer_draft() {
        fn search(value: &Value, found: &mut Vec<String>) {
            let newer = ["$defs", "$anchor", "$dynamicRef", "prefixItems", "unevaluatedProperties"];
            if let Some(object) = value.as_object() {
                found.extend(object.keys().filter(|key| newer.contains(&key.as_str())).cloned());
            }
            let (list, map) = (value.as_array(), value.as_object());
            let inner = list.into_iter().flatten().chain(map.into_iter().flat_map(Map::values));
            inner.for_each(|value| search(value, found));
        }
        let mut found = Vec::new();
        search(&schema().unwrap(), &mut found);
        assert_eq!(found, [] as [String; 0]);
    }

    /// An unknown key is an error in the values as it is in pgsvid.toml.
    #[test]
    fn the_schema_has_the_keys_of_the_configuration_and_no_others() {
        let schema = schema().unwrap();
        let config = &schema["properties"]["config"];
        assert_eq!(config["additionalProperties"], false);
        assert_eq!(config["properties"]["health"]["additionalProperties"], false);
        assert!(config["properties"]["files"]["properties"]["directory"].is_object());
        for name in ["secrets", "served"] {
            assert!(config["properties"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn an_entry_of_secrets_is_complete_by_the_charts_own_checks() {
        let table = json!({ "type": "array", "items": { "required": ["name"] } });
        let schema = config(json!({ "properties": { "secrets": table } }));
        let secrets = &schema["properties"]["secrets"];
        assert_eq!(*secrets, json!({ "type": "array", "items": {} }));
    }
}
