//! Each row of docs/reliability.md has a test of its name, and each test that the page names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// How many rows there are of each letter. Rows are added, and never renumbered.
const ROWS: [(char, u32); 11] = [
    ('W', 20),
    ('D', 14),
    ('P', 26),
    ('C', 5),
    ('X', 10),
    ('I', 8),
    ('K', 5),
    ('F', 20),
    ('N', 4),
    ('A', 99),
    ('B', 30),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The page's rows: id → cells.
fn rows() -> Vec<(String, Vec<String>)> {
    let page = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    page.lines()
        .filter(|line| line.starts_with("| "))
        .map(cells)
        .map(|mut cells| (cells.remove(0), cells))
        .filter(|(id, _)| id.len() == 3 && id[1..].bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}

/// The functions of `tests/`, `src/` and `crates/` whose names begin with the ids of rows: name → files.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let mut directories = vec![root().join("tests"), root().join("src"), root().join("crates")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let file = path.strip_prefix(root()).unwrap().display().to_string();
                for name in tests_in(&text) {
                    found.entry(name).or_default().insert(file.clone());
                }
            }
        }
    }
    found
}

/// Functions right below an attribute that makes them tests.
fn tests_in(source: &str) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let makes_a_test = |line: &str| line == "#[test]" || line.starts_with("#[tokio::test");
    let below: Vec<_> = (0..lines.len()).filter(|at| makes_a_test(lines[*at])).collect();
    below.into_iter().filter_map(move |at| {
        // Other attributes may come in between.
        let line = lines[at..].iter().find(|line| !line.starts_with('#'))?;
        let name = line.trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()?;
        (!ids(name).is_empty()).then(|| name.to_owned())
    })
}

/// The rows that a test is named after: `i01_i04_flawed…` is of two.
fn ids(name: &str) -> Vec<String> {
    let is_id = |part: &&str| {
        part.len() == 3
            && part.starts_with(|letter: char| letter.is_ascii_lowercase())
            && part[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    name.split('_').take_while(is_id).map(str::to_uppercase).collect()
}

#[test]
fn no_row_is_missing_or_has_another_number() {
    let found: Vec<String> = rows().into_iter().map(|(id, _)| id).collect();
    let numbered = |(letter, count)| (1..=count).map(move |number| format!("{letter}{number:02}"));
    let wanted: Vec<String> = ROWS.into_iter().flat_map(numbered).collect();
    assert_eq!(found, wanted);
}

#[test]
fn each_row_names_tests_that_exist_and_are_its_own() {
    let tests = tests();
    for (id, cells) in rows() {
        let [fault, behaviour, shown] = cells.as_slice() else { panic!("{id}: {cells:?}") };
        assert!(!fault.is_empty() && !behaviour.is_empty(), "{id}");
        let mut count = 0;
        for place in shown.split("; ").filter(|place| place.contains(": `")) {
            let (file, names) = place.split_once(": ").unwrap();
            for name in names.split(", ").map(|name| name.trim_matches('`')) {
                let exists = tests.get(name).is_some_and(|files| files.contains(file));
                assert!(exists, "{id}: {file} has no test {name}");
                assert!(ids(name).contains(&id), "{id}: {name} is another row's");
                count += 1;
            }
        }
        assert!(count > 0, "{id} has no test");
    }
}

#[test]
fn no_test_is_named_after_a_row_that_there_is_not() {
    let rows: BTreeSet<String> = rows().into_iter().map(|(id, _)| id).collect();
    for (name, files) in tests() {
        for id in ids(&name) {
            assert!(rows.contains(&id), "{files:?}: {name}: there is no row {id}");
        }
    }
}

#[test]
fn names_are_read_from_attributes_and_functions() {
    let source = "#[test]\nfn w03_x() {}\n#[tokio::test]\n#[ignore]\nasync fn i01_i04_y() {}\nfn d01_no_test() {}\n\
                  #[test]\nfn other() {}\n#[tokio::test(start_paused = true)]\nasync fn c01_z() {}\n";
    let names: Vec<_> = tests_in(source).collect();
    assert_eq!(names, ["w03_x", "i01_i04_y", "c01_z"]);
    assert_eq!(ids("i01_i04_y"), ["I01", "I04"]);
}
