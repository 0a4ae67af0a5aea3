//! The status as lines for people: what is wrong, what is served, and where it comes from.

use std::fmt::Write as _;

use crate::status::{ConsumerView, FindingView, PublishedView, Time, View};
use crate::text::harmless;
use crate::timing::roughly;

/// Width of the first column.
const COLUMN: usize = 13;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;

/// The lines, without a newline at the end. With `colours` the first words are coloured; colour is never the only sign.
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
    // Warnings that neither `missing` nor `degraded` contains come last, because scripts look at the first word.
    let is_aside = |found: &&FindingView| found.severity == "warning" && !view.says(&found.text);
    let (aside, findings): (Vec<_>, Vec<_>) = view.findings().partition(is_aside);
    for found in findings {
        finding(view, found, "cause", &mut lines);
    }
    if let Some(retry) = view.retry() {
        lines.add("next try", None, &format!("in {}", roughly(view.at.until(retry))));
    }
    identity(view, &mut lines);
    for secret in view.consumers.iter().flat_map(|consumer| &consumer.secrets) {
        lines.add("secret", None, &secret.in_words(view.at));
    }
    for (hook, words) in view.hooks() {
        lines.add("hook", None, &format!("{}: {words}", hook.name));
    }
    for token in &view.tokens {
        lines.add("token", None, &token.in_words(view.at));
    }
    lines.add(if view.agent.is_some() { "agent" } else { "certificates" }, None, &source(view));
    lines.add("rotations", None, &rotations(view));
    if let Some(restarts) = &view.restarts {
        lines.add("daemon", None, &restarts.in_words(view.started, view.at));
    }
    for found in aside {
        finding(view, found, "warning", &mut lines);
    }
    for consumer in &view.consumers {
        if let Some(seen) = &consumer.server_side {
            let words = seen.in_words(view.at);
            lines.add("server side", None, &format!("{}{words}", view.prefix(consumer)));
        }
        if let Some(sessions) = &consumer.sessions {
            lines.add(
                "sessions",
                None,
                &format!("{}{}", view.prefix(consumer), sessions.in_words()),
            );
        }
        for words in consumer.replication.iter().flat_map(|it| it.in_words(view.at)) {
            lines.add("replication", None, &format!("{}{words}", view.prefix(consumer)));
        }
    }
    lines.text.truncate(lines.text.trim_end().len());
    lines.text
}

/// Prints a finding and its remedy.
fn finding(view: &View, found: &FindingView, word: &str, lines: &mut Lines) {
    if !view.says(found.why()) {
        lines.add(word, None, found.why());
    }
    if let Some(advice) = found.advice() {
        lines.add("fix", None, &advice);
    }
    // On a line of its own, ready to paste.
    if let Some(command) = &found.command {
        lines.add("command", None, command);
    }
}

pub(super) struct Lines {
    text: String,
    colours: bool,
}

impl Lines {
    /// No lines yet, and none in colours.
    pub(super) fn plain() -> Self {
        Self { text: String::new(), colours: false }
    }

    /// All lines, without a newline at the end.
    pub(super) fn end(self) -> String {
        self.text.trim_end().to_owned()
    }

