//! Writes what a package ships beside the program: man pages and shell completions, from the definition of the command
//! line, so that neither can say something else than `--help`; and the schemas of the configuration and of the Helm chart's values,
//! from what reads the configuration.
//!
//! A program of its own, since pgsvid itself should not carry what is needed once, when it is packaged.

mod values;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, Parser};
use clap_complete::Shell;
use clap_mangen::Man;

/// What the command line does not know: files, variables, exit status.
const MORE: &str = include_str!("more.roff");

/// Writes pgsvid's man pages, its shell completions and the schema of its configuration
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to; its subdirectories man, completions and schema are made
    directory: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Arguments { directory } = Arguments::parse();
    let command = pgsvid::cli::command();
    write_man_pages(&command, &subdirectory(&directory, "man")?)?;
    write_completions(command, &subdirectory(&directory, "completions")?)?;
    write_schema(&subdirectory(&directory, "schema")?)
}

fn subdirectory(directory: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// One page for the program, and one for each of its commands: pgsvid-setup-apply(1).
fn write_man_pages(command: &Command, directory: &Path) -> anyhow::Result<()> {
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let mut ahead = vec![command];
    while let Some(command) = ahead.pop() {
        let is_whole = command.get_name() == "pgsvid";
        // A page looks its subcommands up, and the flags that each of them has.
        ahead.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
        let page = Man::new(command)
            .source(concat!("pgsvid ", env!("CARGO_PKG_VERSION")))
            .manual("pgsvid");
        let path = directory.join(page.get_filename());
        let write = || {
            let mut file = File::create(&path)?;
            page.render(&mut file)?;
            if is_whole { file.write_all(MORE.as_bytes()) } else { Ok(()) }
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Under the names by which each shell looks for them.
fn write_completions(mut command: Command, directory: &Path) -> anyhow::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "pgsvid", directory)
            .with_context(|| format!("cannot write the completions of {shell}"))?;
    }
    Ok(())
}

/// For editors: what may stand in the configuration file, and in the values of the Helm chart.
fn write_schema(directory: &Path) -> anyhow::Result<()> {
    for (name, schema) in [
        ("pgsvid.schema.json", pgsvid::config::schema()),
        ("values.schema.json", values::schema()?),
    ] {
        let path = directory.join(name);
        let text = format!("{schema:#}\n");
        File::create(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
