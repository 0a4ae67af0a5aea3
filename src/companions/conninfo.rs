//! Reads a connection string as libpq does (PostgreSQL: `fe-connect.c`, `conninfo_parse`).

/// The keywords and values of a string `keyword = value …`, in its order; `None` for a URI, and for a string whose syntax libpq
/// refuses. Whether libpq knows a keyword is not checked.
///
/// A value may hold a password.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (keyword, after) = rest.split_once('=')?;
        let keyword = keyword.trim_end();
        if keyword.is_empty() || keyword.contains(char::is_whitespace) || keyword.contains("://") {
            return None;
        }
        let (value, after) = value(after.trim_start())?;
        pairs.push((keyword.to_owned(), value));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// A keyword with its value, as [`parse`] reads it back: in quotes, if the value needs them.
#[must_use]
pub fn pair(keyword: &str, value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@+".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return format!("{keyword}={value}");
    }
    format!("{keyword}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// One value, in quotes or up to a blank, with backslash escapes; and the text after it.
fn value(text: &str) -> Option<(String, &str)> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\'' if quoted => return Some((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Some((value, &text[at..])),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (!quoted).then_some((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f48_a_connection_string_is_read_as_libpq_reads_it() {
        let read = |text| {
            let pairs = parse(text)?;
            let pairs = pairs.iter().map(|(keyword, value)| format!("{keyword}={value}"));
            Some(pairs.collect::<Vec<_>>().join(";"))
        };
        for (text, expected) in [
            ("", ""),
            ("host=a port = 5432", "host=a;port=5432"),
            (" sslcert='/a b/c' user=x\n", "sslcert=/a b/c;user=x"),
            (r"password='it\'s' host=a\ b", "password=it's;host=a b"),
            ("a= b=c", "a=b=c"),
            ("a='' b=c", "a=;b=c"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for value in ["", "/a/b", "it's", r"a\b", "a b"] {
            let pairs = parse(&format!("{} a=b", pair("key", value))).unwrap();
            assert_eq!(pairs[0], ("key".to_owned(), value.to_owned()));
        }
        for text in ["host", "host='a", "a b=c", "=a", "postgresql://a/b?sslmode=require"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
