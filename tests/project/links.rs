//! What pages point to is there: other pages and their headings, and tests.

use std::collections::BTreeSet;

use crate::documentation::{blocks, files_with, pages, read, root};

#[test]
fn relative_links_lead_somewhere() {
    let mut checked = 0;
    for (page, text) in pages() {
        let (_, prose) = blocks(&text);
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let (_, target) = blocks(&read(&target));
                let found =
                    target.lines().any(|line| line.starts_with('#') && slug(line) == anchor);
                assert!(found, "{}: {link}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}

/// The name that a heading gets as a target of links.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// docs/security.md names the test of each claim.
#[test]
fn every_test_that_the_page_about_security_names_exists() {
    let sources: String = ["src", "tests", "crates"]
        .into_iter()
        .flat_map(|directory| files_with("rs", &root().join(directory)))
        .map(read)
        .collect();
    let page = read("docs/security.md");
    let is_name = |word: &&str| {
        word.matches('_').count() > 2
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let names: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let is_there =
            sources.contains(&format!("fn {name}(")) || sources.contains(&format!("\"{name}\""));
        assert!(is_there, "there is no test {name}");
    }
}
