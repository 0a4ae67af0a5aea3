//! The TOML file, as it stands: every key that there is, and no other.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::shown;
use super::{Error, keys};
use crate::companions::parameters::Value;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) workload_api: WorkloadApi,
    pub(super) svid: Svid,
    pub(super) files: Files,
    pub(super) postgres: Servers,
    pub(super) roles: Vec<Workload>,
    pub(super) health: Health,
    pub(super) sandbox: Sandbox,
    pub(super) log: Log,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct WorkloadApi {
    pub(super) endpoint: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Svid {
    pub(super) spiffe_id: Option<String>,
    pub(super) trust_domain: Option<String>,
    pub(super) hint: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    pub(super) directory: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) private_key: Option<String>,
    pub(super) bundle: Option<String>,
    pub(super) private_key_mode: Option<String>,
    pub(super) certificate_mode: Option<String>,
    pub(super) group: Option<String>,
    pub(super) federated_bundles: Option<bool>,
    pub(super) extra_authorities: Option<Vec<PathBuf>>,
    pub(super) keep_at_most: Option<usize>,
    pub(super) publish_every: Option<String>,
    pub(super) seen_as: Option<PathBuf>,
    pub(super) ident: Option<String>,
    pub(super) ident_lines: Option<Vec<String>>,
    pub(super) service: Option<Service>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) file: Option<String>,
    pub(super) name: String,
    pub(super) options: Option<BTreeMap<String, Value>>,
}

/// `[postgres]`, or `[[postgres]]` as often as there are clusters.
#[derive(Debug, Clone, Default)]
pub(super) struct Servers(pub(super) Vec<Postgres>);

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrSeveral)
    }
}

/// An untagged enum would say of each mistake that no variant matches.
struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = Servers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table [postgres], or several [[postgres]]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Servers, A::Error> {
        let table = Postgres::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Servers(vec![table]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> Result<Servers, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(tables)).map(Servers)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Servers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Servers".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<Postgres>();
        let several = generator.subschema_for::<Vec<Postgres>>();
        schemars::json_schema!({ "anyOf": [one, several] })
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Postgres {
    pub(super) name: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) database: Option<String>,
    pub(super) os_user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) require_peer: Option<String>,
    pub(super) verify: Option<String>,
    pub(super) verify_every: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) spiffe_id: String,
    pub(super) role: Option<String>,
    pub(super) by: Option<String>,
    pub(super) cn: Option<String>,
    pub(super) values: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Sandbox {
    pub(super) enabled: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: Option<String>,
    pub(super) level: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub(super) listen: Option<String>,
}

impl Postgres {
    /// Its name, or the default.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(keys::POSTGRES_NAME.default_text())
    }
}

impl File {
    /// Reads and parses a file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text =
            read(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })?;
        Self::parse(&text).map_err(|(line, message)| Error::File {
            path: path.to_owned(),
            line,
            message,
        })
    }

    /// Parses the text of a file; fails with the line, from 1, and what is wrong there.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error| {
            if let Some(line) = line_of_helper(text) {
                return (line, OF_HELPER.to_owned());
            }
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
            let given = text.lines().nth(line - 1).unwrap_or_default();
            (line, explain(error.message(), given))
        })
    }
}

/// Keys of spiffe-helper's configuration, which is not far from TOML.
const HELPER: [&str; 8] = [
    "agent_address",
    "agentAddress",
    "cert_dir",
    "certDir",
    "svid_file_name",
    "svidFileName",
    "svid_bundle_file_name",
    "svidBundleFileName",
];
const OF_HELPER: &str = "this is a configuration of spiffe-helper; docs/from-spiffe-helper.md translates it, key by key";

/// The first line, from 1, that only spiffe-helper knows.
fn line_of_helper(text: &str) -> Option<usize> {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let line = text.lines().position(|line| HELPER.contains(&key(line).as_str()))?;
    Some(line + 1)
}

/// Largest file, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// A shell may have put a pipe in the place of a file, so what has no end is found out by reading.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > LARGEST) {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

/// How near a key must be to be meant: `Jaro-Winkler` similarity, from 0 to 1.
const NEAR: f64 = 0.75;

/// serde lists every known key; people want the nearest. And its words for types are a programmer's.
fn explain(message: &str, line: &str) -> String {
    let message = message.lines().collect::<Vec<_>>().join(" ");
    if let Some(unknown) = message.strip_prefix("unknown field `") {
        return explain_unknown(unknown);
    }
    let hint = if message.contains("leading zero") {
        "a mode is written in quotes, \"0600\""
    } else if message.contains("expected a string") {
        return format!("{}; write the value in quotes{}", shown(&message), example(line));
    } else if message.contains("expected u16") || message.contains("expected usize") {
        "write a number without quotes, 5432"
    } else {
        return shown(&message);
    };
    format!("{}; {hint}", shown(&message))
}

/// The line's own value in quotes, where that is one that the key takes.
fn example(line: &str) -> String {
    let Some((key, value)) = line.split_once('=') else { return String::new() };
    let value = value.split('#').next().unwrap_or_default().trim();
    let is_plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    match key.trim().rsplit('.').next().unwrap_or_default() {
        key if key.ends_with("_every") => ", \"30s\"".to_owned(),
        key if key.ends_with("_mode") => ", \"0600\"".to_owned(),
        _ if is_plain && !value.is_empty() => format!(", {:?}", shown(value)),
        _ => String::new(),
    }
}

/// `unknown`: "unknown field `…`, expected one of `…`, `…`", without its beginning. The key itself may hold anything.
fn explain_unknown(unknown: &str) -> String {
    let (unknown, known) = unknown.rsplit_once("`, expected ").unwrap_or((unknown, ""));
    let unknown = shown(unknown);
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(&unknown, known), known))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, nearest)) => {
            format!("unknown key `{unknown}`; the nearest known key is `{nearest}`")
        }
        None => format!("unknown key `{unknown}`; known here: {}", known.join(", ")),
    }
}
