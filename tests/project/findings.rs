//! Codes of findings: each is used, and docs/findings.md lists it with the places where it can occur.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pgsvid::finding::Code;

use crate::architecture::rust_files;
use crate::generated;

/// Where a code can be met that is named in these files. The first that fits is taken.
const PLACES: [(&str, &[&str]); 25] = [
    ("crates/postgres/src/diagnose/files.rs", &["check", "log", "status"]),
    ("crates/postgres/src/diagnose/other_settings.rs", &["check", "log", "status"]),
    ("crates/postgres/src/diagnose/settings.rs", &["check", "log", "status"]),
    ("crates/postgres/src/diagnose/session.rs", &["check", "log", "status"]),
    ("crates/postgres/src/diagnose/verdict.rs", &["check", "log", "status"]),
    ("crates/postgres/src/diagnose/", &["check"]),
    ("crates/postgres/src/pgbouncer/admission.rs", &["check"]),
    ("crates/postgres/src/pgbouncer/", &["check", "log", "status"]),
    ("crates/postgres/src/patroni/", &["check", "log", "status"]),
    ("src/doctor/check/", &["check"]),
    ("src/doctor/codes.rs", &["check"]),
    ("src/doctor/exec.rs", &["log"]),
    ("src/doctor/jdbc.rs", &["check", "log"]),
    ("src/doctor/profile.rs", &["check", "inspect"]),
    ("src/doctor/unverifiable.rs", &["inspect", "probe"]),
    ("src/doctor/probe/", &["probe"]),
    ("src/doctor/inspect/", &["inspect"]),
    ("src/consumers/secrets/", &["check", "log", "status"]),
    ("src/consumers/", &["log", "status"]),
    ("src/kubernetes/", &["check", "log", "status"]),
    ("src/hooks/", &["check", "log", "status"]),
    ("src/tokens/", &["check", "log", "status"]),
    ("src/rotation/", &["status"]),
    ("src/status/", &["status"]),
    ("src/source/files/", &["check", "log", "status"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The sources without unit tests, and without the list itself.
fn sources() -> Vec<(PathBuf, String)> {
    let files =
        ["src", "crates"].into_iter().flat_map(|directory| rust_files(&root().join(directory)));
    files
        .filter(|file| !file.ends_with("crates/base/src/finding.rs"))
        .map(|file| {
            let source = std::fs::read_to_string(&file).unwrap();
            let code = source.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            (file.strip_prefix(root()).unwrap().to_owned(), code)
        })
        .collect()
}

/// For each variant that some source names, where it can be met.
fn uses() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut uses: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (file, source) in sources() {
        for after in source.split("Code::").skip(1) {
            let variant: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
            if !Code::ALL.iter().any(|code| format!("{code:?}") == variant) {
                continue;
            }
            let place = PLACES.iter().find(|(path, _)| file.to_string_lossy().starts_with(path));
            let Some((_, places)) = place else {
                panic!("{}: no place is known for the code {variant}", file.display())
            };
            uses.entry(variant).or_default().extend(*places);
        }
    }
    uses
}

#[test]
fn each_code_is_used() {
    let uses = uses();
    let unused: Vec<_> =
        Code::ALL.iter().filter(|code| !uses.contains_key(&format!("{code:?}"))).collect();
    assert!(unused.is_empty(), "in the list, and never used: {unused:?}");
}

#[test]
fn the_page_of_findings_lists_every_code() {
    let uses = uses();
    let mut table = "| code | what it means | where |\n|---|---|---|\n".to_owned();
    for code in Code::ALL {
        let places = uses.get(&format!("{code:?}")).into_iter().flatten().copied();
        let places = places.collect::<Vec<_>>().join(", ");
        writeln!(table, "| `{code}` | {} | {places} |", code.meaning()).unwrap();
    }
    generated::is_current("docs/findings.md", "findings", &table);
}

/// A code that the page names is one of the list: those that stand in a column headed `finding`.
#[test]
fn the_page_of_troubleshooting_names_no_code_that_is_not_in_the_list() {
    let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let page = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let mut column = None;
    let mut found = 0;
    for line in page.lines() {
        if !line.starts_with('|') {
            column = None;
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if let Some(at) = cells.iter().position(|cell| *cell == "finding") {
            column = Some(at);
            continue;
        }
        let Some(cell) = column.and_then(|at| cells.get(at)) else { continue };
        for code in cell.split('`').skip(1).step_by(2) {
            assert!(names.contains(code), "{code} is no finding");
            found += 1;
        }
    }
    assert!(found >= 50, "{found}");
}

/// What the probe speaks, as the code has it.
#[test]
fn the_page_of_troubleshooting_lists_what_the_probe_speaks() {
    generated::is_current(
        "docs/troubleshooting.md",
        "supported",
        &pgsvid::verify::supported_list(),
    );
}

/// An error's text does not say what its source says: who prints the chain would say it twice.
#[test]
fn no_error_repeats_its_source() {
    let mut seen = 0;
    for (file, source) in sources() {
        for variant in source.split("#[error(").skip(1) {
            // Up to the next variant, or the end of the type.
            let variant = variant.split("\n    #[error(").next().unwrap();
            let variant = variant.split("\n}").next().unwrap();
            let Some((text, fields)) = variant.split_once(")]") else { continue };
            let Some(at) = ["#[from]", "#[source]"].iter().find_map(|mark| fields.find(mark))
            else {
                continue;
            };
            seen += 1;
            let name: String = fields[at..]
                .lines()
                .nth(1)
                .and_then(|line| line.split_once(':'))
                .map(|(name, _)| name.trim().to_owned())
                .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                .unwrap_or_else(|| "0".to_owned());
            let repeats = [
                format!("{{{name}}}"),
                format!("{{{name}:"),
                format!("(.{name})"),
                format!("(*.{name})"),
            ];
            let repeated = repeats.iter().any(|form| text.contains(form.as_str()));
            assert!(!repeated, "{}: {text}", file.display());
        }
    }
    assert!(seen > 5, "the variants are found: {seen}");
}
