//! Names of log events: each line of level info and above has one, from the one list, which docs/monitoring.md shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use pgsvid::telemetry::EVENTS;

use crate::architecture::rust_files;
use crate::generated;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The level of each call that logs at level info or above, and what follows its opening parenthesis, outside of unit
/// tests.
fn calls(source: &str) -> Vec<(&'static str, String)> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
    let mut calls = Vec::new();
    for level in ["info", "warn", "error"] {
        for opening in [format!("{level}!("), format!("tell!(self, {level}, ")] {
            calls.extend(code.match_indices(&opening).map(|(at, _)| {
                let rest = code[at + opening.len()..].trim_start();
                (level, rest.chars().take(80).collect::<String>())
            }));
        }
    }
    // The macro that passes its arguments on.
    calls.retain(|(_, call)| !call.starts_with("$(") && !call.starts_with("($"));
    calls
}

fn name(call: &str) -> Option<&str> {
    call.strip_prefix("event = \"")?.split('"').next()
}

/// Each name that some source logs, with its levels.
pub(crate) fn levels() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut files = rust_files(&root().join("src"));
    files.extend(rust_files(&root().join("crates")));
    let mut levels = BTreeMap::<_, BTreeSet<_>>::new();
    for file in files {
        for (level, call) in calls(&std::fs::read_to_string(&file).unwrap()) {
            let Some(name) = name(&call) else {
                panic!("{}: a line without an event: {call}", file.display());
            };
            levels.entry(name.to_owned()).or_default().insert(level);
        }
    }
    levels
}

#[test]
fn each_line_of_level_info_and_above_has_a_name_of_the_list() {
    let used: BTreeSet<_> = levels().into_keys().collect();
    let listed: BTreeSet<_> = EVENTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(used.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "not listed");
    assert_eq!(listed.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "not logged");
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
    let levels = levels();
    let mut table = "| event | level | what such a line says |\n|---|---|---|\n".to_owned();
    for (name, says) in EVENTS {
        let levels = levels[*name].iter().copied().collect::<Vec<_>>().join(", ");
        writeln!(table, "| `{name}` | {levels} | {says} |").unwrap();
    }
    generated::is_current("docs/monitoring.md", "events", &table);
}
