//! The fault table: `faults.txt` has each fault with its id, and the tests of a fault begin with that id. The list in
//! docs/evidence/reliability.md is generated from both.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

const FAULTS: &str = include_str!("faults.txt");
const PAGE: &str = "docs/evidence/reliability.md";
const BEGIN: &str = "<!-- faults: begin -->\n";
const END: &str = "<!-- faults: end -->\n";

/// A part of the list, such as `Disk`.
struct Section<'a> {
    heading: &'a str,
    /// What its rows have in common; may be empty.
    about: &'a str,
    /// Id and fault.
    rows: Vec<(&'a str, &'a str)>,
}

/// A test that is named after faults.
struct Test {
    /// Such as `W03`. A name such as `i01_i04_flawed…` has two.
    ids: Vec<String>,
    name: String,
    /// Where it is, from the root of the repository.
    file: String,
    /// The first line of its docstring; may be empty.
    about: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sections() -> Vec<Section<'static>> {
    let mut sections = Vec::<Section>::new();
    for line in FAULTS.lines().filter(|line| !line.is_empty()) {
        if let Some(heading) = line.strip_prefix("# ") {
            let (heading, about) = heading.split_once(": ").unwrap_or((heading, ""));
            sections.push(Section { heading, about, rows: Vec::new() });
        } else {
            let row = line.split_once(' ').unwrap_or_else(|| panic!("no fault: {line}"));
            sections.last_mut().expect("a heading comes first").rows.push(row);
        }
    }
    sections
}

/// The tests in `tests/`, `src/` and `crates/` whose names begin with ids, sorted by place.
fn tests() -> Vec<Test> {
    let mut found = Vec::new();
    let mut directories = vec![root().join("tests"), root().join("src"), root().join("crates")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let file = path.strip_prefix(root()).unwrap().to_str().unwrap();
                found.extend(tests_in(file, &text));
            }
        }
    }
    found.sort_by(|one, other| (&one.file, &one.name).cmp(&(&other.file, &other.name)));
    found
}

/// Functions below an attribute that makes them tests.
fn tests_in(file: &str, source: &str) -> Vec<Test> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let makes_a_test = |line: &str| line == "#[test]" || line.starts_with("#[tokio::test");
    let below = (0..lines.len()).filter(|at| makes_a_test(lines[*at]));
    below
        .filter_map(|at| {
            // Other attributes may come in between.
            let line = lines[at..].iter().find(|line| !line.starts_with('#'))?;
            let name = line.trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()?;
            let ids = ids(name);
            let docstring = lines[..at].iter().rev().take_while(|line| line.starts_with("///"));
            let about = docstring.last().map_or("", |line| line.trim_start_matches('/').trim());
            (!ids.is_empty()).then(|| Test {
                ids,
                name: name.to_owned(),
                file: file.to_owned(),
                about: about.to_owned(),
            })
        })
        .collect()
}

/// The faults that a test is named after.
fn ids(name: &str) -> Vec<String> {
    let is_id = |part: &&str| {
        (3..=4).contains(&part.len())
            && part.starts_with(|letter: char| letter.is_ascii_lowercase())
            && part[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    name.split('_').take_while(is_id).map(str::to_uppercase).collect()
}

/// The name of a test as a sentence: `w01_fetch_gives_up` → `fetch gives up`.
fn sentence(test: &Test) -> String {
    let words = test.name.split('_').skip(test.ids.len()).map(|word| match word {
        "postgresql" => "PostgreSQL",
        "postgresqls" => "PostgreSQL's",
        "tls" => "TLS",
        "svid" => "SVID",
        "svids" => "SVIDs",
        "spires" => "SPIRE's",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn page() -> String {
    let tests = tests();
    let mut page = String::new();
    for Section { heading, about, rows } in sections() {
        write!(page, "\n### {heading}\n\n").unwrap();
        if !about.is_empty() {
            write!(page, "{about}\n\n").unwrap();
        }
        for (id, fault) in rows {
            writeln!(page, "* **{id}** {fault}").unwrap();
            for test in tests.iter().filter(|test| test.ids.iter().any(|of| of == id)) {
                let (says, file) = (sentence(test), &test.file);
                write!(page, "  * [{says}](../../{file})").unwrap();
                if !test.about.is_empty() {
                    write!(page, ": {}", test.about).unwrap();
                }
                page.push('\n');
            }
        }
    }
    page
}

#[test]
fn ids_are_counted_through_from_one() {
    let mut seen = BTreeSet::new();
    for (id, fault) in sections().iter().flat_map(|section| &section.rows) {
        let (letter, number) = id.split_at(1);
        let before = number.parse::<u32>().unwrap() - 1;
        assert!(
            before == 0 || seen.contains(&format!("{letter}{before:02}")),
            "{id} comes too soon"
        );
        assert!(seen.insert((*id).to_owned()), "{id} comes twice");
        assert!(fault.len() < 240, "{id}: {} bytes are too many for a title", fault.len());
    }
}

#[test]
fn each_fault_has_a_test_and_each_id_of_a_test_a_fault() {
    let sections = sections();
    let faults: BTreeSet<&str> =
        sections.iter().flat_map(|section| &section.rows).map(|(id, _)| *id).collect();
    let tests = tests();
    let tested: BTreeSet<&str> =
        tests.iter().flat_map(|test| &test.ids).map(String::as_str).collect();
    assert_eq!(faults.difference(&tested).collect::<Vec<_>>(), Vec::<&&str>::new(), "no test");
    assert_eq!(tested.difference(&faults).collect::<Vec<_>>(), Vec::<&&str>::new(), "no fault");
}

#[test]
fn the_page_of_faults_lists_each_with_its_tests() {
    let path = root().join(PAGE);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let wanted = format!("{before}{BEGIN}{}{END}{after}", page());
    if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
        fs::File::create(&path).unwrap().write_all(wanted.as_bytes()).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "{PAGE} is stale: PGSVID_WRITE_DOCS=1 cargo test --test project page_of_faults"
    );
}

#[test]
fn names_are_read_from_attributes_and_functions() {
    let source = "/// One.\n/// More.\n#[test]\nfn w03_x() {}\n#[tokio::test]\n#[ignore]\nasync fn i01_i04_y_tls() {}\n\
                  fn d01_no_test() {}\n#[test]\nfn other() {}\n#[tokio::test(start_paused = true)]\nasync fn c01_z() {}\n";
    let found = tests_in("a.rs", source);
    let names: Vec<_> =
        found.iter().map(|test| (test.name.as_str(), test.about.as_str())).collect();
    assert_eq!(names, [("w03_x", "One."), ("i01_i04_y_tls", ""), ("c01_z", "")]);
    assert_eq!(found[1].ids, ["I01", "I04"]);
    assert_eq!(sentence(&found[1]), "y TLS");
}
