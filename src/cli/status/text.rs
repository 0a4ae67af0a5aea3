//! The status as lines for people: what is wrong, if something is; what is served; and what it comes from.

use std::fmt::Write as _;
use std::time::Duration;

use crate::status::{ConsumerView, PublishedView, Time, View};
use crate::text::harmless;
use crate::timing::roughly;

/// Width of the column of words.
const COLUMN: usize = 13;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;

/// The lines, without a break at the end. With `colours` the first words are coloured, too; they are never only coloured.
pub(super) fn text(view: &View, colours: bool) -> String {
    let mut lines = Lines { text: String::new(), colours };
    let mut missing = view.missing.iter();
    if let Some(first) = missing.next() {
        lines.add("not ready", Some(RED), first);
    }
    for another in missing {
        lines.add("", None, another);
    }
    for degraded in &view.degraded {
        lines.add("degraded", Some(YELLOW), degraded);
    }
    for found in view.consumers.iter().flat_map(|consumer| &consumer.findings) {
        lines.add("cause", None, found.why());
        if let Some(fix) = &found.fix {
            lines.add("fix", None, fix);
        }
    }
    if let Some(retry) = view.retry() {
        lines.add("next try", None, &format!("in {}", roughly(view.at.until(retry))));
    }
    identity(view, &mut lines);
    lines.add("agent", None, &agent(view));
    lines.add("rotations", None, &rotations(view));
    for consumer in &view.consumers {
        if let Some(sessions) = &consumer.sessions {
            lines.add(
                "sessions",
                None,
                &format!("{}{}", view.prefix(consumer), sessions.in_words()),
            );
        }
    }
    lines.text.truncate(lines.text.trim_end().len());
    lines.text
}

struct Lines {
    text: String,
    colours: bool,
}

impl Lines {
    fn add(&mut self, word: &str, colour: Option<u8>, sentence: &str) {
        // A word that is longer than its column is set apart nevertheless.
        let mut word = format!("{:<COLUMN$}", harmless(word));
        if !word.ends_with(' ') && !word.is_empty() {
            word.push_str("  ");
        }
        if let Some(code) = colour.filter(|_| self.colours) {
            let bare = word.trim_end();
            word = format!("\x1b[{code}m{bare}\x1b[0m{}", &word[bare.len()..]);
        }
        let _ = writeln!(self.text, "{word}{}", harmless(sentence));
    }
}

/// What is published, and what becomes of it: in one line where one consumer takes it.
fn identity(view: &View, lines: &mut Lines) {
    let Some(published) = view.published() else { return };
    let colour = if !view.ready {
        RED
    } else if view.degraded.is_empty() {
        GREEN
    } else {
        YELLOW
    };
    let set = format!("{}, {}", published.spiffe_id, left(view.at, published.not_after));
    if let [consumer] = &view.consumers[..] {
        let served = served(view, published, consumer, "PostgreSQL");
        return lines.add(verdict(consumer), Some(colour), &format!("{set}{served}"));
    }
    lines.add("published", Some(colour), &set);
    for consumer in &view.consumers {
        let served = served(view, published, consumer, "it");
        lines.add(verdict(consumer), None, &format!("{}{served}", consumer.name));
    }
}

fn verdict(consumer: &ConsumerView) -> &str {
    consumer.verdict.as_deref().unwrap_or("unverified")
}

/// Since when a consumer serves what is published, or what it serves instead.
fn served(view: &View, published: &PublishedView, consumer: &ConsumerView, who: &str) -> String {
    let mut text = String::new();
    match &consumer.served {
        // What was seen before is not what is.
        Some(served) if consumer.verdict.as_deref() == Some("unreachable") => {
            let serial: String = served.serial.chars().take(8).collect();
            let _ = match consumer.verified {
                Some(at) if served.serial == published.serial => {
                    write!(text, "; {who} last seen to serve it at {}", moment(view.at, at))
                }
                _ => write!(text, "; {who} last seen to serve serial {serial}"),
            };
        }
        Some(served) if served.serial == published.serial => {
            let _ = write!(text, ", served by {who} since {}", moment(view.at, served.since));
        }
        Some(served) => {
            let serial: String = served.serial.chars().take(8).collect();
            let left = left(view.at, served.not_after);
            let _ = write!(text, "; {who} serves serial {serial}, {left}");
        }
        None => {}
    }
    if consumer.reload_pending {
        text.push_str(", reload pending");
    }
    text
}

