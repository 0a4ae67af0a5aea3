//! serde's messages about mistakes in the file, rewritten for people, with a value that the key accepts.

use super::error::explanation;
use super::keys::{self, Default};

/// How similar a key must be to be suggested: `Jaro-Winkler` similarity, from 0 to 1.
const NEAR: f64 = 0.75;

/// serde's `message` about a line of `text`, rewritten: it names the nearest known key instead of all keys, and adds an example
/// of a right value, because serde names types as Rust does. `line` counts from 1.
pub(super) fn explain(message: &str, text: &str, line: usize) -> String {
    let message = message.lines().collect::<Vec<_>>().join(" ");
    if let Some(unknown) = message.strip_prefix("unknown field `") {
        return explain_unknown(unknown);
    }
    let given = Given::at(text, line);
    let is_expected =
        |kinds: &[&str]| kinds.iter().any(|kind| message.contains(&format!("expected {kind}")));
    let hint = if message.contains("leading zero") {
        "a mode is written in quotes, \"0600\"".to_owned()
    } else if is_expected(&["a string", "path string"]) {
        match given.quoted() {
            Some(example) => format!("write the value in quotes, {example}"),
            None => "write the value in quotes".to_owned(),
        }
    } else if is_expected(&["u16", "usize"]) {
        format!("write a number without quotes, {}", given.number())
    } else if is_expected(&["a boolean"]) {
        "write true or false, without quotes".to_owned()
    } else if is_expected(&["a sequence"]) {
        match given.quoted() {
            Some(example) => format!("write a list, [{example}]"),
            None => "write a list, in brackets".to_owned(),
        }
    } else {
        return explanation(&message);
    };
    format!("{}; {hint}", explanation(&message))
}

/// A key of the file, and the given value.
struct Given<'a> {
    /// The key's name with its table: `files.directory`.
    key: String,
    value: &'a str,
}

impl<'a> Given<'a> {
    fn at(text: &'a str, line: usize) -> Self {
        let lines: Vec<&str> = text.lines().take(line).collect();
        let table = lines.iter().rev().find_map(|line| {
            let name = line.trim().strip_prefix('[')?.trim_start_matches('[');
            (!line.contains('=')).then(|| name.split(']').next().unwrap_or_default().trim())
        });
        let last = lines.last().copied().unwrap_or_default();
        let (key, value) = last.split_once('=').unwrap_or((last, ""));
        let key = key.trim();
        let key = table.map_or_else(|| key.to_owned(), |table| format!("{table}.{key}"));
        Self { key, value: value.split('#').next().unwrap_or_default().trim() }
    }

    /// The default, if it is one value.
    fn default(&self) -> Option<&'static str> {
        let known = keys::ALL.iter().find(|known| known.name == self.key)?;
        match known.default {
            Default::Text(text) | Default::Bare(text) => Some(text),
            Default::Required | Default::Words(_) => None,
        }
    }

    /// The value in quotation marks if the key accepts that, otherwise one that it accepts.
    fn quoted(&self) -> Option<String> {
        let number = self.value.parse::<u32>().ok();
        let example = match self.key.as_str() {
            "workload_api.endpoint" => "unix:///run/spire/agent/public/api.sock".to_owned(),
            "svid.spiffe_id" | "roles.spiffe_id" => "spiffe://example.org/db".to_owned(),
            "health.listen" => format!("127.0.0.1:{}", number.unwrap_or(9809)),
            "files.private_key_mode" | "files.certificate_mode" => match number {
                Some(mode) if mode < 1000 => format!("{mode:04}"),
                _ => self.default().unwrap_or("0600").to_owned(),
            },
            "postgres.verify_every" | "files.publish_every" => match number {
                Some(seconds) => format!("{seconds}s"),
                None => self.default()?.to_owned(),
            },
            "postgres.host" | "postgres.verify" | "log.format" | "log.level" => {
                self.default()?.to_owned()
            }
            "files.directory" | "files.seen_as" => "/var/lib/pgsvid".to_owned(),
            _ => {
                let value = self.value.trim_matches(['"', '\'']);
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
                if value.is_empty() || !value.chars().all(is_plain) {
                    return None;
                }
                value.to_owned()
            }
        };
        Some(format!("{:?}", explanation(&example)))
    }

    /// The value without quotation marks if it is a number, otherwise one that the key accepts.
    fn number(&self) -> String {
        let value = self.value.trim_matches(['"', '\'']);
        let is_number = value.parse::<u16>().is_ok();
        if is_number { value.to_owned() } else { self.default().unwrap_or("5432").to_owned() }
    }
}

/// `unknown`: "unknown field `…`, expected one of `…`, `…`", without its beginning. The key itself may contain anything.
fn explain_unknown(unknown: &str) -> String {
    let (unknown, known) = unknown.rsplit_once("`, expected ").unwrap_or((unknown, ""));
    let unknown = explanation(unknown);
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(&unknown, known), known))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, nearest)) => {
            format!("unknown key `{unknown}`; the nearest known key is `{nearest}`")
        }
        None => format!("unknown key `{unknown}`; known here: {}", known.join(", ")),
    }
}
