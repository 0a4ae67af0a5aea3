//! `pgsvid probe`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::flags::Format;
use super::output::{colours, complain, say, say_json};
use super::{Failure, MISUSED, on_one_thread};
use crate::config::{Environment, Flags, Parts};
use crate::doctor::probe::{ProbedServer, Request, Seen, look};
use crate::text::harmless_json;

/// A handshake costs the server a few milliseconds.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Probe {
    /// HOST, HOST:PORT or [IPV6]:PORT [default: as configured, else 127.0.0.1:5432]
    #[arg(value_name = "HOST:PORT", value_parser = place)]
    place: Option<ProbedServer>,
    /// Judge by the authorities in this file [default: the published bundle of the configuration]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Check, as libpq's sslmode=verify-full does, that the certificate is for this host
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    host_name: Option<String>,
    /// Probe repeatedly, and print a line at each change [default interval: 5s]
    #[arg(
        long,
        value_name = "INTERVAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5s",
        value_parser = interval
    )]
    watch: Option<Duration>,
    /// Configuration file [env: PGSVID_CONFIG] [default: /etc/pgsvid/pgsvid.toml, if it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print it: for people or for scripts
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

fn place(text: &str) -> Result<ProbedServer, String> {
    ProbedServer::parse(text).map_err(|error| error.to_string())
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= SHORTEST_INTERVAL => Ok(duration),
        Ok(_) => Err("it is shorter than 100ms".to_owned()),
        Err(_) => Err("write 500ms, 5s or 1m".to_owned()),
    }
}

pub(super) fn run(arguments: Probe, environment: &Environment) -> Result<(), Failure> {
    let Probe { place, bundle, host_name, watch, config, format } = arguments;
    let misused = |text: String| Failure { status: MISUSED, text };
    // If everything is given, no configuration is needed, not even a correct one.
    let parts = if place.is_some() && bundle.is_some() && config.is_none() {
        None
    } else {
        let flags = Flags { config, ..Flags::default() };
        Some(Parts::load(&flags, environment).map_err(|error| misused(error.to_string()))?)
    };
    let place = if let Some(place) = place {
        place
    } else {
        let servers = parts.as_ref().map(|parts| &parts.servers[..]).unwrap_or_default();
        if servers.len() > 1 {
            let text = "several PostgreSQLs are configured: name the HOST:PORT to probe";
            return Err(misused(text.to_owned()));
        }
        let server = servers.first().cloned();
        ProbedServer::configured(server.map(|server| (server.session, server.verify.target)))
            .ok_or_else(|| {
                misused("postgres.verify is none: name the HOST:PORT to probe".to_owned())
            })?
    };
    let published = || {
        let [.., bundle] = parts.as_ref()?.place.as_ref()?.paths();
        Some((bundle, true))
    };
    let bundle = bundle.map(|path| (path, false)).or_else(published);
    let request = Request { place, bundle, host_name };
    let colours = colours(environment);
    if let Some(every) = watch {
        return Ok(on_one_thread(watch_for_changes(request, every, format))?);
    }
    let seen = on_one_thread(async move { Ok(look(&request).await) })?;
    let seen = seen.map_err(|error| misused(error.to_string()))?;
    match format {
        Format::Text => say(&seen.text(colours)),
        Format::Json => say_json(&seen.json()),
    }
    if seen.has_failures() { Err(Failure::seen()) } else { Ok(()) }
}

/// Probes until it is interrupted, or until nobody reads the output.
async fn watch_for_changes(
    request: Request,
    every: Duration,
    format: Format,
) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = None;
    let mut trouble = String::new();
    loop {
        let seen = tokio::select! {
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            seen = async { ticks.tick().await; look(&request).await } => seen,
        };
        match seen {
            Ok(seen) => {
                let identity = Some(seen.identity());
                if identity != last && !tell(&seen, format) {
                    return Ok(());
                }
                last = identity;
                trouble.clear();
            }
            Err(error) => {
                let error = error.to_string();
                if error != trouble {
                    complain(&format!("pgsvid: {error}"));
                }
                trouble = error;
            }
        }
    }
}

/// Prints the line; false if nobody reads it.
fn tell(seen: &Seen, format: Format) -> bool {
    let line = match format {
        Format::Text => seen.line(),
        Format::Json => harmless_json(&seen.json()).into_owned(),
    };
    writeln!(std::io::stdout(), "{line}").is_ok()
}
