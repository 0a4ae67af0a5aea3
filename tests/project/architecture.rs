//! Enforces the room table of ARCHITECTURE.md: no room imports what its row does not name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Table = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The table: room → rooms that it may import.
fn table(markdown: &str) -> Table {
    rows(markdown).into_iter().collect()
}

/// The same in the order of the page.
fn rows(markdown: &str) -> Vec<(String, BTreeSet<String>)> {
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    markdown
        .lines()
        .skip_while(|line| !line.starts_with("| room |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            let room = names(cells[0]).pop_first().expect("a row names its room");
            (room, names(cells[2]))
        })
        .collect()
}

/// The Rust files below a directory.
pub(crate) fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The one crate that is a room by itself.
const MATERIAL: &str = "material";

/// The directories that hold rooms.
fn sources_of_rooms() -> [PathBuf; 4] {
    ["src", "crates/base/src", "crates/material/src", "crates/postgres/src"]
        .map(|directory| root().join(directory))
}

/// The room that a file belongs to; `main.rs` and `lib.rs` belong to none.
fn room_of(file: &Path) -> Option<String> {
    if file.starts_with(root().join("crates").join(MATERIAL)) {
        return Some(MATERIAL.to_owned());
    }
    let inside = sources_of_rooms().iter().find_map(|source| file.strip_prefix(source).ok())?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let room = first.trim_end_matches(".rs");
    (room != "main" && room != "lib").then(|| room.to_owned())
}

/// The rooms that a file's code names: `crate::room…` and `crate::{room…, room…}`; also from deeper modules.
fn imports(source: &str) -> BTreeSet<String> {
    let mut rooms = names_after("crate::", source);
    rooms.extend(names_after("pgsvid_base::", source));
    if source.contains("pgsvid_material") {
        rooms.insert(MATERIAL.to_owned());
    }
    rooms
}

/// The names that follow directly on a prefix of paths, in groups too.
fn names_after(prefix: &str, source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut rooms = BTreeSet::new();
    for after in code.split(prefix).skip(1) {
        match after.strip_prefix('{') {
            None => rooms.extend(identifier(after)),
            Some(group) => {
                let mut depth = 0;
                let mut expecting = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => expecting = true,
                        c if expecting && (c.is_alphabetic() || c == '_') => {
                            rooms.extend(identifier(&group[at..]));
                            expecting = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// `file: room may not import other`, for each breach.
fn breaches(table: &Table, files: &[(PathBuf, String)]) -> Vec<String> {
    let mut breaches = Vec::new();
    for (file, source) in files {
        let Some(room) = room_of(file) else { continue };
        let Some(allowed) = table.get(&room) else {
            breaches.push(format!("{}: room {room} is not in the table", file.display()));
            continue;
        };
        for other in imports(source) {
            if other != room && table.contains_key(&other) && !allowed.contains(&other) {
                breaches.push(format!("{}: {room} may not import {other}", file.display()));
            }
        }
    }
    breaches
}

fn sources() -> Vec<(PathBuf, String)> {
    sources_of_rooms()
        .iter()
        .flat_map(|directory| rust_files(directory))
        .map(|file| (file.clone(), std::fs::read_to_string(&file).unwrap()))
        .collect()
}

fn documented() -> Table {
    table(&std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap())
}

#[test]
fn no_room_imports_what_its_row_does_not_name() {
    let found = breaches(&documented(), &sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_row_is_a_room_and_names_rooms() {
    let table = documented();
    let rooms: BTreeSet<String> = sources().iter().filter_map(|(file, _)| room_of(file)).collect();
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), rooms);
    for (room, allowed) in &table {
        assert!(
            allowed.is_subset(&rooms),
            "{room} may import something that is no room: {allowed:?}"
        );
    }
}

#[test]
fn a_row_names_only_rooms_above_it() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut above = BTreeSet::new();
    for (room, allowed) in rows(&page) {
        let below: Vec<_> = allowed.difference(&above).collect();
        assert!(below.is_empty(), "{room} names {below:?}, which are not above it");
        above.insert(room);
    }
}

#[test]
fn no_row_allows_what_nobody_imports() {
    let mut used: Table = BTreeMap::new();
    for (file, source) in sources() {
        if let Some(room) = room_of(&file) {
            used.entry(room).or_default().extend(imports(&source));
        }
    }
    for (room, allowed) in documented() {
        let unused: Vec<_> = allowed.difference(&used[&room]).collect();
        assert!(unused.is_empty(), "{room} may import {unused:?}, and does not");
    }
}

#[test]
fn a_breach_is_found() {
    let table = documented();
    for source in [
        "use crate::sql::Session;",
        "use crate::{material, sql};",
        "use crate::{\n    material::{Material, pem},\n    sql::Session,\n};",
        "fn f() { crate::sql::connect() }",
    ] {
        let file = root().join("src/publish/planted.rs");
        let found = breaches(&table, &[(file, source.to_owned())]);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert!(found[0].ends_with("publish may not import sql"), "{found:?}");
    }
    let unknown = root().join("src/cellar/mod.rs");
    assert_eq!(breaches(&table, &[(unknown, String::new())]).len(), 1);
    let comment = root().join("src/publish/planted.rs");
    assert!(breaches(&table, &[(comment, "//! See crate::sql.".to_owned())]).is_empty());
}

#[test]
fn only_main_and_the_command_line_print() {
    for (file, source) in sources() {
        let prints = ["println!", "print!", "eprintln!", "io::stdout", "io::stderr"];
        // Logs go to standard error; opening it is telemetry's work.
        let may = ["main.rs", "telemetry/mod.rs"];
        if room_of(&file).as_deref() != Some("cli") && !may.iter().any(|name| file.ends_with(name))
        {
            for print in prints {
                assert!(!source.contains(print), "{} uses {print}", file.display());
            }
        }
    }
}

#[test]
fn one_file_alone_knows_the_spiffe_crate() {
    let knowing: Vec<_> = sources()
        .into_iter()
        .filter(|(_, source)| source.contains("spiffe::"))
        .map(|(file, _)| file.strip_prefix(root()).unwrap().display().to_string())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(knowing, ["crates/material/src/identity.rs"]);
}

/// Lists of what the program knows, one entry after the other.
const LISTS: [&str; 2] = ["src/config/keys.rs", "crates/base/src/finding.rs"];

/// Most lines of a file before its tests.
const MOST_LINES: usize = 400;

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    for (file, source) in sources() {
        let name = file.strip_prefix(root()).unwrap();
        let is_test = name
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
        let code = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = code.lines().count();
        let allowed = is_test || LISTS.iter().any(|list| name == Path::new(list));
        assert!(
            lines <= MOST_LINES || allowed,
            "{} has {lines} lines: split it by subject",
            name.display()
        );
    }
}
