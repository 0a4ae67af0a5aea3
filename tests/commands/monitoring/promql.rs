//! The names in a `PromQL` expression: metrics with their matchers, and labels to group by. It parses no more of the
//! language; Prometheus itself says whether an expression is valid.

/// A metric, and what its labels must be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) name: String,
    /// Label, operator, value.
    pub(crate) matchers: Vec<(String, String, String)>,
}

/// Everything that an expression names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) groups: Vec<String>,
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// Reads an expression.
pub(crate) fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let (word, after) = identifier(rest);
        if word.is_empty() {
            rest = match first {
                '"' => rest[1..].split_once('"').map_or("", |(_, after)| after),
                '[' => rest.split_once(']').map_or("", |(_, after)| after),
                // A number, and what is attached to it.
                '0'..='9' => rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '.'),
                _ => &rest[first.len_utf8()..],
            };
            continue;
        }
        rest = after;
        let next = after.trim_start();
        if GROUPING.contains(&word) {
            if let Some((inside, after)) = inside(next, '(', ')') {
                names.groups.extend(
                    inside
                        .split(',')
                        .map(|label| label.trim().to_owned())
                        .filter(|l| !l.is_empty()),
                );
                rest = after;
            }
            continue;
        }
        // A function, or an aggregation, whose grouping comes before what it is about.
        let acts = next.starts_with('(') || ["by", "without"].contains(&identifier(next).0);
        if !OPERATORS.contains(&word) && !acts {
            let mut matchers = Vec::new();
            if let Some((inside, after)) = inside(next, '{', '}') {
                matchers = matchers_in(inside);
                rest = after;
            }
            names.selectors.push(Selector { name: word.to_owned(), matchers });
        }
    }
    names
}

fn identifier(text: &str) -> (&str, &str) {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if begins { text.split_at(end) } else { ("", text) }
}

fn inside(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    text.strip_prefix(open)?.split_once(close)
}

fn matchers_in(text: &str) -> Vec<(String, String, String)> {
    // Values are the parts between quotation marks; none of ours holds an escaped one.
    let parts: Vec<&str> = text.split('"').collect();
    parts
        .chunks_exact(2)
        .map(|pair| {
            let (label, operator) = identifier(pair[0].trim_start_matches([',', ' ']));
            (label.to_owned(), operator.trim().to_owned(), pair[1].to_owned())
        })
        .collect()
}

#[test]
fn an_expression_is_taken_apart() {
    let found = names(
        "100 * sum by (le, step) (increase(a_total{x=\"1\", y=~\"b.*\"}[5m])) and on (job) c{} > 0.25 unless ignoring (d) e",
    );
    let selectors: Vec<_> = found.selectors.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(selectors, ["a_total", "c", "e"]);
    let text = |text: &str| text.to_owned();
    assert_eq!(
        found.selectors[0].matchers,
        [(text("x"), text("="), text("1")), (text("y"), text("=~"), text("b.*"))]
    );
    assert_eq!(found.groups, ["le", "step", "job", "d"]);
}
