//! `pgsvid inspect`.

use std::path::PathBuf;

use clap::Args;

use super::flags::Format;
use super::output::{colours, say, say_json};
use super::{Failure, MISUSED};
use crate::config::{Environment, Flags, Parts};
use crate::doctor::inspect::{self, Request, inspect};
use crate::timing;

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Files or directories [default: the published files of the configuration]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Judge by the authorities in this file only
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// The password of a PKCS#12, in a file of one line
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Configuration file [env: PGSVID_CONFIG] [default: /etc/pgsvid/pgsvid.toml, if it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print it: for people or for scripts
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(arguments: Inspect, environment: &Environment) -> Result<(), Failure> {
    let Inspect { paths, bundle, password_file, config, format } = arguments;
    let paths = if paths.is_empty() { published(config, environment)? } else { paths };
    let password = password_file.map(|path| inspect::password(&path)).transpose();
    let password =
        password.map_err(|error| Failure { status: MISUSED, text: error.to_string() })?;
    let found = inspect(&Request { paths, bundle, password }, timing::now());
    match format {
        Format::Text => say(&found.text(colours(environment))),
        Format::Json => say_json(&found.json()),
    }
    if found.has_failures() { Err(Failure::seen()) } else { Ok(()) }
}

fn published(config: Option<PathBuf>, environment: &Environment) -> Result<Vec<PathBuf>, Failure> {
    let flags = Flags { config, ..Flags::default() };
    let parts = Parts::load(&flags, environment)
        .map_err(|error| Failure { status: MISUSED, text: error.to_string() })?;
    let Some(place) = parts.place else {
        return Err(Failure {
            status: MISUSED,
            text: "there is nothing to inspect: name files or a directory, or set PGSVID_DIRECTORY"
                .to_owned(),
        });
    };
    Ok(place.paths().to_vec())
}
