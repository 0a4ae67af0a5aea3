//! `pgsvid fetch`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::flags::Settings;
use super::output::say;
use super::{Failure, MISUSED, load, on_one_thread};
use crate::config::Environment;
use crate::daemon::{self, Fetched, Publication, PublishedBy};
use crate::tokens::Writer;
use crate::{telemetry, timing};

/// Returns to the start of the line, and clears it.
const ERASE_LINE: &str = "\r\x1b[K";

pub(super) fn run(
    settings: Settings,
    limit: Duration,
    fresh: bool,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut config = load(settings, environment)?;
    // PostgreSQL is neither reloaded nor verified.
    config.rotation.servers.clear();
    config.rotation.poolers.clear();
    config.rotation.patroni = None;
    config.rotation.clients.clear();
    let log = config.log;
    let endpoint = config.source.place();
    // Secrets are written by `run` alone: it goes on until each holds the set.
    let writes_secrets = config.rotation.secrets.take().is_some();
    let Some(publish) = config.place.directory() else {
        if writes_secrets {
            let text = "fetch publishes files, and files.directory is not set; [[secrets]] are written by pgsvid run";
            return Err(Failure { status: MISUSED, text: text.to_owned() });
        }
        let text = "nothing is published: without files.directory the files of [certificates] stay where they are";
        return Err(Failure { status: MISUSED, text: text.to_owned() });
    };
    let directory = publish.directory.display().to_string();
    // On a terminal one line shows what it waits for; elsewhere the log does.
    let terminal = std::io::stderr().is_terminal();
    let confined = daemon::confine(config, None)?;
    let telemetry = (!terminal).then(|| telemetry::start(log)).transpose();
    let _telemetry = telemetry.map_err(anyhow::Error::from)?;
    let (progress, watched) = watch::channel("no answer yet".to_owned());
    let fetched = on_one_thread(async move {
        tokio::select! {
            fetched = daemon::fetch(confined, limit, fresh, progress) => fetched,
            never = show(watched, &endpoint, limit), if terminal => match never {},
        }
    });
    if terminal {
        // After a success the line is removed; after a failure it shows what was missing.
        let end = if fetched.is_ok() { ERASE_LINE } else { "\n" };
        let _ = write!(std::io::stderr(), "{end}");
    }
    let Fetched { material, by, tokens } = fetched?;
    let left = material.not_after().duration_since(timing::now()).unwrap_or_default();
    let by = match by {
        Publication::Here(PublishedBy::Fresh) => "",
        Publication::Here(PublishedBy::Earlier) => "  (published earlier, and the newest)",
        Publication::Here(PublishedBy::Unconfirmed) => {
            "  (published earlier, and still young; the agent could not be asked whether it is the newest)"
        }
        Publication::Another => "  (published by the pgsvid that holds the directory)",
    };
    say(&format!("{}  expires in {}  →  {directory}{by}", material.name(), timing::roughly(left)));
    for token in tokens {
        let Some(expires) = token.expires else {
            say(&format!("JWT bundle  →  {}", token.file));
            continue;
        };
        let left = timing::roughly(expires.duration_since(timing::now()).unwrap_or_default());
        let remark = match (token.by, token.unverified) {
            (Writer::Earlier, _) => "  (written earlier; the agent could not be asked)".to_owned(),
            (Writer::Another, _) => "  (written by another pgsvid)".to_owned(),
            (Writer::Here, Some(why)) => format!("  (signature not verified: {why})"),
            (Writer::Here, None) => String::new(),
        };
        say(&format!("token  expires in {left}  →  {}{remark}", token.file));
    }
    Ok(())
}

/// Redraws the line on standard error, once a second and at each change.
async fn show(
    mut progress: watch::Receiver<String>,
    endpoint: &str,
    limit: Duration,
) -> std::convert::Infallible {
    let begun = Instant::now();
    loop {
        let what = progress.borrow_and_update().clone();
        let elapsed = begun.elapsed().as_secs();
        let limit = humantime::format_duration(limit);
        let mut line =
            format!("waiting for an identity from {endpoint} … {what} ({elapsed}s of {limit})");
        // A line that wraps cannot be redrawn in place. A terminal of width 0 has not reported its width.
        let width = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
        let most = usize::from(width).checked_sub(1).unwrap_or(usize::MAX);
        if line.chars().count() > most {
            line = format!("waiting for an identity … ({elapsed}s of {limit}) {what}");
        }
        let line: String = line.chars().take(most).collect();
        let _ = write!(std::io::stderr(), "{ERASE_LINE}{line}");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            changed = progress.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
        }
    }
}
