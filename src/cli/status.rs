//! `pgsvid status`: what a running daemon knows, for the terminal and as a probe.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Failure, Format, MISUSED, say};
use crate::config::{self, Environment, Flags};
use crate::http::{self, AskError, Listen, Question};
use crate::status::{AttemptView, View};
use crate::timing;

/// How often `--watch` asks.
const AGAIN: Duration = Duration::from_secs(2);
/// The screen is cleared, and the cursor goes home.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration file, for health.listen [env: PGSVID_CONFIG] [default: /etc/pgsvid/pgsvid.toml, if it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the daemon listens: 127.0.0.1:9809 or unix:/path [env: PGSVID_HEALTH_LISTEN]
    #[arg(long, value_name = "WHERE")]
    socket: Option<Listen>,
    /// Ask only whether a valid set is published, as start-up probes do: PostgreSQL may then be started
    #[arg(long, conflicts_with_all = ["live", "watch", "format"])]
    startup: bool,
    /// Ask only whether the daemon works, as liveness probes do: if not, it has to be started anew
    #[arg(long, conflicts_with_all = ["watch", "format"])]
    live: bool,
    /// Draw it again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(arguments: Arguments, environment: &Environment) -> Result<(), Failure> {
    let Arguments { config, socket, startup, live, watch, format } = arguments;
    let misused = |text: String| Failure { status: MISUSED, text };
    let listen = match socket {
        Some(listen) => listen,
        None => config::listener(&Flags { config, ..Flags::default() }, environment)
            .map_err(|error| misused(error.to_string()))?
            .ok_or_else(|| {
                misused(
                    "no listener is given: use --socket, or set health.listen in the configuration"
                        .to_owned(),
                )
            })?,
    };
    if startup || live {
        let question = if startup { Question::Started } else { Question::Alive };
        let (yes, words) =
            http::ask_whether(&listen, question).map_err(|error| unanswered(&error))?;
        say(&crate::text::harmless(words.trim_end()));
        return if yes { Ok(()) } else { Err(Failure::seen()) };
    }
    if watch {
        loop {
            // A daemon that is being restarted is waited for.
            let shown = match http::ask(&listen) {
                Ok(view) => shown(&view, format)?,
                Err(error) => error.to_string(),
            };
            say(&match format {
                Format::Text => format!("{CLEAR}{shown}"),
                Format::Json => shown,
            });
            std::thread::sleep(AGAIN);
        }
    }
    let view = http::ask(&listen).map_err(|error| unanswered(&error))?;
    say(&shown(&view, format)?);
    if view.ready { Ok(()) } else { Err(Failure::seen()) }
}

fn unanswered(error: &AskError) -> Failure {
    Failure { status: super::FAILED, text: error.to_string() }
}

fn shown(view: &View, format: Format) -> Result<String, Failure> {
    match format {
        Format::Text => Ok(text(view)),
        Format::Json => {
            serde_json::to_string_pretty(view).map_err(|error| anyhow::Error::from(error).into())
        }
    }
}

/// Whether it is ready, then a line for each thing that is known.
fn text(view: &View) -> String {
    let mut text = String::new();
    let mut line = |name: &str, words: String| {
        let _ = writeln!(text, "{name:<13}{}", crate::text::harmless(&words));
    };
    line(if view.ready { "ready" } else { "not ready" }, state(view));
    for missing in view.missing.iter().skip(1) {
        line("", missing.clone());
    }
    for degraded in &view.degraded {
        line("degraded", degraded.clone());
    }
    if let Some(retry) = view.retry {
        line("next try", format!("in {}", timing::roughly(view.at.until(retry))));
    }
    if let Some(served) = &view.served {
        let left = timing::roughly(view.at.until(served.not_after));
        line("served", format!("serial {} since {}, {left} left", served.serial, served.since));
    }
    let agent = &view.agent;
    line(
        "agent",
        format!(
            "{}, connected {} times, {} messages rejected",
            agent.words, agent.connects, agent.rejected
        ),
    );
    line("rotations", rotations(view));
    if let Some(sessions) = &view.sessions {
        let counts: Vec<String> = sessions
            .by_protocol
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(protocol, count)| format!("{count} {protocol}"))
            .collect();
        let older = sessions.older_than_svid_estimate;
        line(
            "sessions",
            format!("{}; about {older} older than the certificate's life", counts.join(", ")),
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn state(view: &View) -> String {
    let mut words: Vec<String> = view.missing.iter().take(1).cloned().collect();
    words.extend(view.verdict.clone());
    if let Some(published) = &view.published {
        let left = timing::roughly(view.at.until(published.not_after));
        words.push(format!("{}, {left} left ({})", published.spiffe_id, published.not_after));
    }
    words.join(", ")
}

fn rotations(view: &View) -> String {
    let mut words = format!("{} completed, {} failed tries", view.completed, view.failed);
    let last = view.history.first();
    if let Some(AttemptView { at, outcome, step, tries, .. }) = last {
        let ago = timing::roughly(at.until(view.at));
        let _ = write!(words, "; the last {outcome} at {step} {ago} ago");
        if *tries > 1 {
            let _ = write!(words, ", {tries} times in a row");
        }
    }
    words
}
