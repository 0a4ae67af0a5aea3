//! The file as a JSON Schema, for editors: with the types that the file is parsed into, and the texts of the reference.

use schemars::{JsonSchema as _, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::file::File;
use super::keys::{ALL, Default, Key};

/// The schema (draft 2020-12). Each key has its meaning, and its default if that is one value.
#[must_use]
pub fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = Value::from(File::json_schema(&mut SchemaGenerator::new(settings)));
    describe(&mut schema, "");
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("The configuration of pgsvid"));
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    }
    schema
}

/// Describes the keys of a table, and of the tables in it.
fn describe(table: &mut Value, prefix: &str) {
    let properties = table.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let name = format!("{prefix}{name}");
        if let Some(key) = ALL.into_iter().find(|key| key.name == name) {
            if let Some(property) = property.as_object_mut() {
                describe_key(property, key);
            }
            continue;
        }
        let prefix = format!("{name}.");
        describe(property, &prefix);
        // A table that may be left out, and one that may occur several times.
        for inner in property.get_mut("anyOf").and_then(Value::as_array_mut).into_iter().flatten() {
            describe(inner, &prefix);
        }
        if let Some(items) = property.get_mut("items") {
            describe(items, &prefix);
        }
    }
}

fn describe_key(property: &mut Map<String, Value>, key: &Key) {
    property.insert("description".to_owned(), json!(key.meaning));
    let default = match key.default {
        Default::Text(text) => Some(json!(text)),
        Default::Bare(bare) => serde_json::from_str(bare).ok(),
        Default::Required | Default::Words(_) => None,
    };
    match default {
        Some(default) => property.insert("default".to_owned(), default),
        None => property.remove("default"),
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The keys of a table, and of the tables in it: everything without keys of its own.
    fn keys(table: &Value, prefix: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (name, property) in table["properties"].as_object().unwrap() {
            let name = format!("{prefix}{name}");
            let variants = property["anyOf"].as_array().into_iter().flatten();
            let tables: Vec<_> = variants
                .chain([property, &property["items"]])
                .filter(|inner| inner["properties"].is_object())
                .collect();
            if tables.is_empty() {
                assert!(property["description"].is_string(), "{name} has no meaning");
                found.insert(name);
            } else {
                found.extend(tables.iter().flat_map(|inner| keys(inner, &format!("{name}."))));
            }
        }
        found
    }

    #[test]
    fn the_list_of_keys_has_each_key_of_the_file_and_no_other() {
        let listed: BTreeSet<_> = ALL.iter().map(|key| key.name.to_owned()).collect();
        assert_eq!(keys(&schema(), ""), listed);
    }
}
