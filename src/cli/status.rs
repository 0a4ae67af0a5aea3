//! `pgsvid status`: the running daemon's status, for the terminal and as a probe.

mod sessions;
mod text;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;

use super::flags::{Format, Settings};
use super::output::{colours, complain, say, say_json};
use super::{FAILED, Failure, MISUSED};
use crate::config::{self, Environment};
use crate::http::{self, AskError, Listen, Question};
use crate::text::{harmless, harmless_json};

/// The interval of `--watch`.
const AGAIN: Duration = Duration::from_secs(2);
/// Moves the cursor home: the new text replaces the old without flicker.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// The daemon's address: 127.0.0.1:9809 or unix:/path [env: PGSVID_HEALTH_LISTEN]
    #[arg(long, value_name = "WHERE")]
    socket: Option<Listen>,
    /// Ask only whether a valid set is published, as start-up probes do: then PostgreSQL may be started
    #[arg(long, conflicts_with_all = ["live", "watch", "format"])]
    startup: bool,
    /// Ask only whether the daemon works, as liveness probes do: if not, it must be restarted
    #[arg(long, conflicts_with_all = ["watch", "format"])]
    live: bool,
    /// Show the sessions that have outlived the certificate of their client, by role and age
    #[arg(long, conflicts_with_all = ["startup", "live", "watch"])]
    sessions: bool,
    /// Print it again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(arguments: Arguments, environment: &Environment) -> Result<(), Failure> {
    let Arguments { settings, socket, startup, live, sessions, watch, format } = arguments;
    let misused = |text: String| Failure { status: MISUSED, text };
    let listen = match socket {
        Some(listen) => listen,
        None => config::listener(&settings.into(), environment)
            .map_err(|error| misused(error.to_string()))?
            .ok_or_else(|| {
                misused(format!(
                    "no listener is configured: start `pgsvid run` with {variable}={value} (or with listen = \"{value}\" below \
                     [health] in its configuration), and ask it with: pgsvid status --socket {value}",
                    variable = "PGSVID_HEALTH_LISTEN",
                    value = "127.0.0.1:9809",
                ))
            })?,
    };
    if startup || live {
        let question = if startup { Question::Started } else { Question::Alive };
        let (yes, words) =
            http::ask_whether(&listen, question).map_err(|error| unanswered(&error))?;
        say(&harmless(words.trim_end()));
        return if yes { Ok(()) } else { Err(Failure::seen()) };
    }
    let colours = colours(environment);
    if watch {
        // A closed pipe means that the reader has seen enough.
        return follow(&listen, format, colours).or(Ok(()));
    }
    let view = http::ask(&listen).map_err(|error| unanswered(&error))?;
    if sessions {
        match format {
            Format::Text => say(&sessions::text(&view)),
            Format::Json => say_json(&sessions::json(&view)?),
        }
        return Ok(());
    }
    match format {
        Format::Text => say(&text::text(&view, colours)),
        Format::Json => {
            say_json(&serde_json::to_string_pretty(&view).map_err(anyhow::Error::from)?);
        }
    }
    if view.ready { Ok(()) } else { Err(Failure::seen()) }
}

fn unanswered(error: &AskError) -> Failure {
    Failure { status: FAILED, text: error.to_string() }
}

/// Asks repeatedly. On a terminal the text is redrawn; elsewhere one answer follows another, in JSON one line each. Waits for
/// a daemon that restarts. Ends only when nobody reads the output.
fn follow(listen: &Listen, format: Format, colours: bool) -> io::Result<()> {
    let mut output = io::stdout();
    let terminal = output.is_terminal();
    loop {
        let shown = match (http::ask(listen), format) {
            (Ok(view), Format::Text) => Some(text::text(&view, colours)),
            (Ok(view), Format::Json) => {
                Some(harmless_json(&serde_json::to_string(&view)?).into_owned())
            }
            (Err(error), Format::Text) => Some(error.to_string()),
            (Err(error), Format::Json) => {
                complain(&format!("pgsvid: {error}"));
                None
            }
        };
        if let Some(shown) = shown {
            output.write_all(frame(&shown, format, terminal).as_bytes())?;
            output.flush()?;
        }
        std::thread::sleep(AGAIN);
    }
}

fn frame(shown: &str, format: Format, terminal: bool) -> String {
    match format {
        Format::Json => format!("{shown}\n"),
        Format::Text if terminal => {
            let lines = shown.replace('\n', &format!("{REST_OF_LINE}\n"));
            format!("{HOME}{lines}{REST_OF_LINE}\n{REST_OF_SCREEN}")
        }
        Format::Text => format!("{shown}\n\n"),
    }
}