    pub(super) fn add(&mut self, word: &str, colour: Option<u8>, sentence: &str) {
        // A word longer than its column is still followed by a blank.
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

/// Adds the line about the published set; each server has a line of its own, unless there is exactly one.
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
    let servers: Vec<_> = view.servers().collect();
    if let [consumer] = servers[..]
        && consumer.login.is_none()
        && consumer.instances.is_none()
    {
        let served = served(view, published, consumer, consumer.program());
        return lines.add(verdict(consumer), Some(colour), &format!("{set}{served}"));
    }
    lines.add("published", Some(colour), &set);
    for consumer in servers {
        let served = served(view, published, consumer, "it");
        lines.add(verdict(consumer), None, &format!("{}{served}", consumer.name));
        for instance in consumer.instances.iter().flat_map(|of| &of.instances) {
            lines.add("", None, &format!("  {}", instance.in_words(view.at)));
        }
    }
}

fn verdict(consumer: &ConsumerView) -> &str {
    consumer.verdict.as_deref().unwrap_or("unverified")
}

/// Since when a consumer serves the published set, or what it serves instead.
fn served(view: &View, published: &PublishedView, consumer: &ConsumerView, who: &str) -> String {
    let mut text = String::new();
    if let Some(login) = &consumer.login {
        return format!(": {}", login.in_words(consumer.verified, view.at));
    }
    if let Some(words) = consumer.secrets_in_words() {
        return format!(", {words}");
    }
    if let Some(of) = &consumer.instances {
        return format!(": {}", of.in_words());
    }
    match &consumer.served {
        // An earlier observation is not the present state.
        Some(served) if consumer.verdict.as_deref() == Some("unreachable") => {
            let serial: String = served.serial.chars().take(8).collect();
            let _ = match consumer.verified {
                Some(_) if served.serial == published.serial => {
                    write!(text, "; {who} does not answer; it served it when last seen")
                }
                _ => write!(
                    text,
                    "; {who} does not answer; it served serial {serial} when last seen"
                ),
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
    // A killed server sends no notice, so the line gives the age of the observation.
    if let Some(seen) = consumer.served.as_ref().and_then(|served| served.seen) {
        let _ = write!(text, ", seen {} ago", roughly(seen.until(view.at)));
    }
    if consumer.reload_pending {
        text.push_str(", reload pending");
    }
    text
}

/// The agent, or the files that are the source; and when the next identity is due.
fn source(view: &View) -> String {
    let mut text = match (&view.agent, &view.certificates) {
        (Some(agent), _) => connection(view, agent),
        (None, Some(files)) => files.words.clone(),
        (None, None) => String::new(),
    };
    if let Some(renewal) = view.renewal {
        let _ = if view.overdue {
            write!(text, ", renewal overdue for {}", roughly(renewal.until(view.at)))
        } else if renewal <= view.at {
            write!(text, ", renewal due now")
        } else {
            write!(text, ", next renewal in about {}", roughly(view.at.until(renewal)))
        };
    }
    match view.agent.as_ref().map_or(0, |agent| agent.rejected) {
        0 => {}
        1 => text.push_str(", 1 message rejected"),
        count => drop(write!(text, ", {count} messages rejected")),
    }
    text
}

fn connection(view: &View, agent: &crate::status::AgentView) -> String {
    let mut text = match agent.connected {
        Some(since) => format!("connected for {}", roughly(since.until(view.at))),
        None => agent.words.clone(),
    };
    // The rest of its state, such as why a message was rejected.
    if agent.connected.is_some()
        && let Some(rejection) = &agent.rejection
    {
        let _ = write!(text, ", {rejection}");
    }
    text
}

fn rotations(view: &View) -> String {
    let mut text = view.completed.to_string();
    if let Some(started) = view.started {
        let _ = write!(text, " since {}", moment(view.at, started));
    }
    let plural = if view.failed == 1 { "" } else { "s" };
    let _ = write!(text, ", {} failed attempt{plural}", view.failed);
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
                "serial": "07:aa:31:00", "not_after": "2026-11-24T20:34:02Z", "since": "2026-11-24T19:34:02Z", "seen": "2026-11-24T19:53:00Z",
                "authorities_by": "key",
            },
            "reload_pending": false, "problem": null, "findings": [], "retry": null, "sessions": null,
        })
    }

    /// A consumer that serves another set.
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
    fn a_client_has_a_line_with_its_login() {
        let client = json!({
            "kind": "client", "name": "app", "verdict": "admitted", "verified": "2026-11-24T19:53:00Z", "served": null,
            "reload_pending": false, "problem": null, "findings": [], "retry": null, "sessions": null,
            "login": { "role": "dbclient", "database": "products", "address": "db:5432", "readiness": false },
        });
        let text = text(&view(&json!({ "consumers": [client] })), false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("published    spiffe://example.org/"), "{text}");
        assert_eq!(
            lines[1],
            "admitted     app: dbclient in products at db:5432, last let in 2s ago"
        );
    }

