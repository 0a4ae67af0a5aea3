//! The words of `pg_hba.conf` and `pg_ident.conf` (PostgreSQL: `hba.c`, `next_token` and `tokenize_auth_file`).

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

/// The reason for a word that names a file.
pub(super) const WORD_IN_A_FILE: &str =
    "it names a file (@); pgsvid reads such files only as lists of databases and users";

/// Words that name nothing without quotation marks.
pub(super) const KEYWORDS: [&str; 7] =
    ["all", "sameuser", "samerole", "samegroup", "replication", "samehost", "samenet"];

/// The words of a list. A quoted word keeps its quotes where they change its meaning, or if it contains a comma, a blank, or
/// another quote.
pub(super) type Field = Vec<String>;

pub(super) fn single(field: &Field) -> Result<&str, &'static str> {
    match field.as_slice() {
        [word] if list_file(word).is_some() => Err(WORD_IN_A_FILE),
        [word] => Ok(word),
        _ => Err("it has a list where only one word is allowed"),
    }
}

/// A word without the quotation marks that were kept.
pub(super) fn bare(word: &str) -> &str {
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}

/// A name in the form of `pg_hba.conf` and `pg_ident.conf`: quoted where it could have another meaning, or end early
/// (PostgreSQL: `hba.c`, `next_token`).
#[must_use]
pub fn word(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-.:".contains(c);
    if !name.is_empty() && name.chars().all(plain) && !KEYWORDS.contains(&name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A user's name in the form of `pg_ident.conf`. A word that begins with a slash is a regular expression there, even in
/// quotation marks (PostgreSQL: `hba.c`, `parse_ident_line`): such a name becomes an expression that only matches itself.
#[must_use]
pub fn system_user(name: &str) -> String {
    word(&unquoted_system_user(name))
}

/// A user's name in the form of `pg_ident.conf`, without quotes.
#[must_use]
pub fn unquoted_system_user(name: &str) -> Cow<'_, str> {
    if !name.starts_with('/') {
        return Cow::Borrowed(name);
    }
    let mut expression = String::from("/^");
    for c in name.chars() {
        // Before other characters a backslash would have another meaning.
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !c.is_ascii_control() {
            expression.push('\\');
        }
        expression.push(c);
    }
    Cow::Owned(expression + "$")
}

/// The fields of each line, with the line number. A line that ends with a backslash continues in the next one. A backslash
/// that is at the end only after such a join does not (PostgreSQL: `hba.c`, `tokenize_auth_file`).
pub(super) fn lines(text: &str) -> Vec<(u32, Vec<Field>)> {
    let mut found = Vec::new();
    let mut physical = (1..).zip(text.split('\n'));
    while let Some((number, first)) = physical.next() {
        let mut line = first.trim_end_matches('\r').to_owned();
        let mut joint = 0;
        while line.len() > joint && line.ends_with('\\') {
            line.pop();
            joint = line.len();
            let Some((_, next)) = physical.next() else { break };
            line.push_str(next);
            line.truncate(line.trim_end_matches('\r').len());
        }
        // PostgreSQL is written in C, where a text ends at a NUL byte.
        let fields = fields(line.split('\0').next().unwrap_or_default());
        if !fields.is_empty() {
            found.push((number, fields));
        }
    }
    found
}

fn fields(line: &str) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    let mut rest = line.chars().peekable();
    let mut goes_on = false;
    while let Some(word) = next_word(&mut rest) {
        match fields.last_mut() {
            Some(field) if goes_on => field.push(word.text),
            _ => fields.push(vec![word.text]),
        }
        goes_on = word.ends_with_comma;
    }
    fields
}

struct Word {
    text: String,
    ends_with_comma: bool,
}

/// The next word of a line. Blanks and commas before it are skipped. Within quotation marks two marks stand for one, and
/// every other character counts as it is (PostgreSQL: `hba.c`, `next_token`).
fn next_word(rest: &mut Peekable<Chars<'_>>) -> Option<Word> {
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\r');
    while rest.next_if(|c| is_blank(*c) || *c == ',').is_some() {}
    let mut text = String::new();
    let (mut within, mut just_closed) = (false, false);
    let (mut begins_quoted, mut any_quote, mut ends_with_comma) = (false, false, false);
    while let Some(c) = rest.next_if(|c| within || !is_blank(*c)) {
        match c {
            '"' => {
                if just_closed {
                    text.push('"');
                }
                just_closed = within && !just_closed;
                within = !within;
                begins_quoted |= text.is_empty();
                any_quote = true;
                continue;
            }
            '#' if !within => {
                rest.by_ref().for_each(drop);
                break;
            }
            ',' if !within => {
                ends_with_comma = true;
                break;
            }
            c => text.push(c),
        }
        just_closed = false;
    }
    if text.is_empty() && !any_quote {
        return None;
    }
    // After a slash the word is a regular expression, with or without quotes.
    let special = KEYWORDS.contains(&text.as_str())
        || text.starts_with(['+', '@', '"'])
        || text.contains([',', ' ']);
    let text = if begins_quoted && special { format!("\"{text}\"") } else { text };
    Some(Word { text, ends_with_comma })
}

/// The file that a word of a list names instead of a role or a database.
#[must_use]
pub fn list_file(word: &str) -> Option<&str> {
    word.strip_prefix('@').filter(|path| !path.is_empty())
}

/// How many bytes of a name PostgreSQL keeps (`NAMEDATALEN`).
pub const LONGEST_NAME: usize = 63;

/// A name as PostgreSQL stores it: cut at the end of a character.
#[must_use]
pub fn stored_name(name: &str) -> &str {
    let mut end = LONGEST_NAME.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/postgresql/foreign_files.rs` shows these to PostgreSQL itself; this reader once differed in some.
    #[test]
    fn words_end_where_postgresql_ends_them() {
        for (text, wanted) in [
            ("a b", &["a", "b"][..]),
            ("a, b ,c", &["a|b", "c"]),
            (",,a,,b", &["a|b"]),
            ("\"a\"\"b\" \"\" c\"d e\"f", &["a\"b", "", "cd ef"]),
            ("\"all\" al\"l\"", &["\"all\"", "all"]),
            ("a\u{a0}b\u{b}c", &["a\u{a0}b\u{b}c"]),
            ("a#b c", &["a"]),
            ("\"a b", &["\"a b\""]),
        ] {
            let read: Vec<String> = fields(text).iter().map(|field| field.join("|")).collect();
            assert_eq!(read, wanted, "{text:?}");
        }
        let joined = lines("a\\\r\nb\\\n\nc\\\\\n\nd\0e\n");
        let read: Vec<(u32, &str)> =
            joined.iter().map(|(line, fields)| (*line, fields[0][0].as_str())).collect();
        assert_eq!(read, [(1, "ab"), (4, "c\\"), (6, "d")]);
    }
}
