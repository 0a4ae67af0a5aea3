//! The keys of `[[secrets]]`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct SecretTable {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) create: Option<bool>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner: Option<SecretOwner>,
    pub(super) fields: BTreeMap<String, SecretField>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct SecretOwner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// One field: its content alone, or a table.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct SecretFieldTable {
    pub(super) content: String,
    #[serde(default)]
    pub(super) base64: bool,
    pub(super) password_file: Option<PathBuf>,
    pub(super) alias: Option<String>,
}

/// A [`SecretFieldTable`], for which a text stands, too.
#[derive(Debug, Clone)]
pub(super) struct SecretField(SecretFieldTable);

impl std::ops::Deref for SecretField {
    type Target = SecretFieldTable;

    fn deref(&self) -> &SecretFieldTable {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = SecretField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a content such as \"chain\", or a table { content = \"chain\", base64 = true }")
            }

            fn visit_str<E>(self, content: &str) -> Result<SecretField, E> {
                let content = content.to_owned();
                let (base64, password_file, alias) = (false, None, None);
                Ok(SecretField(SecretFieldTable { content, base64, password_file, alias }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretField, A::Error> {
                SecretFieldTable::deserialize(MapAccessDeserializer::new(map)).map(SecretField)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SecretField {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Field of a Secret".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let text = generator.subschema_for::<String>();
        let table = generator.subschema_for::<SecretFieldTable>();
        schemars::json_schema!({ "anyOf": [text, table] })
    }
}