fn agent(view: &View) -> String {
    let agent = &view.agent;
    let mut text = match agent.connected {
        Some(since) => format!("connected for {}", roughly(since.until(view.at))),
        None => agent.words.clone(),
    };
    // What it says beside that, such as why a message was rejected.
    if agent.connected.is_some()
        && let Some(rejection) = &agent.rejection
    {
        let _ = write!(text, ", {rejection}");
    }
    if let Some(renewal) = view.renewal {
        let due = view.at.until(renewal);
        let overdue = renewal.until(view.at);
        let _ = if overdue > Duration::from_secs(60) {
            write!(text, ", next renewal overdue for {}", roughly(overdue))
        } else {
            write!(text, ", next renewal in about {}", roughly(due))
        };
    }
    match agent.rejected {
        0 => {}
        1 => text.push_str(", 1 message rejected"),
        count => drop(write!(text, ", {count} messages rejected")),
    }
    text
}

fn rotations(view: &View) -> String {
    let mut text = view.completed.to_string();
    if let Some(started) = view.started {
        let _ = write!(text, " since {}", moment(view.at, started));
    }
    let _ = write!(text, ", {} failed", view.failed);
    if let Some(median) = view.median_ms {
        let _ = if median < 10.0 {
            write!(text, ", median {median:.1} ms")
        } else {
            write!(text, ", median {median:.0} ms")
        };
    }
    text
}

fn left(now: Time, end: Time) -> String {
    if end > now {
        format!("{} left", roughly(now.until(end)))
    } else {
        format!("expired {} ago", roughly(end.until(now)))
    }
}

