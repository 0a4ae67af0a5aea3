//! The flags that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Flags, LONGEST};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For scripts
    Json,
}

/// The settings of every command that uses the published files and a PostgreSQL.
#[derive(Debug, Args)]
pub(super) struct CommonFlags {
    /// Configuration file [env: PGSVID_CONFIG] [default: /etc/pgsvid/pgsvid.toml, if it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Configuration of spiffe-helper, as it stands, in place of a configuration file
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    helper_config: Option<PathBuf>,
    /// Directory to publish to; it must exist [env: PGSVID_DIRECTORY]
    #[arg(long, short, value_name = "DIR")]
    directory: Option<String>,
    /// Group that may read the key, by name or number; only as root [env: PGSVID_GROUP]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Of several [[postgres]] tables, use only the one with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Reload and verify the PostgreSQL whose Unix socket is in this directory [env: PGSVID_POSTGRES]
    #[arg(long, value_name = "DIR")]
    postgres: Option<String>,
    /// PostgreSQL's port, which names its socket [env: PGPORT] [default: 5432]
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Role that may call pg_reload_conf() [env: PGSVID_USER, then PGUSER] [default: pgsvid]
    #[arg(long, value_name = "ROLE")]
    user: Option<String>,
    /// Database in which the role may call it [env: PGSVID_DATABASE, then PGDATABASE] [default: postgres]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Where to verify what is served: auto, none or HOST:PORT [env: PGSVID_VERIFY] [default: auto]
    #[arg(long, value_name = "WHERE")]
    verify: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// The Workload API, unix:///path or tcp://IP:PORT [env: PGSVID_ENDPOINT, then SPIFFE_ENDPOINT_SOCKET]
    #[arg(long, value_name = "URI")]
    endpoint: Option<String>,
    /// Use the SVID with this SPIFFE ID, and no other [env: PGSVID_SPIFFE_ID] [default: the first]
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<String>,
    /// Use the SVID with this hint [env: PGSVID_HINT]
    #[arg(long, value_name = "HINT")]
    hint: Option<String>,
    /// Host names that clients connect to, separated by commas; warn if the SVID lacks one [env: PGSVID_DNS_NAMES]
    #[arg(long, value_name = "NAMES")]
    dns_names: Option<String>,
    #[command(flatten)]
    pub(super) place: CommonFlags,
    /// text or json [env: PGSVID_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace [env: PGSVID_LOG_LEVEL] [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl From<CommonFlags> for Flags {
    fn from(place: CommonFlags) -> Self {
        Self {
            config: place.config,
            helper_config: place.helper_config,
            directory: place.directory,
            group: place.group,
            name: place.name,
            postgres: place.postgres,
            port: place.port,
            user: place.user,
            database: place.database,
            verify: place.verify,
            ..Self::default()
        }
    }
}

impl From<Settings> for Flags {
    fn from(settings: Settings) -> Self {
        Self {
            endpoint: settings.endpoint,
            spiffe_id: settings.spiffe_id,
            hint: settings.hint,
            dns_names: settings.dns_names,
            log_format: settings.log_format,
            log_level: settings.log_level,
            ..settings.place.into()
        }
    }
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() && duration <= LONGEST => Ok(duration),
        _ => Err("write 30s, 5m or 1h".to_owned()),
    }
}
