//! No files import each other in a circle, so that each can be understood with the files that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::architecture::rust_files;

/// A module's path within its crate: `["publish", "links"]`.
type Module = Vec<String>;
type Graph = BTreeMap<Module, BTreeSet<Module>>;

const CRATES: [&str; 4] = ["src", "crates/base/src", "crates/material/src", "crates/postgres/src"];

fn module_of(file: &Path) -> Module {
    let mut parts: Module = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The code without comments and without the unit tests at its end.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join(" ")
}

/// The paths that follow on `crate::` and `super::`, each as the modules and names in it. Groups are taken apart.
fn paths(code: &str, module: &Module) -> Vec<Module> {
    let mut found = Vec::new();
    for (prefix, base) in [("crate::", &[][..]), ("super::", &module[..module.len() - 1])] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            // `super::super::` is found at its first word, and `pgsvid_crate::` is no path of ours.
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            follow(base.to_vec(), &code[at + prefix.len()..], &mut found);
        }
    }
    found
}

fn follow(mut base: Module, mut rest: &str, found: &mut Vec<Module>) {
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            for item in items(group) {
                follow(base.clone(), item, found);
            }
            return;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        match name {
            "super" => {
                base.pop();
            }
            "" | "self" => {}
            name => base.push(name.to_owned()),
        }
        match after.strip_prefix("::") {
            Some(more) if !name.is_empty() => rest = more,
            _ => {
                found.push(base);
                return;
            }
        }
    }
}

/// What stands between the commas of a group, up to its closing brace.
fn items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

/// Which modules each names. That a module names one that it lies in, or the other way round, is how modules are built.
fn graph(sources: &[(Module, String)]) -> Graph {
    let modules: BTreeSet<&Module> = sources.iter().map(|(module, _)| module).collect();
    let is_within = |one: &Module, other: &Module| one.starts_with(other) || other.starts_with(one);
    let edges = |module: &Module, source: &str| -> BTreeSet<Module> {
        let found = paths(&code(source), module).into_iter().filter_map(|path| {
            (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|at| modules.contains(at))
        });
        found.filter(|other| !is_within(module, other)).collect()
    };
    sources.iter().map(|(module, source)| (module.clone(), edges(module, source))).collect()
}

/// A circle, if there is one: what is left when modules that name none of the rest are taken away, again and again.
fn circle(mut graph: Graph) -> Vec<String> {
    loop {
        let left: BTreeSet<Module> = graph.keys().cloned().collect();
        let before = graph.len();
        graph.retain(|_, named| named.iter().any(|other| left.contains(other)));
        if graph.len() == before {
            return graph.keys().map(|module| module.join("::")).collect();
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for directory in CRATES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let files = rust_files(&root);
        let sources: Vec<(Module, String)> = files
            .iter()
            .filter(|file| !file.ends_with("main.rs") && !file.ends_with("lib.rs"))
            .map(|file| {
                let module = module_of(file.strip_prefix(&root).unwrap());
                (module, std::fs::read_to_string(file).unwrap())
            })
            .collect();
        let graph = graph(&sources);
        assert!(graph.values().any(|named| !named.is_empty()), "{directory}: imports are found");
        let left = circle(graph);
        assert!(left.is_empty(), "{directory}: in a circle, or above one: {left:?}");
    }
}

#[test]
fn a_circle_is_found() {
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    let sources = |b: &str| {
        vec![
            (module("a"), "mod b; mod c;".to_owned()),
            (module("a::b"), b.to_owned()),
            (module("a::c"), "use crate::{a::b::Thing, other};".to_owned()),
        ]
    };
    assert_eq!(circle(graph(&sources("use super::c::{self, Other};"))), ["a::b", "a::c"]);
    assert_eq!(circle(graph(&sources("use super::{d, c as e};"))), ["a::b", "a::c"]);
    assert!(circle(graph(&sources("// super::c\nuse super::Parent;"))).is_empty());
}
