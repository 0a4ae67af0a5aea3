//! The form of PostgreSQL's regular expressions (`regex/regcomp.c`, advanced ones). Only PostgreSQL's engine decides what
//! they match.

/// Whether the expression only matches whole names: each alternative begins and ends with an anchor. Expressions that begin
/// with options or a director (`(?i)`, `***=`) count as not anchored.
#[must_use]
pub fn is_anchored(expression: &str) -> bool {
    branches(expression).into_iter().all(|branch| inside(branch).is_some())
}

/// The part between the anchors of an alternative, if it has both.
fn inside(branch: &str) -> Option<&str> {
    let rest = branch.strip_prefix('^').or_else(|| branch.strip_prefix("\\A"))?;
    let inside = rest.strip_suffix('$').or_else(|| rest.strip_suffix("\\Z"))?;
    // The backslash would escape the anchor.
    let backslashes = inside.len() - inside.trim_end_matches('\\').len();
    backslashes.is_multiple_of(2).then_some(inside)
}

/// Names that are similar to the intended ones, but different: one letter longer, or with `x` for each dot. An alternative
/// gives none if it has other characters than letters, digits, blanks and `-_@=,.:/` after `^`, `$`, backslashes and `[.]`
/// are removed or replaced.
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

/// Whether the expression certainly matches only the names that it spells out: it is anchored as a whole, and consists of
/// literal characters, alternatives of them in parentheses, and at most the one part in which the names of one workload may
/// differ (`companions/role_map.rs`).
#[must_use]
pub fn is_exact(expression: &str) -> bool {
    branches(expression).into_iter().all(|branch| {
        inside(branch).is_some_and(|name| texts(&without_placeholder(name), 0).is_some())
    })
}

/// All texts that the first part in parentheses can match: PostgreSQL inserts them for `\1`. `None` if pgsvid cannot list them.
#[must_use]
pub fn first_parts(expression: &str) -> Option<Vec<String>> {
    let bytes = expression.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 1,
            b'[' => at = end_of_bracket(bytes, at),
            b'(' => break,
            _ => {}
        }
        at += 1;
    }
    texts(expression.get(at + 1..end_of_group(bytes, at)?)?, 0)
}

/// The expression without the optional part that pgsvid writes into `pg_ident.conf` (`companions/role_map.rs`): an identifier
/// before the CN of a workload, or a CN after its identifier. Other expressions are returned unchanged.
fn without_placeholder(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("(x500UniqueIdentifier=[0-9a-f]*,)?")
        && rest.starts_with("CN=")
    {
        return rest.to_owned();
    }
    let identifier = name.strip_prefix("x500UniqueIdentifier=").unwrap_or_default();
    match identifier.split_once(",(CN=[^,]*,)?") {
        Some((digits, rest))
            if digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) =>
        {
            format!("{digits},{rest}")
        }
        _ => name.to_owned(),
    }
}

/// How many names an expression may spell out.
const MOST_NAMES: usize = 1000;
/// How deeply the parentheses of an expression may be nested.
const DEEPEST: usize = 5;

/// All texts that a part matches, if it only has literal characters and alternatives of them.
fn texts(part: &str, depth: usize) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for branch in branches(part) {
        all.extend(texts_of_branch(branch, depth)?);
        if all.len() > MOST_NAMES {
            return None;
        }
    }
    Some(all)
}

