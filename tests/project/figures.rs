//! The figures that pages quote from docs/evidence/performance.md are the measured ones.

use crate::documentation::read;

const SOURCE: &str = "docs/evidence/performance.md";

/// The cells of the row that begins with `name` in the part after `heading`.
fn row(heading: &str, name: &str) -> Vec<String> {
    let page = read(SOURCE);
    let (_, part) = page.split_once(heading).unwrap_or_else(|| panic!("{SOURCE} has {heading}"));
    let begins = format!("| {name} |");
    let row = part.lines().find(|line| line.starts_with(&begins));
    let row = row.unwrap_or_else(|| panic!("{SOURCE}, {heading}: {begins}"));
    row.split('|').map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
}

/// 16519 → 16,519
fn grouped(digits: &str) -> String {
    let (head, tail) = digits.split_at(digits.len().saturating_sub(3));
    if head.is_empty() { tail.to_owned() } else { format!("{},{tail}", grouped(head)) }
}

/// A page with one blank between two words.
fn flowing(page: &str) -> String {
    read(page).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn pages_quote_the_measured_failures() {
    let failures = |name: &str| {
        let cells = row("### Failures during rotations", name);
        [1, 2, 3, 4].map(|at| grouped(&cells[at]))
    };
    let [connections, failed, sets, torn] = failures("script");
    let [stable, failed_stable, ..] = failures("pgsvid, stable names");
    let [service, failed_service, _, torn_service] = failures("pgsvid, service file");
    assert_eq!([failed_service.as_str(), &torn_service], ["0", "0"], "the pages say none");
    for (page, figures) in [
        (
            "README.md",
            vec![
                format!("{failed} of {connections} connections failed"),
                format!("{torn} of {sets} reads"),
                format!("{failed_stable} of {stable} connections"),
            ],
        ),
        (
            "docs/clients.md",
            vec![
                format!("{failed_stable} of {stable} connections"),
                format!("none of {service} failed"),
            ],
        ),
        (
            "docs/from-spiffe-helper.md",
            vec![
                format!("{failed} of {connections} connections"),
                format!("{torn} of {sets} reads"),
                format!("None of {service} failed"),
                format!("{failed_stable} of {stable} failed"),
            ],
        ),
    ] {
        let text = flowing(page);
        for figure in figures {
            assert!(text.contains(&figure), "{page} has not {figure:?}, which {SOURCE} has");
        }
    }
}

#[test]
fn the_page_for_users_of_spiffe_helper_quotes_the_measured_latency() {
    let cells = row("### Latency", "ext4, 0 idle sessions");
    let median = |at: usize| cells[at].split(' ').next().unwrap();
    let (pgsvid, script, debian) = (median(4), median(5), median(6));
    let page = "docs/from-spiffe-helper.md";
    let figure = format!(
        "{debian} ms median, {script} without Debian's psql wrapper ³ | {pgsvid} ms median"
    );
    assert!(flowing(page).contains(&figure), "{page} has not {figure:?}");
}

#[test]
fn digits_are_grouped_by_three() {
    assert_eq!(["7", "253", "16519", "1234567"].map(grouped), ["7", "253", "16,519", "1,234,567"]);
}
