//! `pg_hba.conf` and `pg_ident.conf`: any text, and lines that are known to say something.
//!
//! `tests/postgresql/foreign_files.rs` shows the same texts to PostgreSQL itself.

use pgsvid::sql::{Address, HbaRule, Line, Mapping, parse_hba, parse_ident};

use super::edits::Choices;

/// Most lines of one file.
const MOST_LINES: usize = 20;

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    if choices.yes() {
        known_lines(&mut choices);
    } else {
        any_text(&String::from_utf8_lossy(choices.rest()));
    }
}

fn any_text(text: &str) {
    let lines = text.lines().count();
    let mut before = 0;
    for line in parse_hba(text) {
        let Line::Entry(rule) = line else { continue };
        let number = usize::try_from(rule.line).unwrap();
        assert!(before < number && number <= lines, "{rule:?}");
        before = number;
        assert_rule(&rule);
    }
    let mut before = 0;
    for line in parse_ident(text) {
        let Line::Entry(mapping) = line else { continue };
        let number = usize::try_from(mapping.line).unwrap();
        assert!(before < number && number <= lines, "{mapping:?}");
        before = number;
    }
}

fn assert_rule(rule: &HbaRule) {
    let kinds = ["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"];
    assert!(kinds.contains(&rule.kind.as_str()), "{rule:?}");
    assert!(!rule.databases.is_empty() && !rule.users.is_empty(), "{rule:?}");
    assert_eq!(rule.address.is_none(), rule.kind == "local", "{rule:?}");
    assert!(!(rule.kind == "local" && rule.matches_tls()));
    if let Some(address) = &rule.address {
        assert!(address.includes(address) && Address::All.includes(address), "{rule:?}");
        if let Address::Network(network, mask) = address {
            assert!(network.is_ipv6() || *mask <= u32::MAX.into(), "{rule:?}");
            assert_eq!(address.holds(*network), Some(true), "{rule:?}");
        }
    }
    for option in &rule.options {
        if let Some((name, value)) = option.split_once('=') {
            let mut all = rule.options.iter().rev();
            let last = all.find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
            assert!(rule.option(name) == last && last.is_some(), "{value}");
        }
    }
}

/// Writes lines by the rules of the manual, and expects them to be read as they were meant.
fn known_lines(choices: &mut Choices<'_>) {
    let (mut hba, mut ident) = (String::new(), String::new());
    let (mut rules, mut mappings) = (Vec::new(), Vec::new());
    let mut line = 1;
    while !choices.is_empty() && rules.len() < MOST_LINES {
        let (known, text) = known_rule(choices, line);
        rules.push(Line::Entry(known));
        hba.push_str(&text);
        let words: Vec<String> = (0..3).map(|_| word(choices)).collect();
        let fields: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let [map, system_user, role] = words.try_into().unwrap();
        // The same number of lines as the rule has.
        let gap = text.matches('\n').count();
        ident.push_str(&(fields.join("\t") + &"\n".repeat(gap)));
        mappings.push(Line::Entry(Mapping { line, file: None, map, system_user, role }));
        line += u32::try_from(gap).unwrap();
    }
    let read: Vec<Line<HbaRule>> = parse_hba(&hba).into_iter().map(plain).collect();
    assert_eq!(read, rules, "{hba}");
    assert_eq!(parse_ident(&ident), mappings, "{ident}");
}

fn known_rule(choices: &mut Choices<'_>, line: u32) -> (HbaRule, String) {
    let shape = choices.byte();
    let kind = ["local", "host", "hostssl", "hostnossl"][usize::from(shape) % 4];
    let many = |choices: &mut Choices<'_>| -> Vec<String> {
        (0..=choices.byte() % 3).map(|_| word(choices)).collect()
    };
    let (databases, users) = (many(choices), many(choices));
    let (place, address) = match shape >> 2 & 3 {
        0 => ("all", Address::All),
        1 => ("10.1.0.0/16", Address::network([10, 1, 0, 0].into(), 16)),
        2 => ("fd00::  ffff::", Address::network("fd00::".parse().unwrap(), 16)),
        _ => (".example.org", Address::Name(".example.org".to_owned())),
    };
    let options: Vec<String> =
        (0..choices.byte() % 3).map(|_| format!("map={}", word(choices))).collect();
    let gap = ["  ", "\t", " \\\n ", "\r "][usize::from(shape >> 4 & 3)];
    let list = |words: &[String], comma: &str| {
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(comma)
    };
    let comma = if shape & 0x40 == 0 { "," } else { ",  " };
    let mut fields = vec![kind.to_owned(), list(&databases, comma), list(&users, comma)];
    if kind != "local" {
        fields.push(place.to_owned());
    }
    let method = match kind {
        "local" => "peer",
        "hostssl" => "cert",
        _ => "ident",
    };
    fields.push(method.to_owned());
    fields.extend(options.iter().map(|option| quoted(option)));
    let end = if shape & 0x80 == 0 { "\n" } else { " # \"a comment\", to the end\r\n" };
    let rule = HbaRule {
        line,
        file: None,
        kind: kind.to_owned(),
        databases,
        users,
        address: (kind != "local").then_some(address),
        method: method.to_owned(),
        options,
        quotes_known: true,
    };
    (rule, fields.join(gap) + end)
}

/// A word of letters that mean something elsewhere in a line.
fn word(choices: &mut Choices<'_>) -> String {
    let letters =
        ['a', 'é', ' ', ',', '#', '=', '"', '\t', '/', '\\', '@', '+', '\u{a0}', '%', 'Z', '0'];
    let inner: String =
        choices.bytes().iter().take(40).map(|byte| letters[usize::from(byte % 16)]).collect();
    format!("w{inner}w")
}

/// In quotation marks, with those within doubled (PostgreSQL manual, "The `pg_hba.conf` File").
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

/// Without the quotation marks that were kept.
fn plain(line: Line<HbaRule>) -> Line<HbaRule> {
    let bare = |words: Vec<String>| -> Vec<String> {
        let bare =
            |word: String| match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
                Some(bare) => bare.to_owned(),
                None => word,
            };
        words.into_iter().map(bare).collect()
    };
    match line {
        Line::Entry(rule) => Line::Entry(HbaRule {
            databases: bare(rule.databases),
            users: bare(rule.users),
            ..rule
        }),
        other => other,
    }
}
