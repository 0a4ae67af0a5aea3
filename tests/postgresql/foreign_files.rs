//! pgsvid reads foreign files as their owners do: the corpora of the fuzz targets, and mutations, are given to a real
//! PostgreSQL and to libpq.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use pgsvid::companions::service_reader::{self, Unreadable};
use pgsvid::sql::{
    self, AccessViews, Address, HbaRule, Line, Mapping, Session, parse_hba, parse_ident,
};
use test_support::{Cluster, Dice, Psql};

const MUTATIONS: usize = 150;

/// The inputs of a target whose names begin so, and mutations of them.
fn inputs(target: &str, beginning: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(beginning));
    files.sort_unstable();
    let corpus: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(corpus.len() >= 10, "{target} has a corpus");
    let mut dice = Dice::from_seed(0xf11e);
    let mutated: Vec<_> = (0..MUTATIONS)
        .map(|number| {
            let other = dice.one_of(&corpus);
            dice.mutation(&corpus[number % corpus.len()], other)
        })
        .collect();
    corpus.into_iter().chain(mutated).collect()
}

#[test]
fn pg_hba_and_pg_ident_are_read_as_postgresql_reads_them() {
    // The line that lets us in is loaded; what stands in the files later is not.
    let cluster = Cluster::builder().ident("administration root postgres").start();
    let settings = sql::Settings {
        host: cluster.socket_directory().to_owned(),
        port: cluster.port(),
        user: "postgres".to_owned(),
        database: "postgres".to_owned(),
        password_file: None,
        require_peer: None,
        purpose: pgsvid::sql::Purpose::Reload,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let session = runtime.block_on(Session::connect(&settings)).unwrap();
    let (mut rules, mut mappings, mut refused) = (0, 0, 0);
    for input in inputs("access", "text-") {
        // What PostgreSQL makes of a zero byte depends on the size of its buffer.
        let text = String::from_utf8_lossy(&input[1.min(input.len())..]);
        // A name that is not UTF-8 is compared with nothing (B38).
        let text = text.replace(['\0', char::REPLACEMENT_CHARACTER], "");
        write(&cluster.data_directory().join("pg_hba.conf"), text.as_bytes());
        write(&cluster.data_directory().join("pg_ident.conf"), text.as_bytes());
        let views = runtime.block_on(session.access()).unwrap().expect("a superuser may look");
        same_rules(&text, &views);
        same_mappings(&text, &views);
        rules += views.rules.len();
        mappings += views.mappings.unwrap_or_default().len();
        refused += views.bad.len();
    }
    // PostgreSQL 14 has no view of pg_ident.conf.
    let has_mappings = mappings > 100 || cluster.version() < 15;
    assert!(rules > 50 && has_mappings && refused > 100, "{rules} {mappings} {refused}");
}

#[track_caller]
fn same_rules(text: &str, views: &AccessViews) {
    let ours: Vec<HbaRule> = entries(parse_hba(text));
    for theirs in &views.rules {
        let rule = ours.iter().find(|rule| rule.line == theirs.line);
        let rule = rule.unwrap_or_else(|| panic!("{theirs:?} is missing: {text:?}"));
        assert_eq!(rule.kind, theirs.kind, "{text:?}");
        assert_eq!(bare(&rule.databases), bare(&theirs.databases), "{text:?}");
        assert_eq!(bare(&rule.users), bare(&theirs.users), "{text:?}");
        // The view shows a host whose name is "all" as it shows the keyword.
        if rule.address != Some(Address::Name("all".to_owned())) {
            assert_eq!(rule.address, theirs.address, "{text:?}");
        }
        assert_eq!(rule.option("map"), theirs.option("map"), "{text:?}");
        assert_eq!(rule.method, theirs.method, "{text:?}");
    }
    // What PostgreSQL does not even see is none of ours either.
    for rule in &ours {
        let seen = views.rules.iter().any(|theirs| theirs.line == rule.line);
        let refused =
            views.bad.iter().any(|bad| bad.file == "pg_hba.conf" && bad.line == rule.line);
        assert!(seen || refused, "{rule:?}: {text:?}");
    }
}

#[track_caller]
fn same_mappings(text: &str, views: &AccessViews) {
    let Some(theirs) = &views.mappings else { return };
    let mut ours: Vec<Mapping> = entries(parse_ident(text));
    ours.retain(|mapping| {
        !views.bad.iter().any(|bad| bad.file == "pg_ident.conf" && bad.line == mapping.line)
    });
    assert_eq!(&ours, theirs, "{text:?}");
}

fn entries<T>(lines: Vec<Line<T>>) -> Vec<T> {
    let entry = |line| match line {
        Line::Entry(entry) => Some(entry),
        Line::Include(_) | Line::Unclear(..) => None,
    };
    lines.into_iter().filter_map(entry).collect()
}

/// The views show neither quotation marks nor words of nothing.
fn bare(words: &[String]) -> Vec<&str> {
    let bare = words
        .iter()
        .map(|word| word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word));
    bare.filter(|word| !word.is_empty()).collect()
}

/// In place: the file's owner and mode stay.
fn write(path: &Path, bytes: &[u8]) {
    File::create(path).and_then(|mut file| file.write_all(bytes)).unwrap();
}

#[test]
fn service_files_are_read_as_libpq_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pg_service.conf");
    let (mut read, mut refused) = (0, 0);
    for input in inputs("service_file", "") {
        let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let file = input.get(end + 1..).unwrap_or_default();
        // What stands in the environment or on a command line has no zero byte; where it is none, PGSERVICE is not set.
        let Ok(name) = std::str::from_utf8(&input[..end]) else { continue };
        if name.is_empty() || name.contains('\0') || file.contains(&0) {
            continue;
        }
        write(&path, file);
        let quoted = name.replace('\\', "\\\\").replace('\'', "\\'");
        // Wherever the file leads to, nothing is connected to.
        let output = Psql::new()
            .env("PGSERVICEFILE", &path)
            .arg(format!("service='{quoted}' host=/nonexistent hostaddr='' connect_timeout=1"))
            .run();
        let said = output.stderr;
        if is_too_old(&said, file) {
            continue;
        }
        match service_reader::section(file, name) {
            Ok(_) => {
                let refused = ["service file", "definition of service"];
                assert!(!refused.iter().any(|words| said.contains(words)), "{said}: {input:?}");
                read += 1;
            }
            Err(error) => {
                let same = match error {
                    Unreadable::NoSection(_) => said.contains("definition of service"),
                    Unreadable::TooLong { line, .. } => {
                        said.contains(&format!("line {line} too long"))
                    }
                    Unreadable::Syntax { line, .. } => {
                        said.trim_end().ends_with(&format!(", line {line}"))
                            || said.contains("LDAP")
                    }
                };
                assert!(same, "we: {error}; libpq: {said}: {input:?}");
                refused += 1;
            }
        }
    }
    assert!(read > 30 && refused > 30, "{read} {refused}");
}

/// Whether this libpq has refused a keyword that later ones know.
fn is_too_old(said: &str, file: &[u8]) -> bool {
    let line =
        said.trim_end().rsplit_once(", line ").and_then(|(_, line)| line.parse::<usize>().ok());
    let Some(line) = line.filter(|_| said.contains("syntax error in service file")) else {
        return false;
    };
    let line = file.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default();
    let keyword = String::from_utf8_lossy(line).trim().split('=').next().map(str::to_owned);
    keyword.and_then(|keyword| service_reader::since(&keyword)).is_some_and(|since| since > 14)
}
