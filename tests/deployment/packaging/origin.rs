//! What tells where a release comes from: the bill of materials, the provenance and the checksums.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use test_support::Directory;

use crate::packaging::{built, root, standard_output};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Names and versions of the crates that are reached by these edges, without pgsvid itself.
fn crates(edges: &str) -> BTreeSet<(String, String)> {
    let arguments = ["tree", "--locked", "--offline", "--package", "pgsvid", "--prefix", "none"];
    let output = Command::new("cargo")
        .args(arguments)
        .args(["--format", "{p}", "--target", TARGET, "--edges", edges])
        .current_dir(root())
        .output()
        .unwrap();
    let text = standard_output(&output);
    let one = |line: &str| {
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        (name != "pgsvid").then(|| (name.to_owned(), version.to_owned()))
    };
    text.lines().filter_map(one).collect()
}

#[test]
fn the_bill_of_materials_has_every_crate_of_the_program_and_none_of_its_tests() {
    let text = std::fs::read_to_string(built("pgsvid.cdx.json")).unwrap();
    let bill: Value = serde_json::from_str(&text).unwrap();
    let word = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
    let components = bill["components"].as_array().unwrap();
    let listed: BTreeSet<_> =
        components.iter().map(|it| (word(it, "name"), word(it, "version"))).collect();
    let linked = crates("normal");
    assert!(linked.len() > 100, "{}", linked.len());
    let missing: Vec<_> = linked.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let of_tests: BTreeSet<_> = crates("normal,build,dev").difference(&linked).cloned().collect();
    let foreign: Vec<_> = of_tests.intersection(&listed).collect();
    assert!(!of_tests.is_empty() && foreign.is_empty(), "{foreign:?}");
    // Checksums, and neither a random number nor a path of the machine that built it.
    let of_registry = |it: &&Value| it["bom-ref"].as_str().unwrap().starts_with("registry+");
    assert!(components.iter().filter(of_registry).all(|it| it["hashes"][0]["content"].is_string()));
    assert_eq!(bill["serialNumber"], Value::Null);
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")) && !text.contains("/tmp/"));
}

#[test]
fn the_bill_of_materials_has_the_same_bytes_when_it_is_written_again() {
    let directory = Directory::new();
    let file = directory.join("pgsvid.cdx.json");
    // Its time is that of the commit from which the first one was made.
    let bill = std::fs::read(built("pgsvid.cdx.json")).unwrap();
    let parsed: Value = serde_json::from_slice(&bill).unwrap();
    let time = parsed["metadata"]["timestamp"].as_str().unwrap();
    let seconds = Command::new("date").args(["--date", time, "+%s"]).output().unwrap();
    let output = Command::new(root().join("scripts/sbom"))
        .arg(&file)
        .env("SOURCE_DATE_EPOCH", standard_output(&seconds).trim())
        .output()
        .unwrap();
    standard_output(&output);
    assert!(std::fs::read(&file).unwrap() == bill, "the bytes differ");
}

#[test]
fn the_checksums_are_those_of_all_files_and_the_provenance_is_that_of_the_program() {
    let directory = built("");
    let output = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&directory)
        .output()
        .unwrap();
    let checked = standard_output(&output);
    for name in ["pgsvid", "pgsvid.cdx.json", "pgsvid.provenance"] {
        assert!(checked.contains(&format!("{name}: OK")), "{checked}");
    }
    assert!(checked.contains(".deb: OK") && checked.contains("man/"), "{checked}");

    let text = std::fs::read_to_string(directory.join("pgsvid.provenance")).unwrap();
    let said = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
        line.unwrap_or_else(|| panic!("{key}: {text}")).to_owned()
    };
    let sum = |path: &std::path::Path| {
        let output = standard_output(&Command::new("sha256sum").arg(path).output().unwrap());
        output.split(' ').next().unwrap().to_owned()
    };
    assert_eq!(said("program-sha256"), sum(&directory.join("pgsvid")));
    assert_eq!(said("target"), TARGET);
    let version = Command::new(directory.join("pgsvid")).arg("version").output().unwrap();
    assert!(standard_output(&version).contains(&said("commit")), "{text}");
    assert!(said("rustc").starts_with("rustc ") && said("flags").contains("+crt-static"));
    assert_eq!(said("cargo-lock-sha256").len(), 64);
    let home = std::env::var("HOME").unwrap();
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")) && !text.contains(&home), "{text}");
}
