//! What must hold of every text that pgsvid shows, whatever the other side has said.

use std::error::Error;

/// Longest text about something foreign, in characters. Eight SVIDs and their hints, each shortened and then
/// escaped, are the longest that there is.
const LONGEST: usize = 40_000;

/// The error and its causes, as the edge prints them.
#[track_caller]
pub fn assert_presentable_error(error: &dyn Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        assert_presentable(&error.to_string());
        next = error.source();
    }
}

/// One line that cannot begin another, move a cursor or turn the direction of writing, and is not endless.
#[track_caller]
pub fn assert_presentable(text: &str) {
    assert!(text.chars().count() <= LONGEST, "{} bytes: {:.100}", text.len(), text);
    assert_eq!(text.chars().find(|c| acts(*c)), None, "{text:.400?}");
}

/// The same for a text of several lines.
#[track_caller]
pub fn assert_presentable_lines(text: &str) {
    text.lines().for_each(assert_presentable);
}

/// Control characters, and what reorders a line (Unicode standard annex 9).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
