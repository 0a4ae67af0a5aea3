//! What to measure, and how much of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Shown on request, and after mistakes.
pub(crate) const USAGE: &str = "Usage: bench --pgsvid FILE --out DIR [--short] PART...

Parts: latency mishaps reloads start footprint idle growth server, or all

  --pgsvid FILE   the program to measure
  --out DIR       where tables and plots go; it must exist
  --short         few repetitions: shows that the measuring works, and nothing else";

/// What the parts need to know.
pub(crate) struct Settings {
    /// The program to measure.
    pub(crate) pgsvid: PathBuf,
    /// This program, which is also the script's feeder.
    pub(crate) own: PathBuf,
    /// Few repetitions.
    pub(crate) short: bool,
    out: PathBuf,
}

impl Settings {
    /// Settings, and which of the known parts are wanted.
    pub(crate) fn parse<'a>(
        arguments: &[String],
        known: &[&'a str],
    ) -> Result<(Self, Vec<&'a str>), String> {
        let (mut pgsvid, mut out, mut short, mut parts) = (None, None, false, Vec::new());
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--pgsvid" => pgsvid = rest.next(),
                "--out" => out = rest.next(),
                "--short" => short = true,
                "all" => parts.extend(known),
                name => {
                    let part = known.iter().find(|part| **part == name);
                    parts.push(*part.ok_or(format!("{name} is no part"))?);
                }
            }
        }
        let pgsvid = pgsvid.ok_or("--pgsvid is missing")?;
        let pgsvid = fs::canonicalize(pgsvid).map_err(|error| format!("{pgsvid}: {error}"))?;
        let out = PathBuf::from(out.ok_or("--out is missing")?);
        if !out.is_dir() {
            return Err(format!("{} is no directory", out.display()));
        }
        if parts.is_empty() {
            return Err("no part is named".to_owned());
        }
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        Ok((Self { pgsvid, own, short, out }, parts))
    }

    /// How often: the full number, or the one that is enough to see that it works.
    pub(crate) fn often(&self, full: usize, short: usize) -> usize {
        if self.short { short } else { full }
    }

    /// Keeps a table or a plot.
    pub(crate) fn keep(&self, name: &str, text: &str) {
        fs::write(self.out.join(name), text).expect("writes into the directory of --out");
    }
}

/// The repository, where the script that pgsvid replaces is.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is a member of the workspace")
}
