//! Facts for the tests of this room, from the text of two files.

use super::access::JudgedMapping;
use super::{AccessFacts, MapFile};
use crate::sql::{Line, parse_hba, parse_ident};

/// The facts of these files. Each line must be an entry. No regular expression counts as matching an unintended name.
#[track_caller]
pub(super) fn parsed(hba: &str, ident: &str) -> AccessFacts {
    let judged = |mapping| JudgedMapping { mapping, admits: Ok(None) };
    AccessFacts {
        hba: "hba".to_owned(),
        ident: MapFile { path: "ident".into(), published: Vec::new() },
        rules: entries(parse_hba(hba)),
        complete: true,
        mappings: Some(entries(parse_ident(ident)).into_iter().map(judged).collect()),
        bad: Vec::new(),
        misread: Vec::new(),
        unclear: Vec::new(),
    }
}

#[track_caller]
fn entries<T: std::fmt::Debug>(lines: Vec<Line<T>>) -> Vec<T> {
    let entry = |line| match line {
        Line::Entry(entry) => entry,
        line => panic!("{line:?}"),
    };
    lines.into_iter().map(entry).collect()
}
