//! The page for people: one document, without scripts, that loads nothing. It reloads itself every ten seconds.
//!
//! The template escapes every text, because servers and agents wrote some of them.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::status::{AttemptView, ConsumerView, FindingView, PublishedView, Time, View};
use crate::timing;

const STYLE: &str = include_str!("page.css");
/// Seconds until the page reloads.
const REFRESH: u32 = 10;
/// Width of the timeline's bars, in its own units.
const WIDTH: f64 = 480.0;
/// Height of one bar with its texts, which are larger on a phone.
const ROW: usize = 42;

/// The whole page.
pub(super) fn page(view: &View) -> String {
    let (class, word, sentence) = state(view);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content=(REFRESH);
                title { (word) " · pgsvid" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header class=(class) {
                        p.word { (word) }
                        h1 { (sentence) }
                        @for text in view.missing.iter().chain(&view.degraded).filter(|text| **text != sentence) {
                            p { (text) }
                        }
                        @for found in view.findings() { (finding(view, found)) }
                        @if let Some(retry) = view.retry() {
                            p.quiet { "Next try " (moment(view.at, retry)) }
                        }
                    }
                    @if let Some(published) = view.published() { (timeline(view, published)) }
                    (facts(view))
                    (history(view))
                    footer {
                        "pgsvid " (view.version) " · " (view.at) " · "
                        a href="/metrics" { "metrics" } " · " a href="/status" { "JSON" }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// A CSS class, a word and a sentence.
fn state(view: &View) -> (&'static str, &'static str, String) {
    if let Some(missing) = view.missing.first() {
        return ("bad", "Not ready", missing.clone());
    }
    if let Some(degraded) = view.degraded.first() {
        return ("fair", "Degraded", degraded.clone());
    }
    let unseen = |it: &&ConsumerView| it.verdict.as_deref() == Some("unverifiable");
    let sentence = if let Some(it) = view.servers().find(unseen) {
        let program = it.program();
        if it.login.is_some() {
            "A valid identity is published; pgsvid cannot try a login as the client".to_owned()
        } else if it.instances.is_some() {
            "A valid identity is published; pgsvid cannot see what an instance serves".to_owned()
        } else {
            format!("A valid identity is published; pgsvid cannot see what {program} serves")
        }
    } else {
        let serves = |it: &&ConsumerView| it.serves();
        let mut programs: Vec<&str> =
            view.servers().filter(serves).map(ConsumerView::program).collect();
        programs.dedup();
        match programs[..] {
            [] if view.servers().any(|it| it.login.is_some()) => {
                "A valid identity is published, and lets the client in".to_owned()
            }
            [] if view.servers().any(|it| it.verdict.as_deref() == Some("standby")) => {
                "Another replica writes the Secrets".to_owned()
            }
            [] if view.servers().any(|it| it.verdict.as_deref() == Some("current")) => {
                "A valid identity is published, and every instance serves it".to_owned()
            }
            [] if view.servers().any(|it| !it.secrets.is_empty()) => {
                "Each Secret holds a valid identity".to_owned()
            }
            [] => "A valid identity is published".to_owned(),
            [one] => format!("{one} serves the published certificate"),
            _ => format!("{} serve the published certificate", programs.join(" and ")),
        }
    };
    ("good", "Ready", sentence)
}

fn finding(view: &View, found: &FindingView) -> Markup {
    html! {
        dl.finding {
            @if !view.says(found.why()) { div { dt { "Cause" } dd { (found.why()) } } }
            @if found.fix.is_some() {
                div {
                    dt { "Fix" }
                    dd {
                        @if let Some(advice) = found.advice() { p { (advice) } }
                        @if let Some(command) = &found.command { code { (command) } }
                    }
                }
            }
            div { dt { "Code" } dd { (found.code) } }
        }
    }
}

/// One bar for each thing that expires, on a common scale that starts with the certificate's validity.
fn timeline(view: &View, published: &PublishedView) -> Markup {
    let begin = published.not_before;
    let scale = begin.until(published.not_after).max(Duration::from_secs(1)).mul_f64(1.15);
    let at = |time: Time| {
        (begin.until(time).as_secs_f64() / scale.as_secs_f64() * WIDTH).clamp(0.0, WIDTH)
    };
    let mut rows = vec![("published".to_owned(), Some(begin), Some(published.not_after))];
    for consumer in view.servers().filter(|it| it.serves()) {
        let served = consumer.served.as_ref();
        let word = if answers(consumer) { "served" } else { "last seen" };
        let name = match view.servers().count() {
            1 => word.to_owned(),
            _ => format!("{word} by {}", consumer.name),
        };
        rows.push((name, served.map(|_| begin), served.map(|served| served.not_after)));
    }
    rows.push(("authorities".to_owned(), Some(begin), published.authorities_not_after));
    let height = 24 + rows.len() * ROW;
    let now = at(view.at);
    let (anchor, shift) = if now > WIDTH / 2.0 { ("end", 4.0) } else { ("start", -1.0) };
    let units = |length: f64| format!("{length:.1}");
    html! {
        section {
            h2 { "Validity" }
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img"
                aria-label="Validity of what is published and served" {
                @for (row, (name, from, to)) in rows.into_iter().enumerate() {
                    @let y = row * ROW;
                    text x="0" y=(y + 18) { (name) }
                    text x=(WIDTH) y=(y + 18) text-anchor="end" { (left(view.at, to)) }
                    rect.track x="0" y=(y + 26) width=(WIDTH) height="8" rx="4" {}
                    @if let (Some(from), Some(to)) = (from, to) {
                        rect.bar.over[to <= view.at] x=(units(at(from))) y=(y + 26)
                            width=(units(at(to) - at(from))) height="8" rx="4" {}
                    }
                    line.now x1=(units(now)) y1=(y + 23) x2=(units(now)) y2=(y + 37) {}
                }
                text.now x=(units(now + shift)) y=(height - 4) text-anchor=(anchor) { "now" }
            }
        }
    }
}

/// How much of a validity is left.
fn left(now: Time, to: Option<Time>) -> String {
    match to {
        None => "nothing".to_owned(),
        Some(to) if to > now => format!("{} left", timing::roughly(now.until(to))),
        Some(to) => format!("expired {} ago", timing::roughly(to.until(now))),
    }
}

fn facts(view: &View) -> Markup {
    let mut rows = Vec::new();
    if let Some(published) = view.published() {
        rows.push(("Identity", html! { code { (breakable(&published.spiffe_id)) } }));
        rows.push(("Certificate", certificate(view.at, published)));
    }
    for consumer in view.servers() {
        rows.push((consumer.program(), server(view, consumer)));
        for instance in consumer.instances.iter().flat_map(|of| &of.instances) {
            rows.push(("Instance", html! { (breakable(&instance.in_words(view.at))) }));
        }
    }
    for secret in view.consumers.iter().flat_map(|consumer| &consumer.secrets) {
        rows.push(("Secret", html! { (breakable(&secret.in_words(view.at))) }));
    }
    for (hook, words) in view.hooks() {
        rows.push(("Hook", html! { (hook.name) ": " (words) }));
    }
    for token in &view.tokens {
        rows.push(("Token", html! { (breakable(&token.in_words(view.at))) }));
    }
    if let Some(found) = &view.agent {
        rows.push(("Agent", agent(view, found)));
    }
    if let Some(found) = &view.certificates {
        rows.push(("Certificates", html! { (breakable(&found.words)) }));
    }
    if let Some(renewal) = view.renewal {
        let due = html! {
            @if renewal > view.at { "due " (moment(view.at, renewal)) }
            @else if view.overdue { "overdue for " (timing::roughly(renewal.until(view.at))) }
            @else { "due now" }
        };
        rows.push((
            "Renewal",
            html! { (due) @if view.certificates.is_none() { ", at half of the lifetime" } },
        ));
    }
    for consumer in &view.consumers {
        if let Some(seen) = &consumer.server_side {
            rows.push(("Server side", html! { (view.prefix(consumer)) (seen.in_words(view.at)) }));
        }
        if let Some(sessions) = &consumer.sessions {
            rows.push(("Sessions", html! { (view.prefix(consumer)) (sessions.in_words()) }));
        }
        for words in consumer.replication.iter().flat_map(|it| it.in_words(view.at)) {
            rows.push(("Replication", html! { (view.prefix(consumer)) (words) }));
        }
    }
    let median = view.median_ms.map(|median| format!(", median {median:.1} ms"));
    rows.push((
        "Rotations",
        html! { (view.completed) " completed, " (view.failed) " failed attempts" (median.unwrap_or_default()) },
    ));
    if let Some(restarts) = &view.restarts {
        rows.push(("Daemon", html! { (restarts.in_words(view.started, view.at)) }));
    }
    html! {
        section {
            h2 { "Now" }
            dl { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } }
        }
    }
}

fn certificate(now: Time, published: &PublishedView) -> Markup {
    html! {
        code { (short(&published.serial)) } ", "
        @if published.not_after > now { "expires " } @else { "expired " }
        (moment(now, published.not_after)) " "
        span.quiet { "(" (published.not_after) ")" }
    }
}

fn server(view: &View, consumer: &ConsumerView) -> Markup {
    html! {
        (view.prefix(consumer))
        (consumer.verdict.as_deref().unwrap_or("not verified yet"))
        @if let Some(login) = &consumer.login { ": " (login.in_words(consumer.verified, view.at)) }
        @if let Some(words) = consumer.secrets_in_words() { ", " (words) }
        @if let Some(of) = &consumer.instances { ": " (of.in_words()) }
        @if let Some(served) = consumer.served.as_ref().filter(|_| consumer.instances.is_none()) {
            @if answers(consumer) { ", serves " } @else { ", served when last seen: " }
            code { (short(&served.serial)) } ", first seen " (moment(view.at, served.since))
            @if let Some(seen) = served.seen { ", last seen " (moment(view.at, seen)) }
        }
        @if consumer.reload_pending { ", reload pending" }
    }
}

/// Whether the server answered the last probe. If not, it may serve something else by now.
fn answers(consumer: &ConsumerView) -> bool {
    consumer.verdict.as_deref() != Some("unreachable")
}

fn agent(view: &View, agent: &crate::status::AgentView) -> Markup {
    let is_plain = agent.connection == "streaming" && agent.rejection.is_none();
    html! {
        @if !is_plain { (agent.connection) ": " }
        (agent.words)
        @if let Some(since) = agent.connected { " for " (timing::roughly(since.until(view.at))) }
        @if agent.rejected > 0 { ", " (agent.rejected) " messages rejected" }
    }
}

fn history(view: &View) -> Markup {
    html! {
        section {
            h2 { "History" }
            @if view.history.is_empty() {
                p.quiet { "Nothing yet." }
            } @else {
                ol { @for attempt in &view.history { (entry(view.at, attempt, view.servers().count() > 1)) } }
            }
        }
    }
}

fn entry(now: Time, attempt: &AttemptView, several: bool) -> Markup {
    let good = attempt.outcome == "completed";
    let class = match attempt.outcome.as_str() {
        "completed" => "good",
        "pending" => "fair",
        _ => "bad",
    };
    let verdict = attempt.verdict.as_deref();
    let took: f64 =
        [attempt.publish_ms, attempt.reload_ms, attempt.verify_ms].into_iter().flatten().sum();
    html! {
        li class=(class) {
            b {
                @if good {
                    (verdict.unwrap_or("published"))
                } @else {
                    (verdict.unwrap_or("not published")) " (" (attempt.step) ")"
                }
                @if let Some(consumer) = attempt.consumer.as_ref().filter(|_| several) { " · " (consumer) }
                @if attempt.tries > 1 { ", " (attempt.tries) " times" }
            }
            " "
            span.quiet {
                "generation " (attempt.generation) " · " code { (short(&attempt.serial)) } " · "
                (format!("{took:.1} ms")) " · " (moment(now, attempt.at))
            }
            @if let Some(problem) = &attempt.problem { br; (problem) }
        }
    }
}

/// A relative time, with the absolute time as a tooltip.
fn moment(now: Time, time: Time) -> Markup {
    let relative = if time > now {
        format!("in {}", timing::roughly(now.until(time)))
    } else if now.until(time).is_zero() && time.until(now) < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", timing::roughly(time.until(now)))
    };
    html! { time datetime=(time) title=(time) { (relative) } }
}

/// The beginning of a serial number, as in the log.
fn short(serial: &str) -> String {
    serial.chars().take(8).collect()
}

/// An identity, which may wrap after its slashes.
fn breakable(text: &str) -> Markup {
    html! { @for part in text.split_inclusive('/') { (part) @if part.ends_with('/') { wbr; } } }
}
