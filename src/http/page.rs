//! The page for people: one document, no script, nothing loaded. It asks for itself again every ten seconds.

use std::fmt::Write as _;
use std::time::Duration;

use crate::status::{Advice, AttemptView, Time, View};
use crate::timing;

const STYLE: &str = include_str!("page.css");
/// Seconds until the page is fetched anew.
const REFRESH: u32 = 10;
/// Width of the timeline's bars, in its own units.
const WIDTH: f64 = 480.0;
/// Height of one of them with its texts, which are larger on a phone.
const ROW: usize = 42;

/// The whole page.
pub(super) fn html(view: &View) -> String {
    let (class, word, sentence) = state(view);
    let mut page = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\">\
         <meta http-equiv=refresh content={REFRESH}><title>{word} · pgsvid</title>\
         <style>{STYLE}</style></head><body><main>\
         <header class={class}><p class=word>{word}</p><h1>{}</h1>",
        escape(&sentence)
    );
    for text in view.missing.iter().chain(&view.degraded).filter(|text| **text != sentence) {
        let _ = write!(page, "<p>{}</p>", escape(text));
    }
    for Advice { cause, fix } in &view.advice {
        page.push_str("<dl class=advice>");
        for (name, text) in [("Cause", cause), ("Fix", fix)].iter().filter(|(_, of)| !of.is_empty())
        {
            let _ = write!(page, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(text));
        }
        page.push_str("</dl>");
    }
    if let Some(retry) = view.retry {
        let _ = write!(page, "<p class=quiet>Next try {}</p>", moment(view.at, retry));
    }
    page.push_str("</header>");
    timeline(&mut page, view);
    facts(&mut page, view);
    history(&mut page, view);
    let _ = writeln!(
        page,
        "<footer>pgsvid {} · {} · <a href=/metrics>metrics</a> · <a href=/status>JSON</a></footer>\
         </main></body></html>",
        escape(&view.version),
        view.at
    );
    page
}

/// A class, a word and a sentence.
fn state(view: &View) -> (&'static str, &'static str, String) {
    if let Some(missing) = view.missing.first() {
        return ("bad", "Not ready", missing.clone());
    }
    if let Some(degraded) = view.degraded.first() {
        return ("fair", "Degraded", degraded.clone());
    }
    let sentence = match (view.takes_part, view.verdict.as_deref()) {
        (false, _) => "A valid identity is published".to_owned(),
        (true, Some("unverifiable")) => {
            "A valid identity is published; what PostgreSQL serves cannot be seen".to_owned()
        }
        _ => "PostgreSQL serves the published certificate".to_owned(),
    };
    ("good", "Ready", sentence)
}

/// One bar for each thing that expires, on a common scale that begins with the certificate's validity.
fn timeline(page: &mut String, view: &View) {
    let Some(published) = &view.published else { return };
    let begin = published.not_before;
    let scale = begin.until(published.not_after).max(Duration::from_secs(1)).mul_f64(1.15);
    let at = |time: Time| {
        (begin.until(time).as_secs_f64() / scale.as_secs_f64() * WIDTH).clamp(0.0, WIDTH)
    };
    let mut rows = vec![("published", Some(begin), Some(published.not_after))];
    if view.takes_part {
        let served = view.served.as_ref();
        rows.push(("served", served.map(|_| begin), served.map(|served| served.not_after)));
    }
    rows.push(("authorities", Some(begin), published.authorities_not_after));
    let height = 24 + rows.len() * ROW;
    let _ = write!(
        page,
        "<section><h2>Validity</h2><svg viewBox=\"0 0 {WIDTH} {height}\" role=img \
         aria-label=\"Validity of what is published and served\">"
    );
    let now = at(view.at);
    for (row, (name, from, to)) in rows.into_iter().enumerate() {
        let y = row * ROW;
        let left = to.map_or_else(
            || "nothing".to_owned(),
            |to| {
                if to > view.at {
                    format!("{} left", timing::roughly(view.at.until(to)))
                } else {
                    format!("expired {} ago", timing::roughly(to.until(view.at)))
                }
            },
        );
        let _ = write!(
            page,
            "<text x=0 y={0}>{name}</text><text x={WIDTH} y={0} text-anchor=end>{left}</text>\
             <rect class=track x=0 y={1} width={WIDTH} height=8 rx=4 />",
            y + 18,
            y + 26
        );
        if let (Some(from), Some(to)) = (from, to) {
            let class = if to > view.at { "bar" } else { "bar over" };
            let _ = write!(
                page,
                "<rect class=\"{class}\" x={:.1} y={} width={:.1} height=8 rx=4 />",
                at(from),
                y + 26,
                at(to) - at(from)
            );
        }
        let _ =
            write!(page, "<line class=now x1={now:.1} y1={} x2={now:.1} y2={} />", y + 23, y + 37);
    }
    let (anchor, shift) = if now > WIDTH / 2.0 { ("end", 4.0) } else { ("start", -1.0) };
    let _ = write!(
        page,
        "<text class=now x={:.1} y={} text-anchor={anchor}>now</text></svg></section>",
        now + shift,
        height - 4
    );
}

