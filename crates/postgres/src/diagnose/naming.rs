//! Lists of names in a finding.

use pgsvid_base::text::shown;

/// How many roles are named in a finding.
pub(super) const MOST_NAMED: usize = 3;

/// The first names, and how many more there are.
pub(super) fn names<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.into_iter().collect();
    let named: Vec<String> = all.iter().take(MOST_NAMED).map(|name| shown(name)).collect();
    let more = all.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
