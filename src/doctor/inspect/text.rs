//! An inspection as text for people, and as JSON for scripts.

use serde_json::{Value, json};

use super::{File, Inspection, Problem};
use crate::doctor::certificate::{View, line};
use crate::doctor::render;
use crate::doctor::words::{self, for_shell};
use crate::material::key_kind;
use crate::material::pkcs12::{Facts, Integrity};
use crate::material::reading::Item;
use crate::text::harmless;

impl Inspection {
    /// The files, their contents, and the judgement. Of a key it shows the type and its certificate.
    #[must_use]
    pub fn text(&self, colours: bool) -> String {
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&words::path(&file.path));
            text.push('\n');
            for item in &file.items {
                for line in self.lines(item) {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            text.push('\n');
        }
        text + &render::text(&self.report(), colours)
    }

    fn lines(&self, item: &Result<Item, Problem>) -> Vec<String> {
        match item {
            Ok(Item::Certificate(certificate)) => View::of(certificate).lines(self.now),
            Ok(Item::Key { encoding, public_key }) => {
                let whose = match self.owner(public_key) {
                    Some((file, _)) => format!("belongs to {}", words::path(&file.path)),
                    None => "belongs to no certificate here".to_owned(),
                };
                vec![line("key", &format!("{} in {encoding}, {whose}", key_kind(public_key)))]
            }
            Ok(Item::Store(facts)) => vec![line("store", &harmless(&in_words(facts)))],
            Err(problem) => vec![line("-", &harmless(&problem.text()))],
        }
    }

    /// A JSON document: `files`, each with its `items` in order, and the judgement's `sections` and `summary`.
    #[must_use]
    pub fn json(&self) -> String {
        let files: Vec<Value> = self.files.iter().map(|file| self.file_json(file)).collect();
        let mut value = render::value(&self.report());
        value["files"] = Value::Array(files);
        value.to_string()
    }

    fn file_json(&self, file: &File) -> Value {
        let items: Vec<Value> = file
            .items
            .iter()
            .map(|item| match item {
                Ok(Item::Certificate(certificate)) => {
                    json!({ "kind": "certificate", "certificate": View::of(certificate) })
                }
                Ok(Item::Key { encoding, public_key }) => json!({
                    "kind": "private-key",
                    "encoding": encoding,
                    "key": key_kind(public_key),
                    "certificate_sha256": self
                        .owner(public_key)
                        .map(|(_, fingerprint)| fingerprint.to_string().replace(':', "")),
                }),
                Ok(Item::Store(facts)) => json!({
                    "kind": "pkcs12",
                    "certificates": facts.certificates,
                    "trusted_by_java": facts.trusted,
                    "aliases": facts.aliases,
                    "locked": facts.locked,
                    "password_proven": facts.integrity == Integrity::Proven,
                }),
                Err(problem) => json!({
                    "kind": "unreadable",
                    "why": problem.text(),
                    "fix": problem.fix(&for_shell(&file.path)),
                }),
            })
            .collect();
        json!({ "path": file.path.to_string_lossy(), "items": items })
    }
}

fn in_words(facts: &Facts) -> String {
    let certificates = match (facts.certificates, facts.trusted) {
        (1, 0) => "1 certificate".to_owned(),
        (1, 1) => "1 certificate, which Java trusts".to_owned(),
        (number, 0) => format!("{number} certificates"),
        (number, trusted) => format!("{number} certificates, of which Java trusts {trusted}"),
    };
    let keys = match facts.aliases.as_slice() {
        [] => "no key".to_owned(),
        [alias] => format!("a key with the alias {alias:?}"),
        several => format!("{} keys", several.len()),
    };
    let integrity = match facts.integrity {
        Integrity::Proven => "the password is right, and nothing was changed since it was written",
        Integrity::Unchecked => "whether it was changed is not known without its password",
        Integrity::Unprotected => "nothing would show that it was changed",
    };
    format!("PKCS#12, {keys}, {certificates}; {integrity}")
}
