//! Runs the fuzz targets' functions over their corpora and a few thousand mutations: on any toolchain, and the same in each
//! run.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use test_support::Dice;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use targets::{TARGETS, Target};

/// Mutations of each target's corpus.
const MUTATIONS: usize = 1000;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The inputs that are checked in, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = fuzz().join("seeds").join(target);
    let read = |name: String| (name.clone(), std::fs::read(directory.join(name)).unwrap());
    let corpus: Vec<_> = names_in(&directory).into_iter().map(read).collect();
    assert!(corpus.len() >= 10, "{target} has a corpus");
    corpus
}

#[test]
fn access() {
    replay("access");
}

#[test]
fn configuration() {
    replay("configuration");
}

#[test]
fn inspect() {
    replay("inspect");
}

#[test]
fn probe() {
    replay("probe");
}

#[test]
fn service_file() {
    replay("service_file");
}

#[test]
fn workload_api() {
    replay("workload_api");
}

fn replay(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let corpus = corpus(name);
    for (file, input) in &corpus {
        holds(target, input, file);
    }
    let mut dice = Dice::from_seed(0x5eed);
    for number in 0..MUTATIONS {
        let (file, seed) = &corpus[number % corpus.len()];
        let (_, other) = dice.one_of(&corpus);
        let input = dice.mutation(seed, other);
        holds(target, &input, &format!("mutation {number}, of {file}"));
    }
}

/// Says which input it was, so that it can be kept.
#[track_caller]
fn holds(target: Target, input: &[u8], what: &str) {
    let outcome = catch_unwind(|| target(input));
    assert!(outcome.is_ok(), "{what}: b\"{}\"", input.escape_ascii());
}

/// A target that libFuzzer runs and this file does not, or the reverse, would rot.
#[test]
fn every_target_is_replayed_and_every_replayed_one_is_a_target() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files: BTreeSet<String> = names.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in(&fuzz().join("fuzz_targets")), files);
    assert_eq!(names_in(&fuzz().join("seeds")), names);
    let this = include_str!("fuzz_corpora.rs");
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &names {
        assert!(this.contains(&format!("replay(\"{name}\");")), "{name} is not replayed");
        assert!(
            manifest.contains(&format!("name = \"{name}\"\n")),
            "{name} is not in the manifest"
        );
        let file = fuzz().join("fuzz_targets").join(name).with_extension("rs");
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("pgsvid_fuzz::{name}::run(input)")), "{name}: {text}");
    }
}
