//! Splits `cmd_args` as spiffe-helper does: a line of CSV with blanks instead of commas (Go: `encoding/csv`).

/// The arguments; two blanks enclose an empty one. `None` if a quotation mark is out of place: spiffe-helper does not start the
/// command then.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    if text.is_empty() {
        return Some(words);
    }
    let mut rest = text;
    loop {
        let (word, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_word(quoted)?
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word.contains('"') {
                return None;
            }
            (word.to_owned(), after)
        };
        words.push(word);
        match after.strip_prefix(' ') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(words),
            None => return None,
        }
    }
}

/// A word up to the closing mark, and what follows it. Two marks in it stand for one.
fn quoted_word(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        word.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                word.push('"');
                rest = next;
            }
            None => return Some((word, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e12_arguments_are_split_as_the_helper_splits_them() {
        for (text, words) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("-ds 30", &["-ds", "30"]),
            ("-c \"SELECT pg_reload_conf()\"", &["-c", "SELECT pg_reload_conf()"]),
            ("\"say \"\"hello\"\"\" x", &["say \"hello\"", "x"]),
            ("a  b", &["a", "", "b"]),
            ("a ", &["a", ""]),
            ("it's", &["it's"]),
        ] {
            assert_eq!(
                split(text).as_deref(),
                Some(&words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
        for text in ["\"a", "a\"b", "\"a\"b", "x \"a"] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
