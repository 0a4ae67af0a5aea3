//! Connection service files: read as libpq reads them, or not at all.
//!
//! The first line of an input is the name of the section, the rest is the file. `tests/postgresql/foreign_files.rs` shows the same
//! files to libpq itself.

use pgsvid::companions::service_reader::{self, Unreadable};

use super::texts::assert_presentable_error;

pub fn run(input: &[u8]) {
    let (name, file) = parts(input);
    let Ok(name) = std::str::from_utf8(name) else { return };
    match (service_reader::section(file, name), libpq(file, name.as_bytes())) {
        (Ok(entries), Ok(wanted)) => {
            let read: Vec<_> = entries
                .iter()
                .map(|entry| (entry.line, entry.keyword.as_bytes(), entry.value.as_str()))
                .collect();
            let wanted: Vec<_> = wanted
                .iter()
                .map(|(line, keyword, value)| (*line, *keyword, String::from_utf8_lossy(value)))
                .collect();
            let wanted: Vec<_> = wanted.iter().map(|(l, k, v)| (*l, *k, v.as_ref())).collect();
            assert_eq!(read, wanted);
        }
        (Ok(entries), Err(refusal)) => panic!("libpq {refusal:?}; we read {entries:?}"),
        (Err(error), Ok(_)) => {
            // libpq ends a line at a zero byte; nobody puts one into such a file on purpose.
            assert!(file.contains(&0), "libpq reads it: {error}");
            assert_presentable_error(&error);
        }
        (Err(error), Err(refusal)) => {
            assert_presentable_error(&error);
            let same = match error {
                Unreadable::NoSection(_) => refusal == Refusal::NoSection,
                Unreadable::TooLong { line, .. } => refusal == Refusal::TooLong(line),
                Unreadable::Syntax { line, .. } => refusal == Refusal::Syntax(line),
            };
            assert!(same || file.contains(&0), "libpq: {refusal:?}");
        }
    }
}

/// The section's name, and the file.
pub fn parts(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    (&input[..end], input.get(end + 1..).unwrap_or_default())
}

/// Why libpq does not connect.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    NoSection,
    TooLong(usize),
    Syntax(usize),
}

/// Line, keyword and value.
type Entry<'a> = (usize, &'a [u8], &'a [u8]);

/// The rules of libpq 14 to 18 (PostgreSQL manual, "The Connection Service File"; measured where it is silent), written
/// for C strings: a buffer of 1024 bytes holds the line, its end and a zero byte, with a byte to spare.
fn libpq<'a>(file: &'a [u8], name: &[u8]) -> Result<Vec<Entry<'a>>, Refusal> {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    let mut found = false;
    for (number, line) in (1..).zip(file.split_inclusive(|byte| *byte == b'\n')) {
        if line.len() >= 1023 {
            return Err(Refusal::TooLong(number));
        }
        let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
        let line = trimmed(line);
        match line {
            [] | [b'#', ..] => {}
            [b'[', ..] if found => break,
            [b'[', heading @ ..] => {
                found = heading.starts_with(name) && heading.get(name.len()) == Some(&b']');
            }
            _ if !found => {}
            _ => {
                let at =
                    line.iter().position(|byte| *byte == b'=').ok_or(Refusal::Syntax(number))?;
                let keyword = &line[..at];
                let known = std::str::from_utf8(keyword).ok().and_then(service_reader::since);
                known.ok_or(Refusal::Syntax(number))?;
                if entries.iter().all(|(_, earlier, _)| *earlier != keyword) {
                    entries.push((number, keyword, &line[at + 1..]));
                }
            }
        }
    }
    if found { Ok(entries) } else { Err(Refusal::NoSection) }
}

/// Without what `isspace` calls space, in the C locale and in those of UTF-8.
fn trimmed(line: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = line.iter().position(|byte| !is_space(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &line[start..end]
}
