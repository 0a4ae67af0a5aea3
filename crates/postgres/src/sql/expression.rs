//! The form of PostgreSQL's regular expressions (`regex/regcomp.c`, advanced ones). What they match only its own engine says.

/// Whether it matches whole names only: each alternative begins and ends with an anchor. What begins with options or a
/// director (`(?i)`, `***=`) counts as not anchored.
#[must_use]
pub fn is_anchored(expression: &str) -> bool {
    branches(expression).into_iter().all(|branch| inside(branch).is_some())
}

/// What stands between the anchors of an alternative, if it has both.
fn inside(branch: &str) -> Option<&str> {
    let rest = branch.strip_prefix('^').or_else(|| branch.strip_prefix("\\A"))?;
    let inside = rest.strip_suffix('$').or_else(|| rest.strip_suffix("\\Z"))?;
    // The backslash in front would be the anchor's.
    let backslashes = inside.len() - inside.trim_end_matches('\\').len();
    backslashes.is_multiple_of(2).then_some(inside)
}

/// Names that look like those that it is meant for, and are others: longer ones, and those with another letter for a dot. Of an
/// expression that has more than letters none are made.
#[must_use]
pub fn lookalikes(expression: &str) -> Vec<String> {
    let mut names = Vec::new();
    for branch in branches(expression).into_iter().take(MOST_BRANCHES) {
        let name = branch.trim_start_matches('^').trim_end_matches('$');
        let name = name.replace("[.]", ".").replace('\\', "");
        let plain = |c: char| c.is_alphanumeric() || "-_@ =,.:/".contains(c);
        if !name.is_empty() && name.chars().all(plain) {
            names.extend([format!("x{name}"), format!("{name}x")]);
            if name.contains('.') {
                names.push(name.replace('.', "x"));
            }
        }
    }
    names
}

/// Of how many alternatives names are made.
const MOST_BRANCHES: usize = 10;

/// The alternatives that are in no parentheses.
fn branches(expression: &str) -> Vec<&str> {
    let bytes = expression.as_bytes();
    let (mut found, mut start, mut depth, mut at) = (Vec::new(), 0, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => at = end_of_bracket(bytes, at),
            b'(' if bytes[at..].starts_with(b"(?#") => at = find(bytes, at, b")"),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => {
                found.push(&expression[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    found.push(&expression[start..]);
    found
}

/// Where a bracket expression ends that begins there.
fn end_of_bracket(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    at += usize::from(bytes.get(at) == Some(&b'^'));
    at += usize::from(bytes.get(at) == Some(&b']'));
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b']', _) => return at,
            (b'\\', _) => at += 1,
            (b'[', Some(class @ (b':' | b'.' | b'='))) => {
                at = find(bytes, at + 2, &[*class, b']']) + 1;
            }
            _ => {}
        }
        at += 1;
    }
    at
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(what.len()).position(|found| found == what).map_or(bytes.len(), |at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a78_anchors_count_where_they_hold_all_alternatives() {
        for (expression, anchored) in [
            ("^a$", true),
            (r"\Aa\Z", true),
            ("^a|b$", false),
            ("^a$|^b$", true),
            ("^a$|b$", false),
            ("^(a|b)$", true),
            ("(^a|b$)", false),
            ("^a$|", false),
            ("", false),
            ("a", false),
            ("^a", false),
            (r"^a\$", false),
            (r"^a\\$", true),
            (r"^a\|b$", true),
            ("^[|]$", true),
            ("^[]|]$", true),
            ("^[^]|]$", true),
            ("^[[:alpha:]|]$", true),
            (r"^[\]|]$", true),
            (r"^a\(|b$", false),
            ("^a(?#()|b$", false),
            ("^a[(]|b$", false),
            ("***=^a$", false),
            ("(?i)^a$", false),
            ("^é|ü$", false),
            (r"^\", false),
            ("^[", false),
            ("^[[:", false),
        ] {
            assert_eq!(is_anchored(expression), anchored, "{expression}");
        }
        assert_eq!(lookalikes(r"^a|b\.c$"), ["xa", "ax", "xb.c", "b.cx", "bxc"]);
        assert_eq!(lookalikes("^a.*$"), [""; 0]);
    }
}
