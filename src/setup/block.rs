//! A marked block in somebody else's text: insert, find, remove.

use crate::sql::{HbaRule, Line, Mapping, parse_hba, parse_ident};

/// First line of the block.
const BEGIN: &str = "# BEGIN pgsvid setup. `pgsvid setup revert` removes it; edit outside of it.";
/// The start of the first line, whatever a later version writes after it.
const BEGIN_MARK: &str = "# BEGIN pgsvid setup";
/// Last line of the block.
const END: &str = "# END pgsvid setup";

/// The block cannot be found, or cannot be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Marks {
    /// The marks are not as setup left them.
    #[error("the lines `{BEGIN_MARK}` and `{END}` are not in it exactly once and in this order")]
    Misplaced,
    /// PostgreSQL joins the block with the line above it.
    #[error(
        "the line above the block ends with `\\`, so PostgreSQL joins the two; remove the `\\` first"
    )]
    Continued,
    /// PostgreSQL joins the block's last line with the line below it.
    #[error(
        "the line `{END}` ends with `\\`, so PostgreSQL ignores the line below it; remove the `\\`, and that line too if it should stay without effect"
    )]
    LastContinued,
}

/// The text with `lines` as its block: in the place of the old block, otherwise at the top, because the first line of
/// `pg_hba.conf` that matches decides.
pub(super) fn with(text: &str, lines: &str) -> Result<String, Marks> {
    let block = format!("{BEGIN}\n{}\n{END}\n", lines.trim_end());
    Ok(match find(text)? {
        Some((before, _, after)) => format!("{before}{block}{after}"),
        None => format!("{block}{text}"),
    })
}

/// The text without the block.
pub(super) fn without(text: &str) -> Result<String, Marks> {
    match find(text)? {
        Some((before, _, _)) if before.trim_end_matches(['\r', '\n']).ends_with('\\') => {
            Err(Marks::Continued)
        }
        Some((before, _, after)) => Ok(format!("{before}{after}")),
        None => Ok(text.to_owned()),
    }
}

/// Whether a `pg_ident.conf` already contains all of `lines`, in the block or elsewhere. The text is parsed as PostgreSQL
/// parses it, because a comment can continue on the next line.
pub(super) fn contains_mappings(text: &str, lines: &str) -> bool {
    let (existing, wanted) = (mappings(text), mappings(lines));
    wanted.iter().all(|line| existing.contains(line))
}

/// Whether all of `lines` are the first rules of a `pg_hba.conf`, in any order. No other rule may be above them, because the
/// first one that matches decides.
pub(super) fn begins_with_rules(text: &str, lines: &str) -> bool {
    let (existing, wanted) = (rules(text), rules(lines));
    wanted.iter().all(|line| existing.iter().take(wanted.len()).any(|found| found == line))
}

/// The lines without their numbers, so that they can be compared.
fn mappings(text: &str) -> Vec<Line<Mapping>> {
    let mut lines = parse_ident(text);
    for line in &mut lines {
        match line {
            Line::Entry(mapping) => mapping.line = 0,
            Line::Include(include) => include.line = 0,
            Line::Unclear(number, _) => *number = 0,
        }
    }
    lines
}

/// The lines without their numbers, so that they can be compared.
fn rules(text: &str) -> Vec<Line<HbaRule>> {
    let mut lines = parse_hba(text);
    for line in &mut lines {
        match line {
            Line::Entry(rule) => rule.line = 0,
            Line::Include(include) => include.line = 0,
            Line::Unclear(number, _) => *number = 0,
        }
    }
    lines
}

/// Whether the text has a block, or a part of one.
pub(super) fn is_in(text: &str) -> bool {
    without(text).as_deref() != Ok(text)
}

/// The text before the block, in it, and after it.
fn find(text: &str) -> Result<Option<(&str, &str, &str)>, Marks> {
    let starts = |mark: &str| {
        let mut found = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if line.trim_end().starts_with(mark) {
                found.push((at, at + line.len()));
            }
            at += line.len();
        }
        found
    };
    match (starts(BEGIN_MARK).as_slice(), starts(END).as_slice()) {
        ([], []) => Ok(None),
        ([_], [(last, end)])
            if text[*last..*end].trim_end_matches(['\r', '\n']).ends_with('\\') =>
        {
            Err(Marks::LastContinued)
        }
        ([(begin, first)], [(last, end)]) if first <= last => {
            Ok(Some((&text[..*begin], &text[*first..*last], &text[*end..])))
        }
        _ => Err(Marks::Misplaced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\nlocal all all peer\n";

    #[test]
    fn a_block_is_put_at_the_top_replaced_in_place_and_taken_out() {
        let first = with(FILE, "a\nb\n").unwrap();
        assert_eq!(first, format!("{BEGIN}\na\nb\n{END}\n{FILE}"));
        assert_eq!(with(&first, "a\nb").unwrap(), first);
        let moved = format!("# mine\n{first}");
        let second = with(&moved, "c").unwrap();
        assert_eq!(second, format!("# mine\n{BEGIN}\nc\n{END}\n{FILE}"));
        assert_eq!(without(&second).unwrap(), format!("# mine\n{FILE}"));
        assert_eq!(without(&first).unwrap(), FILE);
        assert_eq!(without(FILE).unwrap(), FILE);
    }

    #[test]
    fn marks_that_somebody_has_damaged_are_not_guessed_at() {
        let whole = with(FILE, "a").unwrap();
        for text in [
            whole.replace(END, ""),
            whole.replace(BEGIN, ""),
            format!("{whole}{whole}"),
            format!("{END}\n{BEGIN}\n"),
        ] {
            assert_eq!(with(&text, "b"), Err(Marks::Misplaced), "{text}");
            assert_eq!(without(&text), Err(Marks::Misplaced), "{text}");
        }
    }

    #[test]
    fn what_is_reported_elsewhere_is_not_repeated() {
        const RULES: &str = "# why\nlocal all a peer\nlocal all b peer";
        assert!(contains_mappings("m\tx  y\nz", "# why\nm x y"));
        assert!(!contains_mappings("# m x y", "m x y"));
        assert!(contains_mappings(FILE, "# nothing"));
        assert!(begins_with_rules(
            "# x\nlocal all  b peer\n\nlocal all a peer\nlocal all c peer",
            RULES
        ));
        assert!(!begins_with_rules(
            "host all all all trust\nlocal all a peer\nlocal all b peer",
            RULES
        ));
        // The backslash continues the comment on the next line, which PostgreSQL therefore ignores.
        assert!(!contains_mappings("# x \\\nm x y", "m x y"));
        assert!(!begins_with_rules("# x \\\nlocal all a peer\nlocal all b peer", RULES));
        assert!(begins_with_rules("# x \\\n# y\nlocal all a peer\nlocal all b peer", RULES));
    }

    /// PostgreSQL takes the line below for a part of the comment.
    #[test]
    fn b67_a_block_whose_last_line_goes_on_is_not_taken_out() {
        let text = with(FILE, "a\n").unwrap().replace(END, &format!("{END} \\"));
        assert_eq!(without(&text), Err(Marks::LastContinued));
        assert_eq!(with(&text, "b\n"), Err(Marks::LastContinued));
    }

    #[test]
    fn a34_a_block_below_a_line_that_goes_on_is_not_taken_out() {
        let whole = with("local all all peer\n", "a").unwrap();
        for above in ["# x \\\n", "# x \\\r\n"] {
            assert_eq!(without(&format!("{above}{whole}")), Err(Marks::Continued));
        }
        assert!(without(&format!("# x\n{whole}")).is_ok());
    }
}
