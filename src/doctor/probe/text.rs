//! The result of a probe as text for people, and as JSON for scripts.

use serde_json::{Value, json};

use super::Seen;
use crate::doctor::certificate::{Role, View, line};
use crate::doctor::{Severity, render};
use crate::material::name_for_people;
use crate::text::ascii;
use crate::text::harmless;
use crate::timing;
use crate::verify::{Answer, Served, alert_name};

/// Most names of authorities that are shown to people.
const MOST_NAMES: usize = 16;
const TOO_LARGE: &str = "a message of more than 64 KiB in the TLS handshake";

impl Seen {
    /// What the server serves, and the judgement.
    #[must_use]
    pub fn text(&self, colours: bool) -> String {
        let mut lines = Vec::new();
        let address = ascii(&self.facts.address);
        match &self.facts.answer {
            Answer::Nothing(_) => lines.push(address),
            Answer::TooLarge => lines.push(format!("{address}  {TOO_LARGE}")),
            Answer::Refused(_) => lines.push(format!("{address}  no TLS that pgsvid supports")),
            Answer::Plaintext => lines.push(format!("{address}  no TLS")),
            Answer::Served(served) => {
                lines.push(format!("{address}  {}  {}", protocol(served), cipher(served)));
                lines.extend(View::of(&served.leaf).lines(self.at));
                lines.push(line("chain", &chain(served)));
                for certificate in &served.rest {
                    let view = View::of(certificate);
                    lines.extend(view.short_lines(self.at));
                    lines.push(line("subject", &ascii(&certificate.subject_text())));
                    lines.push(line(
                        "sha256",
                        &certificate.fingerprint().to_string().replace(':', ""),
                    ));
                }
                lines.extend(clients(served));
            }
        }
        lines.push(String::new());
        lines.join("\n") + "\n" + &render::text(&self.report(), colours)
    }

    /// One line: when, which identity, and the judgement.
    #[must_use]
    pub fn line(&self) -> String {
        let what = match &self.facts.answer {
            Answer::Nothing(why) => format!("no answer: {}", ascii(why)),
            Answer::Plaintext => "no TLS".to_owned(),
            Answer::TooLarge => TOO_LARGE.to_owned(),
            Answer::Refused(alert) => {
                format!("no TLS that pgsvid supports: alert {}", alert_name(*alert))
            }
            Answer::Served(served) => {
                let leaf = &served.leaf;
                let who = match leaf.uris() {
                    [uri] => ascii(uri),
                    _ => ascii(&leaf.subject_text()),
                };
                format!(
                    "{who}  serial {}  until {}",
                    leaf.serial().short(),
                    timing::utc(leaf.not_after())
                )
            }
        };
        let served = matches!(self.facts.answer, Answer::Served(_));
        let judged: Vec<&str> = self
            .findings
            .findings
            .iter()
            .filter(|finding| served && finding.severity == Severity::Failure)
            .map(|finding| finding.text.as_str())
            .collect();
        let judged = if judged.is_empty() {
            String::new()
        } else {
            format!("  failure: {}", harmless(&judged.join("; ")))
        };
        format!("{}  {}  {what}{judged}", timing::utc(self.at), ascii(&self.facts.address))
    }

    /// A JSON document: `at`, `address`, `answer`, what is served, and the judgement's `sections` and `summary`.
    #[must_use]
    pub fn json(&self) -> String {
        let mut value = render::value(&self.report());
        value["at"] = Value::String(timing::utc(self.at));
        value["address"] = Value::String(self.facts.address.clone());
        let (answer, why) = match &self.facts.answer {
            Answer::Nothing(why) => ("nothing", Some(why)),
            Answer::Plaintext => ("plaintext", None),
            Answer::TooLarge => ("too-large", None),
            Answer::Refused(alert) => ("refused", Some(&alert_name(*alert))),
            Answer::Served(_) => ("served", None),
        };
        value["answer"] = Value::String(answer.to_owned());
        if let Some(why) = why {
            value["why"] = Value::String(why.clone());
        }
        if let Answer::Served(served) = &self.facts.answer {
            value["protocol"] = Value::String(protocol(served));
            value["cipher"] = Value::String(cipher(served));
            let chain: Vec<View> = served.chain().map(View::of).collect();
            value["chain"] = json!(chain);
            value["client_certificates"] = json!({
                "requested": served.authorities.is_some(),
                "authorities": served.authorities.as_ref().map(|names| {
                    names.iter().map(|name| name_for_people(name)).collect::<Vec<_>>()
                }),
            });
        }
        value.to_string()
    }
}

/// `TLS 1.3`, in the form that people write.
fn protocol(served: &Served) -> String {
    served.protocol.replace("TLSv1_", "TLS 1.")
}

/// The name in the standard (RFC 8446 appendix B.4); the library adds the version to it.
fn cipher(served: &Served) -> String {
    served.cipher.replace("TLS13_", "TLS_")
}

fn chain(served: &Served) -> String {
    let count = |role| served.rest.iter().filter(|found| Role::of(found) == role).count();
    let plural = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        many => Some(format!("{many} {word}s")),
    };
    let parts: Vec<String> = [
        plural(count(Role::Leaf), "other leaf certificate"),
        plural(count(Role::Intermediate), "intermediate"),
        plural(count(Role::Root), "root"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() { "the leaf only".to_owned() } else { parts.join(", ") }
}

fn clients(served: &Served) -> Vec<String> {
    let Some(names) = &served.authorities else {
        return vec![line("clients", "no certificate requested")];
    };
    if names.is_empty() {
        return vec![line("clients", "certificate requested, from any authority")];
    }
    let mut lines = vec![line("clients", "certificate requested, from")];
    let first = names.iter().take(MOST_NAMES);
    lines.extend(first.map(|name| line("", &ascii(&name_for_people(name)))));
    if names.len() > MOST_NAMES {
        lines.push(line("", &format!("and {} more", names.len() - MOST_NAMES)));
    }
    lines
}
