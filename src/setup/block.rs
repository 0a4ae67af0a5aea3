//! A marked block in a text of somebody else's: put in, found again, taken out.

/// First line of the block.
const BEGIN: &str = "# BEGIN pgsvid setup. `pgsvid setup revert` removes it; edit outside of it.";
/// What tells the first line, whatever else a later version says there.
const BEGIN_MARK: &str = "# BEGIN pgsvid setup";
/// Last line of the block.
const END: &str = "# END pgsvid setup";

/// The marks are not as we left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lines `{BEGIN_MARK}` and `{END}` do not stand in it once and in that order")]
pub struct Marks;

/// The text with `lines` as its block: where the block is, else at the top, since the first line of `pg_hba.conf` that
/// matches decides.
pub(super) fn with(text: &str, lines: &str) -> Result<String, Marks> {
    let block = format!("{BEGIN}\n{}\n{END}\n", lines.trim_end());
    Ok(match find(text)? {
        Some((before, _, after)) => format!("{before}{block}{after}"),
        None => format!("{block}{text}"),
    })
}

/// The text without the block.
pub(super) fn without(text: &str) -> Result<String, Marks> {
    Ok(match find(text)? {
        Some((before, _, after)) => format!("{before}{after}"),
        None => text.to_owned(),
    })
}

/// Whether all that `lines` say is said already, in the block or anywhere else.
pub(super) fn says(text: &str, lines: &str) -> bool {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let there: Vec<String> = text.lines().map(words).collect();
    lines.lines().filter(|line| !line.starts_with('#')).all(|line| there.contains(&words(line)))
}

/// The same for `pg_hba.conf`, where the first line that matches decides: nothing else may stand above them.
pub(super) fn says_first(text: &str, lines: &str) -> bool {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let active = |text: &str| -> Vec<String> {
        text.lines().map(words).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    };
    let (there, wanted) = (active(text), active(lines));
    wanted.iter().all(|line| there.iter().take(wanted.len()).any(|found| found == line))
}

/// Whether the text has a block, or what is left of one.
pub(super) fn is_in(text: &str) -> bool {
    without(text).as_deref() != Ok(text)
}

/// What stands before the block, in it, and after it.
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
        ([(begin, first)], [(last, end)]) if first <= last => {
            Ok(Some((&text[..*begin], &text[*first..*last], &text[*end..])))
        }
        _ => Err(Marks),
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
            assert_eq!(with(&text, "b"), Err(Marks), "{text}");
            assert_eq!(without(&text), Err(Marks), "{text}");
        }
    }

    #[test]
    fn what_is_said_elsewhere_need_not_be_said_again() {
        assert!(says("local\tall  all peer\nx", "# why\nlocal all all peer"));
        assert!(!says("# local all all peer", "local all all peer"));
        assert!(says(FILE, "# nothing"));
        assert!(says_first("# x\na  b\n\nc d\ne", "# why\nc d\na b"));
        assert!(!says_first("host all all all trust\na b\nc d", "a b\nc d"));
    }
}
