//! The TOML file: all of its keys, and no others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::reading::text;
use super::secret_table::SecretTable;
use super::tables::{Table, Tables};
use super::{Error, keys, mistakes};
use crate::companions::parameters::Value;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) workload_api: WorkloadApi,
    pub(super) certificates: Option<Certificates>,
    pub(super) svid: Svid,
    pub(super) files: Files,
    pub(super) postgres: Tables<Postgres>,
    pub(super) pgbouncer: Tables<Pgbouncer>,
    pub(super) patroni: Tables<Patroni>,
    pub(super) client: Tables<Client>,
    pub(super) served: Tables<Served>,
    pub(super) roles: Vec<Workload>,
    pub(super) hooks: Vec<HookTable>,
    pub(super) jwt: Vec<JwtTable>,
    pub(super) jwt_bundle: Option<JwtBundle>,
    pub(super) secrets: Vec<SecretTable>,
    pub(super) kubernetes: Option<Kubernetes>,
    pub(super) lease: Option<Lease>,
    pub(super) health: Health,
    pub(super) sandbox: Sandbox,
    pub(super) log: Log,
    /// Whether a helper.conf says to fetch once, and end; no key of this file.
    #[serde(skip)]
    pub(super) once: bool,
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
pub(super) struct Certificates {
    pub(super) certificate: Option<PathBuf>,
    pub(super) private_key: Option<PathBuf>,
    pub(super) bundle: Option<PathBuf>,
    pub(super) renewal_percent: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Svid {
    pub(super) spiffe_id: Option<String>,
    pub(super) trust_domain: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) dns_names: Option<Vec<String>>,
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
    #[serde(default)]
    pub(super) service: Tables<Service>,
    pub(super) pgbouncer: Option<String>,
    #[serde(default)]
    pub(super) extra: Vec<ExtraFile>,
    pub(super) patroni: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ExtraFile {
    pub(super) name: String,
    pub(super) content: String,
    pub(super) password_file: Option<PathBuf>,
    pub(super) alias: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) file: Option<String>,
    pub(super) name: String,
    pub(super) private_key: Option<String>,
    pub(super) options: Option<BTreeMap<String, Value>>,
}

impl Table for Postgres {
    const NAME: &'static str = "postgres";
}

impl Table for Pgbouncer {
    const NAME: &'static str = "pgbouncer";
}

impl Table for Service {
    const NAME: &'static str = "files.service";
}

impl Table for Patroni {
    const NAME: &'static str = "patroni";
}

impl Table for Client {
    const NAME: &'static str = "client";
}

impl Table for Served {
    const NAME: &'static str = "served";
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
    pub(super) client_svid_life: Option<String>,
    pub(super) end_sessions: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Pgbouncer {
    pub(super) name: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) verify: Option<String>,
    pub(super) verify_every: Option<String>,
    pub(super) login_role: Option<String>,
    pub(super) login_database: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Patroni {
    pub(super) address: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) loads_within: Option<String>,
    pub(super) verify_every: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) name: Option<String>,
    pub(super) service: Option<String>,
    pub(super) options: Option<BTreeMap<String, Value>>,
    pub(super) verify_every: Option<String>,
    pub(super) readiness: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Served {
    pub(super) name: Option<String>,
    pub(super) address: String,
    pub(super) server_name: Option<String>,
    pub(super) every: Option<String>,
    pub(super) starttls: Option<bool>,
    pub(super) within: Option<String>,
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

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct HookTable {
    pub(super) name: String,
    pub(super) command: Option<Vec<String>>,
    pub(super) signal: Option<String>,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) process: Option<String>,
    pub(super) when: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) barrier: Option<bool>,
    pub(super) user: Option<String>,
    pub(super) environment: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct JwtTable {
    pub(super) audience: String,
    pub(super) extra_audiences: Option<Vec<String>>,
    pub(super) file: PathBuf,
    pub(super) mode: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct JwtBundle {
    pub(super) file: PathBuf,
    pub(super) format: Option<String>,
    pub(super) mode: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Kubernetes {
    pub(super) server: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) namespace: Option<String>,
    pub(super) field_manager: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) duration: Option<String>,
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
        Self::parse(&text(path)?).map_err(|(line, message)| Error::File {
            path: path.to_owned(),
            line,
            message,
        })
    }

    /// Parses the text of a file. Fails with the line, from 1, and the error.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error| {
            if let Some(line) = line_of_helper(text) {
                return (line, OF_HELPER.to_owned());
            }
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
            (line, mistakes::explain(error.message(), text, line))
        })
    }
}

/// Keys of spiffe-helper's configuration, whose format is similar to TOML.
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
const OF_HELPER: &str = "this is a configuration of spiffe-helper; read it with --helper-config, or translate it with pgsvid setup from-helper";

/// The first line, from 1, that only spiffe-helper understands.
fn line_of_helper(text: &str) -> Option<usize> {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let line = text.lines().position(|line| HELPER.contains(&key(line).as_str()))?;
    Some(line + 1)
}
