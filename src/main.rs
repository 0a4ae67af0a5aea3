//! The `pgsvid` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    pgsvid::cli::main(std::env::args_os().collect(), &environment)
}