fn texts_of_branch(branch: &str, depth: usize) -> Option<Vec<String>> {
    let mut found = vec![String::new()];
    let mut rest = branch;
    while let Some(first) = rest.chars().next() {
        let mut after = rest[first.len_utf8()..].chars();
        let here = match first {
            '(' if depth < DEEPEST => {
                let end = end_of_group(rest.as_bytes(), 0)?;
                after = rest[end + 1..].chars();
                texts(&rest[1..end], depth + 1)?
            }
            '[' => {
                let only = after.next().filter(|c| !"^[]\\".contains(*c))?;
                after.next().filter(|c| *c == ']')?;
                vec![only.to_string()]
            }
            // A backslash before a letter or a digit makes a class, a reference, or a character code.
            '\\' => vec![after.next().filter(|c| !c.is_alphanumeric())?.to_string()],
            '.' | '*' | '+' | '?' | '{' | '}' | '(' | ')' | ']' | '^' | '$' => return None,
            plain => vec![plain.to_string()],
        };
        if found.len() * here.len() > MOST_NAMES {
            return None;
        }
        let longer = |text: &String| -> Vec<String> {
            here.iter().map(|more| format!("{text}{more}")).collect()
        };
        found = found.iter().flat_map(longer).collect();
        rest = after.as_str();
    }
    Some(found)
}

/// The end of the parentheses that begin at `begin`.
fn end_of_group(bytes: &[u8], begin: usize) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, begin);
    loop {
        match bytes.get(at)? {
            b'\\' => at += 1,
            b'[' => at = end_of_bracket(bytes, at),
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// How many alternatives [`lookalikes`] uses.
const MOST_BRANCHES: usize = 10;

/// The alternatives outside of parentheses.
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

/// The end of the bracket expression that begins at `begin`.
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

    #[test]
    fn a93_an_expression_is_exact_only_if_it_names_its_workloads_literally() {
        let digits = "05".repeat(16);
        let ours = [
            format!("^x500UniqueIdentifier={digits},(CN=[^,]*,)?O=SPIRE,C=US$"),
            "^(x500UniqueIdentifier=[0-9a-f]*,)?CN=web[.]example,O=SPIRE,C=US$".to_owned(),
        ];
        for expression in &ours {
            assert!(is_exact(expression), "{expression}");
        }
        for (expression, exact) in [
            ("^CN=web[.]example,O=SPIRE,C=US$", true),
            (r"^CN=web\.example$", true),
            (r"\ACN=web\Z", true),
            ("^CN=(web|api)[.]example,O=(A|B|)$", true),
            ("^((a|b)|c)-é$|^d$", true),
            ("^CN=web.example$", false),
            ("^CN=(web|api).example$", false),
            ("^CN=(web.|api)$", false),
            ("^(x500UniqueIdentifier=[0-9a-f]*,)?CN=web.example,O=SPIRE,C=US$", false),
            ("^(x500UniqueIdentifier=[0-9a-f]*,)?O=SPIRE,C=US$", false),
            ("^x500UniqueIdentifier=05,(CN=[^,]*,)?O=SPIRE,C=US$", false),
            ("^(CN=[^,]*,)?O=SPIRE,C=US$", false),
            ("^CN=[a-z]{1,7}$", false),
            ("^CN=web[.x]$", false),
            ("^CN=web[^.]$", false),
            ("^CN=web[[:alpha:]]$", false),
            (r"^CN=web\w$", false),
            (r"^CN=(w)eb\1$", false),
            ("^CN=webs?$", false),
            ("^CN=(web)*$", false),
            ("^CN=web{2}$", false),
            ("^CN=web|api$", false),
            ("^(?i)web$", false),
            ("^(?:web)$", false),
            ("^(web$", false),
            ("^web)$", false),
            ("web", false),
            ("", false),
        ] {
            assert_eq!(is_exact(expression), exact, "{expression}");
        }
        assert!(!is_exact(&format!("^{}{}$", "(".repeat(9000), ")".repeat(9000))));
        assert!(!is_exact(&format!("^{}$", "(a|b)".repeat(30))));
        for (expression, parts) in [
            ("^CN=(postgres)[^,]*$", Some(&["postgres"][..])),
            (r"^.\([(].(a|b[.])c(.*)$", Some(&["a", "b."])),
            ("^CN=([^.,]+)[^,]*$", None),
            ("^(?:a)(b)$", None),
            ("^a$", None),
            ("^(a$", None),
        ] {
            let found = first_parts(expression);
            let found: Option<Vec<&str>> =
                found.as_ref().map(|found| found.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), parts, "{expression}");
        }
    }
}