fn facts(page: &mut String, view: &View) {
    let mut rows = Vec::new();
    if let Some(published) = &view.published {
        rows.push(("Identity", format!("<code>{}</code>", breakable(&published.spiffe_id))));
        rows.push((
            "Certificate",
            format!(
                "<code>{}</code>, expires {} <span class=quiet>({})</span>",
                escape(&short(&published.serial)),
                moment(view.at, published.not_after),
                published.not_after
            ),
        ));
    }
    if view.takes_part {
        let mut text = escape(view.verdict.as_deref().unwrap_or("not verified yet"));
        if let Some(served) = &view.served {
            let _ = write!(
                text,
                ", serves <code>{}</code>, first seen {}",
                escape(&short(&served.serial)),
                moment(view.at, served.since)
            );
        }
        if view.reload_pending {
            text.push_str(", reload pending");
        }
        rows.push(("PostgreSQL", text));
    }
    let agent = &view.agent;
    let mut words = if agent.words == agent.connection
        || agent.connection == "streaming" && agent.words == "connected"
    {
        escape(&agent.words)
    } else {
        format!("{}: {}", escape(&agent.connection), escape(&agent.words))
    };
    if let Some(since) = agent.connected {
        let _ = write!(words, " for {}", timing::roughly(since.until(view.at)));
    }
    if agent.rejected > 0 {
        let _ = write!(words, ", {} messages rejected", agent.rejected);
    }
    rows.push(("Agent", words));
    if let Some(renewal) = view.renewal {
        let text = if renewal > view.at {
            format!("due {}, at half of the life", moment(view.at, renewal))
        } else {
            format!("due since {}, at half of the life", moment(view.at, renewal))
        };
        rows.push(("Renewal", text));
    }
    if let Some(sessions) = &view.sessions {
        let counts: Vec<String> = sessions
            .by_protocol
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(protocol, count)| format!("{count} {}", escape(protocol)))
            .collect();
        let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
        rows.push((
            "Sessions",
            format!(
                "{counts}; about {} older than the certificate's life",
                sessions.older_than_svid_estimate
            ),
        ));
    }
    let mut rotations = format!("{} completed, {} failed tries", view.completed, view.failed);
    if let Some(median) = view.median_ms {
        let _ = write!(rotations, ", median {median:.1} ms");
    }
    rows.push(("Rotations", rotations));
    page.push_str("<section><h2>Now</h2><dl>");
    for (name, value) in rows {
        let _ = write!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl></section>");
}

fn history(page: &mut String, view: &View) {
    page.push_str("<section><h2>History</h2>");
    if view.history.is_empty() {
        page.push_str("<p class=quiet>Nothing yet.</p></section>");
        return;
    }
    page.push_str("<ol>");
    for attempt in &view.history {
        entry(page, view.at, attempt);
    }
    page.push_str("</ol></section>");
}

fn entry(page: &mut String, now: Time, attempt: &AttemptView) {
    let good = attempt.outcome == "completed";
    let class = if good { "good" } else { "bad" };
    let mut what = if good {
        attempt.verdict.as_deref().map_or_else(|| "published".to_owned(), escape)
    } else {
        let verdict = attempt.verdict.as_deref().unwrap_or("not published");
        format!("{} ({})", escape(verdict), escape(&attempt.step))
    };
    if attempt.tries > 1 {
        let _ = write!(what, ", {} times", attempt.tries);
    }
    let took: f64 =
        [attempt.publish_ms, attempt.reload_ms, attempt.verify_ms].into_iter().flatten().sum();
    let _ = write!(
        page,
        "<li class={class}><b>{what}</b> <span class=quiet>generation {} · <code>{}</code> · \
         {took:.1} ms · {}</span>",
        attempt.generation,
        escape(&short(&attempt.serial)),
        moment(now, attempt.at)
    );
    if let Some(problem) = &attempt.problem {
        let _ = write!(page, "<br>{}", escape(problem));
    }
    page.push_str("</li>");
}

/// Relative, and absolute where a pointer rests.
fn moment(now: Time, time: Time) -> String {
    let relative = if time > now {
        format!("in {}", timing::roughly(now.until(time)))
    } else if now.until(time).is_zero() && time.until(now) < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", timing::roughly(time.until(now)))
    };
    format!("<time datetime=\"{time}\" title=\"{time}\">{relative}</time>")
}

/// A serial number as in the log: its beginning.
fn short(serial: &str) -> String {
    serial.chars().take(8).collect()
}

/// An identity, which may be broken after its slashes where it is longer than a line.
fn breakable(text: &str) -> String {
    escape(text).replace('/', "/<wbr>")
}

/// Text as text, between tags and in quoted attributes. Servers and agents wrote some of it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