    #[test]
    fn servers_of_others_have_a_line_and_one_for_each_instance() {
        let instance = |address: &str, verdict: &str, delay: serde_json::Value| {
            json!({
                "address": address, "verdict": verdict, "since": "2026-11-24T19:50:02Z", "seen": "2026-11-24T19:53:00Z",
                "serial": "07:aa:31:00", "not_after": "2026-11-24T20:34:02Z", "delay_ms": delay,
            })
        };
        let instances = [
            instance("10.0.0.1:5432", "current", json!(4200.0)),
            instance("10.0.0.2:5432", "still-old", json!(null)),
        ];
        let served = json!({
            "kind": "served", "name": "cluster", "verdict": "still-old", "verified": null, "served": null,
            "reload_pending": false, "problem": null, "findings": [], "retry": null, "sessions": null,
            "instances": { "address": "cluster-r.db:5432", "within_ms": 120_000.0, "awaited": true, "instances": instances, "left_out": 0 },
        });
        let text = text(&view(&json!({ "consumers": [consumer("postgres"), served] })), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2..5],
            [
                "still-old    cluster: 1 of 2 instances serve the published certificate; there is still time for it",
                "               10.0.0.1:5432: current for 3m, took 4s",
                "               10.0.0.2:5432: still-old for 3m, last seen with serial 07:aa:31",
            ]
        );
    }

    #[test]
    fn what_is_well_takes_three_lines() {
        assert_eq!(
            text(&view(&json!({})), false),
            "current      spiffe://example.org/ns/applications/sa/dbserver, 41m left, served by PostgreSQL since 19:34:02Z, seen 2s ago\n\
             agent        connected for 3h 12m, next renewal in about 10m 55s\n\
             rotations    214 since 2026-11-12, 0 failed attempts, median 10 ms"
        );
    }

    #[test]
    fn what_is_wrong_comes_first_and_then_what_is_done_about_it() {
        let view = view(&json!({
            "ready": false, "missing": ["PostgreSQL refused the new files"],
            "degraded": ["the agent has withdrawn the identity"], "consumers": [behind("postgres")],
            "renewal": "2026-11-24T19:43:00Z", "overdue": true, "median_ms": 3.75, "failed": 7,
        }));
        assert_eq!(
            text(&view, false),
            "not ready    PostgreSQL refused the new files\n\
             degraded     the agent has withdrawn the identity\n\
             cause        the key is owned by uid 1001\n\
             fix          run pgsvid as uid 999\n\
             next try     in 4s\n\
             still-old    spiffe://example.org/ns/applications/sa/dbserver, 41m left; PostgreSQL serves serial 06:bb:42, expired 3m ago\n\
             agent        connected for 3h 12m, renewal overdue for 10m 2s\n\
             rotations    214 since 2026-11-12, 7 failed attempts, median 3.8 ms"
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
             current      a, served by it since 19:34:02Z, seen 2s ago\n\
             still-old    b; it serves serial 06:bb:42, expired 3m ago\n\
             agent        connected for 3h 12m, next renewal in about 10m 55s\n\
             rotations    214 since 2026-11-12, 0 failed attempts, median 10 ms"
        );
    }

    #[test]
    fn hooks_have_a_line_each_and_are_no_servers() {
        let hook = |name: &str, changes: serde_json::Value| {
            let mut hook = json!({
                "kind": "hook", "name": name, "verdict": null, "verified": null, "served": null,
                "reload_pending": false, "problem": null, "findings": [], "retry": null, "sessions": null,
                "hook": {
                    "when": "published", "running": false, "pending": false, "waits_for_proof": false,
                    "generation": 214, "succeeded": "2026-11-24T19:34:02Z", "completed": 3, "failed": 1,
                },
            });
            for (key, value) in changes.as_object().unwrap() {
                hook["hook"][key] = value.clone();
            }
            hook
        };
        let mut failed = hook("d", json!({ "pending": true }));
        failed["problem"] = json!("the hook d has failed");
        let view = view(&json!({
            "degraded": ["the hook d has failed"],
            "consumers": [
                consumer("postgres"), hook("a", json!({})), hook("b", json!({ "pending": true, "running": true })),
                hook("c", json!({ "pending": true, "waits_for_proof": true, "succeeded": null })), failed,
            ],
        }));
        assert_eq!(
            text(&view, false),
            "degraded     the hook d has failed\n\
             current      spiffe://example.org/ns/applications/sa/dbserver, 41m left, served by PostgreSQL since 19:34:02Z, seen 2s ago\n\
             hook         a: succeeded 19m ago\n\
             hook         b: runs; last succeeded 19m ago\n\
             hook         c: waits for the proof that PostgreSQL serves the published certificate; has not succeeded yet\n\
             hook         d: failed; last succeeded 19m ago\n\
             agent        connected for 3h 12m, next renewal in about 10m 55s\n\
             rotations    214 since 2026-11-12, 0 failed attempts, median 10 ms"
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
