//! Tables that may occur several times.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// One table, such as `[postgres]`, or several, such as `[[postgres]]`.
#[derive(Debug, Clone)]
pub(super) struct Tables<T>(pub(super) Vec<T>);

/// A table that may occur several times.
pub(super) trait Table {
    const NAME: &'static str;
}

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Table + Deserialize<'de>> Deserialize<'de> for Tables<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrSeveral(PhantomData))
    }
}

/// Reads one table or a list of them. serde's untagged enum is not used, because each of its errors would say that no variant
/// matches.
struct OneOrSeveral<T>(PhantomData<T>);

impl<'de, T: Table + Deserialize<'de>> Visitor<'de> for OneOrSeveral<T> {
    type Value = Tables<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a table [{0}], or several [[{0}]]", T::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tables<T>, A::Error> {
        let table = T::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Tables(vec![table]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> Result<Tables<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(tables)).map(Tables)
    }
}

#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Tables<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Tables of {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<T>();
        let several = generator.subschema_for::<Vec<T>>();
        schemars::json_schema!({ "anyOf": [one, several] })
    }
}