/// The time of today, or the date of another day.
fn moment(now: Time, time: Time) -> String {
    let (now, time) = (now.to_string(), time.to_string());
    match (now.split_once('T'), time.split_once('T')) {
        (Some((today, _)), Some((day, hour))) if today == day => hour.to_owned(),
        (_, Some((day, _))) => day.to_owned(),
        _ => time,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn consumer(name: &str) -> serde_json::Value {
        json!({
            "kind": "postgres", "name": name, "verdict": "current", "verified": "2026-11-24T19:53:00Z",
            "served": {
                "serial": "07:aa:31:00", "not_after": "2026-11-24T20:34:02Z", "since": "2026-11-24T19:34:02Z", "authorities_by": "key",
            },
            "reload_pending": false, "problem": null, "findings": [], "retry": null, "sessions": null,
        })
    }

    /// One that serves something else.
    fn behind(name: &str) -> serde_json::Value {
        let mut consumer = consumer(name);
        consumer["verdict"] = json!("still-old");
        consumer["retry"] = json!("2026-11-24T19:53:06Z");
        consumer["findings"] = json!([{
            "code": "key-owner-refused", "severity": "failure", "text": "the key is owned by uid 1001", "fix": "run pgsvid as uid 999",
        }]);
        consumer["served"] = json!({
            "serial": "06:bb:42:11", "not_after": "2026-11-24T19:50:02Z", "since": "2026-11-24T19:00:00Z", "authorities_by": "key",
        });
        consumer
    }

    fn view(changes: &serde_json::Value) -> View {
        let mut view = json!({
            "version": "0.1.0", "at": "2026-11-24T19:53:02Z", "started": "2026-11-12T08:00:00Z",
            "ready": true, "missing": [], "degraded": [],
            "targets": [{
                "kind": "directory", "name": "/run/pgsvid", "displaced": null, "problem": null, "retry": null,
                "published": {
                    "generation": 214, "spiffe_id": "spiffe://example.org/ns/applications/sa/dbserver",
                    "serial": "07:aa:31:00", "sha256": "00", "not_before": "2026-11-24T19:33:52Z",
                    "not_after": "2026-11-24T20:34:02Z", "authorities_not_after": null,
                },
            }],
            "consumers": [consumer("postgres")],
            "agent": {
                "connection": "streaming", "words": "connected", "connects": 1,
                "connected": "2026-11-24T16:41:02Z", "rejected": 0, "withdrawn": false,
            },
            "renewal": "2026-11-24T20:03:57Z", "completed": 214, "pending": 3, "failed": 0,
            "median_ms": 10.2, "history": [],
        });
        for (key, value) in changes.as_object().unwrap() {
            view[key] = value.clone();
        }
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn what_is_well_takes_three_lines() {
        assert_eq!(
            text(&view(&json!({})), false),
            "current      spiffe://example.org/ns/applications/sa/dbserver, 41m left, served by PostgreSQL since 19:34:02Z\n\
             agent        connected for 3h 12m, next renewal in about 10m 55s\n\
             rotations    214 since 2026-11-12, 0 failed, median 10 ms"
        );
    }

    #[test]
    fn what_is_wrong_comes_first_and_then_what_is_done_about_it() {
        let view = view(&json!({
            "ready": false, "missing": ["PostgreSQL refused the new files"],
            "degraded": ["the agent has withdrawn the identity"], "consumers": [behind("postgres")],
            "renewal": "2026-11-24T19:43:00Z", "median_ms": 3.75, "failed": 7,
        }));
        assert_eq!(
            text(&view, false),
            "not ready    PostgreSQL refused the new files\n\
             degraded     the agent has withdrawn the identity\n\
             cause        the key is owned by uid 1001\n\
             fix          run pgsvid as uid 999\n\
             next try     in 4s\n\
             still-old    spiffe://example.org/ns/applications/sa/dbserver, 41m left; PostgreSQL serves serial 06:bb:42, expired 3m ago\n\
             agent        connected for 3h 12m, next renewal overdue for 10m 2s\n\
             rotations    214 since 2026-11-12, 7 failed, median 3.8 ms"
        );
    }

    #[test]
    fn several_consumers_have_a_line_each() {
        let view = view(&json!({
            "ready": false, "missing": ["b: PostgreSQL refused the new files"],
            "consumers": [consumer("a"), behind("b")],
        }));
        assert_eq!(
            text(&view, false),
            "not ready    b: PostgreSQL refused the new files\n\
             cause        the key is owned by uid 1001\n\
             fix          run pgsvid as uid 999\n\
             next try     in 4s\n\
             published    spiffe://example.org/ns/applications/sa/dbserver, 41m left\n\
             current      a, served by it since 19:34:02Z\n\
             still-old    b; it serves serial 06:bb:42, expired 3m ago\n\
             agent        connected for 3h 12m, next renewal in about 10m 55s\n\
             rotations    214 since 2026-11-12, 0 failed, median 10 ms"
        );
    }

    #[test]
    fn colours_add_to_the_words_and_foreign_text_adds_none() {
        let evil = "\u{1b}[2J\nready";
        for changes in [
            json!({}),
            json!({ "degraded": [evil] }),
            json!({ "ready": false, "missing": [evil, evil], "consumers": [consumer(evil), behind(evil)] }),
            json!({ "targets": [], "consumers": [] }),
        ] {
            let view = view(&changes);
            let plain = text(&view, false);
            assert!(!plain.contains('\u{1b}'), "{plain}");
            let mut bare = text(&view, true);
            for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
                bare = bare.replace(code, "");
            }
            assert_eq!(bare, plain);
        }
        assert!(text(&view(&json!({})), true).starts_with("\x1b[32mcurrent\x1b[0m      spiffe:"));
    }

    #[test]
    fn a_terminal_is_redrawn_in_place() {
        use super::super::{Format, frame};
        assert_eq!(frame("a\nb", Format::Text, true), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(frame("a\nb", Format::Text, false), "a\nb\n\n");
        assert_eq!(frame("{}", Format::Json, true), "{}\n");
    }
}
