//! A report as text for people, and as JSON for scripts.

use std::fmt::Write as _;

use serde_json::json;

use super::finding::{Report, Severity};
use crate::finding::split_at_command;
use crate::text::harmless;

/// Width at which prose is wrapped. Remedies are not wrapped, because they are for pasting.
const WIDTH: usize = 100;
/// Column at which texts begin.
const INDENT: usize = 11;
/// Width of the column of headings.
const HEADING: usize = 14;

/// The report for people: a heading for each group, a line for each finding, and a line that counts them.
///
/// With `colours` the severity is also coloured; colour is never the only sign. Findings may contain foreign text, which is
/// escaped here, where it is printed.
#[must_use]
pub fn text(report: &Report, colours: bool) -> String {
    let mut text = String::new();
    for section in &report.sections {
        let heading = format!("{:HEADING$}{}", section.group.title(), section.subject);
        line(&mut text, &bold(harmless(heading.trim_end()).trim_end(), colours));
        for finding in &section.findings {
            let word = coloured(finding.severity, colours);
            wrapped(&mut text, &format!("  {word} "), &harmless(&finding.text));
            let indent = " ".repeat(INDENT);
            if let Some(cause) = &finding.cause {
                wrapped(&mut text, &format!("{indent}cause: "), &harmless(cause));
            }
            if let Some(fix) = &finding.fix {
                remedy(&mut text, fix, finding.command.as_deref());
            }
            // To be looked up in docs/troubleshooting.md and docs/findings.md.
            if matches!(finding.severity, Severity::Failure | Severity::Warning) {
                line(&mut text, &format!("{indent}code: {}", finding.code));
            }
        }
    }
    let _ = write!(text, "\n{}", summary(report));
    text
}

/// Prints a remedy; its command stands alone on its line, below the explanation.
fn remedy(text: &mut String, fix: &str, command: Option<&str>) {
    let indent = " ".repeat(INDENT);
    let parts = command.and_then(|command| Some((command, split_at_command(fix, command)?)));
    let Some((command, (before, after))) = parts else {
        line(text, &format!("{indent}fix: {}", harmless(fix)));
        return;
    };
    line(text, format!("{indent}fix: {}", harmless(before)).trim_end());
    line(text, &format!("{indent}  {}", harmless(command)));
    if !after.is_empty() {
        line(text, &format!("{indent}{}", harmless(after)));
    }
}

/// `1 failure, 2 warnings, 5 ok, 1 skipped`
#[must_use]
fn summary(report: &Report) -> String {
    let counted = |severity| {
        let count = report.count(severity);
        let plural = match severity {
            Severity::Failure | Severity::Warning if count != 1 => "s",
            _ => "",
        };
        format!("{count} {}{plural}", severity.name())
    };
    [Severity::Failure, Severity::Warning, Severity::Ok, Severity::Skipped].map(counted).join(", ")
}

/// The report for scripts: `sections` as in [`Report`], and the number of findings of each severity.
#[must_use]
pub fn json(report: &Report) -> String {
    value(report).to_string()
}

/// The same as a value, which more fields can be added to.
pub(super) fn value(report: &Report) -> serde_json::Value {
    let count = |severity| report.count(severity);
    json!({
        "sections": report.sections,
        "summary": {
            "failure": count(Severity::Failure),
            "warning": count(Severity::Warning),
            "ok": count(Severity::Ok),
            "skipped": count(Severity::Skipped),
        },
    })
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Writes prose below the start of its own text. Words longer than a line are not broken.
fn wrapped(text: &mut String, start: &str, prose: &str) {
    let mut current = start.to_owned();
    let mut column = if start.trim().starts_with("cause") { start.len() } else { INDENT };
    for (index, word) in prose.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 {
            if column + 1 + length > WIDTH {
                line(text, &current);
                current = " ".repeat(INDENT);
                column = INDENT;
            } else {
                current.push(' ');
                column += 1;
            }
        }
        current.push_str(word);
        column += length;
    }
    line(text, &current);
}

fn coloured(severity: Severity, colours: bool) -> String {
    let word = format!("{:8}", severity.name());
    if !colours {
        return word;
    }
    let code = match severity {
        Severity::Ok => 32,
        Severity::Warning => 33,
        Severity::Failure => 31,
        Severity::Skipped => 2,
    };
    format!("\x1b[{code}m{word}\x1b[0m")
}

fn bold(text: &str, colours: bool) -> String {
    if colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::{Code, Finding, Group, Section};

    fn report() -> Report {
        let mut section = Section::new(Group::Files, "/svids");
        section.add(Finding::ok(Code::PublishedSet, "one set"));
        section.add(
            Finding::failure(Code::KeyModeRefused, "word ".repeat(40).trim())
                .cause("a cause")
                .fix("chmod 0600 ".repeat(12)),
        );
        section.add(Finding::skipped(Code::PublishedNewest, "a thing"));
        Report { sections: vec![section] }
    }

    #[test]
    fn words_carry_the_meaning_and_colours_add_to_it() {
        let plain = text(&report(), false);
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines[0], "Files         /svids");
        assert_eq!(lines[1], "  ok       one set");
        assert!(lines[2].starts_with("  failure  word"));
        assert!(lines.iter().all(|line| line.len() <= WIDTH || line.contains("fix: ")), "{plain}");
        assert!(lines.contains(&"           cause: a cause"), "{plain}");
        assert_eq!(*lines.last().unwrap(), "1 failure, 0 warnings, 1 ok, 1 skipped");
        let coloured = text(&report(), true);
        let mut bare = coloured.clone();
        for code in ["\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
            bare = bare.replace(code, "");
        }
        assert_ne!(coloured, plain);
        assert_eq!(bare, plain);
    }

    #[test]
    fn a20_the_text_of_a_finding_begins_no_line_and_moves_no_cursor() {
        let foreign = "/c\n\nFiles         /svids\n  ok       all\u{1b}]0;x\u{7}\u{202e}\u{9b}";
        let mut section = Section::new(Group::Postgresql, foreign);
        section.add(Finding::failure(Code::PublishedSet, foreign).cause(foreign).fix(foreign));
        let report = Report { sections: vec![section] };
        let plain = text(&report, false);
        assert!(plain.split('\n').all(|line| crate::text::harmless(line) == line), "{plain:?}");
        let starts: Vec<&str> = plain.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(starts.len(), 3, "heading, blank line, summary: {plain}");
        assert!(!plain.lines().any(|line| line.starts_with("  ok")), "{plain}");
        let coloured = text(&report, true);
        assert!(!coloured.contains("\u{1b}]") && !coloured.contains('\u{202e}'), "{coloured:?}");
    }

    #[test]
    fn json_holds_the_same() {
        let value: serde_json::Value = serde_json::from_str(&json(&report())).unwrap();
        assert_eq!(value["summary"]["failure"], 1);
        assert_eq!(value["sections"][0]["group"], "files");
        assert_eq!(value["sections"][0]["findings"][1]["code"], "key-mode-refused");
        assert_eq!(value["sections"][0]["findings"][1]["severity"], "failure");
        assert_eq!(value["sections"][0]["findings"][1]["cause"], "a cause");
        assert!(value["sections"][0]["findings"][0].get("fix").is_none());
    }
}
