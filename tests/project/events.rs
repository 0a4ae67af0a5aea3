//! Names of log events: each line of level info and above has one, from the one list, which docs/log.md shows.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use pgsvid::telemetry::{EVENTS, reference};

use crate::architecture::rust_files;

const BEGIN: &str = "<!-- events: begin -->";
const END: &str = "<!-- events: end -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What follows the opening parenthesis of each call that logs at level info or above, outside of unit tests.
fn calls(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
    let mut calls = Vec::new();
    for level in ["info", "warn", "error"] {
        for opening in [format!("{level}!("), format!("tell!(self, {level}, ")] {
            calls.extend(code.match_indices(&opening).map(|(at, _)| {
                let rest = code[at + opening.len()..].trim_start();
                rest.chars().take(80).collect::<String>()
            }));
        }
    }
    // The macro that passes its arguments on.
    calls.retain(|call| !call.starts_with("$(") && !call.starts_with("($"));
    calls
}

fn name(call: &str) -> Option<&str> {
    call.strip_prefix("event = \"")?.split('"').next()
}

#[test]
fn each_line_of_level_info_and_above_has_a_name_of_the_list() {
    let mut files = rust_files(&root().join("src"));
    files.extend(rust_files(&root().join("crates")));
    let listed: BTreeSet<&str> = EVENTS.iter().map(|(name, _)| *name).collect();
    let mut used = BTreeSet::new();
    for file in files {
        for call in calls(&std::fs::read_to_string(&file).unwrap()) {
            let Some(name) = name(&call) else {
                panic!("{}: a line without an event: {call}", file.display());
            };
            assert!(listed.contains(name), "{}: {name} is not in the list", file.display());
            used.insert(name.to_owned());
        }
    }
    let unused: Vec<_> = listed.iter().filter(|name| !used.contains(**name)).collect();
    assert!(unused.is_empty(), "listed, and never logged: {unused:?}");
    assert!(used.len() > 40, "the calls are found: {used:?}");
}

#[test]
fn a_line_without_a_name_is_found() {
    assert_eq!(calls("info!(a, \"b\"); tell!(self, warn, event = \"c\", \"d\")").len(), 2);
    assert_eq!(name("event = \"c\", \"d\""), Some("c"));
    assert_eq!(name("a, \"b\""), None);
}

#[test]
fn names_are_sorted_short_and_of_one_form() {
    assert!(EVENTS.is_sorted());
    let mut seen = BTreeSet::new();
    for (name, says) in EVENTS {
        assert!(seen.insert(name), "{name} comes twice");
        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(name.chars().all(plain) && name.len() <= 32, "{name}");
        assert!(!says.is_empty() && !says.ends_with('.'), "{name}: {says}");
    }
}

#[test]
fn the_page_of_the_log_lists_every_event() {
    let path = root().join("docs/log.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let table = "| event | what such a line says |\n|---|---|\n".to_owned() + &reference();
    let wanted = format!("{before}{BEGIN}\n{table}\n{END}{after}");
    if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
        std::fs::File::create(&path).unwrap().write_all(wanted.as_bytes()).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/log.md is stale: PGSVID_WRITE_DOCS=1 cargo test --test project page_of_the_log"
    );
}
