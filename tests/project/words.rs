//! Plain words: no comment, string or page has a word that readers stumble over.

use std::fs;
use std::path::{Path, PathBuf};

/// Pages that still have such words. Each is taken out of this list once it is rewritten.
const LEFT: [&str; 0] = [];

/// Archaic words, and words that say that a person is a man or a woman. The remedy is in the second place.
const WORDS: [(&str, &str); 24] = [
    ("anew", "again, or over"),
    ("whoever", "anyone who, or the one who"),
    ("whom", "who, which, or name the person or program"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("mending", "fixing"),
    ("lest", "so that … not"),
    ("hence", "so"),
    ("henceforth", "from now on"),
    ("thereof", "of it"),
    ("thereby", "by this"),
    ("therein", "in it"),
    ("hitherto", "so far"),
    ("whereby", "by which"),
    ("whence", "from where"),
    ("whilst", "while"),
    ("he", "they, or the attacker, the operator …"),
    ("him", "them"),
    ("his", "their"),
    ("himself", "themselves"),
    ("she", "they"),
    ("her", "their"),
    ("herself", "themselves"),
];

/// Riddles of more than one word.
const PHRASES: [(&str, &str); 3] = [
    ("heard of", "say what was observed"),
    ("the same by which", "repeat the noun"),
    ("who asks", "the client, the user"),
];

/// Directories that are searched, besides the files at the top.
const ROOMS: [&str; 13] = [
    "src",
    "crates",
    "tests",
    "docs",
    "examples",
    "k8s",
    "charts",
    "packaging",
    "scripts",
    "bench",
    "docker",
    "proto",
    "fuzz",
];

/// Paths that are left out: this list, a text of others, and inputs of the fuzzer.
const SKIPPED: [&str; 4] = ["tests/project/words.rs", "LICENSE", "fuzz/seeds", "Cargo.lock"];

#[test]
fn no_comment_string_or_page_has_a_word_that_readers_stumble_over() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && !name.starts_with('.') {
            files.push(path);
        }
    }
    for room in ROOMS {
        collect(&root.join(room), &mut files);
    }
    assert!(files.len() > 500, "{} files only", files.len());
    let mut found = Vec::new();
    for path in files {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let is_left = LEFT.contains(&name.as_str());
        if is_left || SKIPPED.iter().any(|skipped| Path::new(&name).starts_with(skipped)) {
            continue;
        }
        // A picture, say.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        let prose = if is_rust { prose(&text) } else { text };
        for (index, line) in prose.lines().enumerate() {
            let faults = faults(line).into_iter();
            found.extend(faults.map(|(word, remedy)| {
                format!("{name}:{}: \"{word}\"; write: {remedy}", index + 1)
            }));
        }
    }
    assert!(found.is_empty(), "{} words:\n{}", found.len(), found.join("\n"));
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
        if path.is_dir() && !hidden && !path.ends_with("target") {
            collect(&path, files);
        } else if path.is_file() && !hidden {
            files.push(path);
        }
    }
}

/// The words and phrases of a line that the lists have, each with its remedy. A hyphen is part of a word, as in the name of an
/// option.
fn faults(line: &str) -> Vec<(&'static str, &'static str)> {
    let line = line.to_lowercase();
    let words: Vec<&str> = line
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .filter(|word| !word.is_empty())
        .collect();
    let spaced = format!(" {} ", words.join(" "));
    let has = |phrase: &str| spaced.contains(&format!(" {phrase} "));
    WORDS.into_iter().chain(PHRASES).filter(|(phrase, _)| has(phrase)).collect()
}

/// What people read in a Rust file: comments and the contents of strings, with all line breaks; code is left out.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (skipped, taken) = if let Some(comment) = rest.strip_prefix("//") {
            (2, comment.find('\n').unwrap_or(comment.len()))
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = 2 + hashes;
            (begin, rest[begin..].find(&end).map_or(rest.len() - begin, |at| at + end.len()))
        } else if c == '"' {
            (1, string_end(&rest[1..]))
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            // A quotation mark as a character begins no string.
            let length = rest[1..].find('\'').unwrap_or(0) + 2;
            rest = &rest[length..];
            continue;
        } else {
            prose.push(if c == '\n' { '\n' } else { ' ' });
            rest = &rest[c.len_utf8()..];
            continue;
        };
        prose.push_str(&rest[skipped..skipped + taken]);
        rest = &rest[skipped + taken..];
    }
    prose
}

/// How many number signs a raw string that begins here has.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Where a string ends whose opening quotation mark is behind us, with the closing one.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn words_are_found_in_comments_and_strings_and_not_in_code() {
    let count = |text: &str| prose(text).lines().map(|line| faults(line).len()).sum::<usize>();
    for (text, faults) in [
        ("// Whoever asks", 1),
        ("/// Tell him, and mend it.", 2),
        ("let mend = whom();", 0),
        ("let s = \"a \\\" he\"; let whom = 1;", 1),
        ("let s = r#\"she \" her\"#; fn mend() {}", 2),
        ("let c = '\"'; let his = '\\\"';", 0),
        ("\"--kill-whom=main\"", 0),
        ("// was last heard of", 1),
        ("// the theme, mender", 0),
    ] {
        assert_eq!(count(text), faults, "{text}");
    }
    assert_eq!(prose("let a;\n// b\n").lines().count(), 2, "lines keep their numbers");
}

/// Verbs and adverbs that a test name has no room for, with the plain words.
const NOT_IN_NAMES: [(&str, &str); 6] = [
    ("told", "reported, distinguished, or notified"),
    ("said", "reported, or logged"),
    ("whatever", "with any, or every"),
    ("anew", "again, or re-"),
    ("however", "in every, or any number of"),
    ("dialled", "connected to"),
];

#[test]
fn test_names_are_plain_sentences() {
    let sources = ["tests", "src", "crates"].map(|directory| {
        crate::documentation::files_with("rs", &crate::documentation::root().join(directory))
    });
    let mut names = 0;
    let mut faults = Vec::new();
    for path in sources.concat() {
        let text = fs::read_to_string(&path).unwrap();
        // After the attribute there may be others, and `async`.
        for test in text.split("test]\n").skip(1) {
            let Some((_, rest)) = test.split_once("fn ") else { continue };
            let name = rest.split('(').next().unwrap();
            names += 1;
            for (word, instead) in NOT_IN_NAMES {
                if name.split('_').any(|part| part == word) {
                    faults.push(format!("{}: {name}: not {word:?}, but {instead}", path.display()));
                }
            }
        }
    }
    assert!(names > 1000, "{names} names are read");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
