//! Logs to standard error: text for terminals and journals, JSON on request, through a lossy writer, because a full pipe must
//! not stop a rotation.

mod events;
mod panics;
mod queue;

use std::fmt;
use std::io;
use std::str::FromStr;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

pub use events::EVENTS;
pub use panics::tell_panics;

use crate::{text, threads, timing};

/// The settings of the log.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Text or JSON.
    pub format: Format,
    /// The least important level that is written.
    pub level: LogLevel,
}

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("it is neither text nor json"),
        }
    }
}

/// The least important level that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(Level);

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "error" => Ok(Self(Level::ERROR)),
            "warn" => Ok(Self(Level::WARN)),
            "info" => Ok(Self(Level::INFO)),
            "debug" => Ok(Self(Level::DEBUG)),
            "trace" => Ok(Self(Level::TRACE)),
            _ => Err("it is none of error, warn, info, debug and trace"),
        }
    }
}

/// Dropping it writes what is still queued.
pub struct Telemetry {
    _queue: queue::Guard,
}

/// Starts logging, once in a process.
pub fn start(settings: Settings) -> Result<Telemetry, threads::Refused> {
    let (queue, guard) = queue::start(io::stderr())?;
    queue::use_for_flush(&queue);
    let writer = move || queue.clone();
    // Errors reach pgsvid as values, and it logs them itself. Dependencies may log a line for each frame that an agent sends,
    // with foreign contents: that is only useful for debugging.
    let LogLevel(level) = settings.level;
    let dependencies = if level >= Level::DEBUG { LevelFilter::WARN } else { LevelFilter::OFF };
    let filter = Targets::new().with_default(dependencies).with_target("pgsvid", level);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    // A second call comes from a test; the first subscriber stays.
    let _ = match settings.format {
        Format::Text => tracing::subscriber::set_global_default(
            registry.with(layer.with_ansi(false).event_format(Text)),
        ),
        Format::Json => tracing::subscriber::set_global_default(
            registry.with(
                layer
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false)
                    .map_writer(Lines),
            ),
        ),
    };
    Ok(Telemetry { _queue: guard })
}

/// `2026-11-30T19:04:11Z INFO  rotated generation=1 publish=1.4ms event=rotated`, with `cause`, `fix`, `command` and `next`
/// on lines of their own.
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = timing::utc(timing::now());
        write!(writer, "{time} {:<5} {}", event.metadata().level().as_str(), fields.message)?;
        for (name, value) in &fields.inline {
            write!(writer, " {name}={value}")?;
        }
        // Last, because it is for programs.
        if let Some(event) = fields.event {
            write!(writer, " event={event}")?;
        }
        for (name, value) in &fields.below {
            write!(writer, "\n{:27}{:<6} {value}", "", format!("{name}:"))?;
        }
        writeln!(writer)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    event: Option<String>,
    inline: Vec<(&'static str, String)>,
    below: Vec<(&'static str, String)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        // The rooms have escaped the texts that they know as foreign; libraries have not.
        let value = text::harmless(value).into_owned();
        match field.name() {
            "message" => self.message = value,
            "event" => self.event = Some(value),
            "cause" | "fix" | "command" | "next" => self.below.push((field.name(), value)),
            name => match name.strip_suffix("_ms") {
                Some(name) => self.inline.push((name, format!("{value}ms"))),
                None if value.is_empty() || value.contains([' ', '"', '=']) => {
                    self.inline.push((name, format!("\"{}\"", value.replace('"', "\\\""))));
                }
                None => self.inline.push((name, value)),
            },
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &format!("{value:.1}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// Writes lines of JSON, possibly to a terminal. Each comes in one piece.
struct Lines<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Lines<W> {
    type Writer = Lines<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Lines(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let harmless = str::from_utf8(line).map(text::harmless_json);
        self.0.write_all(harmless.as_deref().map_or(line, str::as_bytes))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{info, warn};

    use super::*;

    const HOSTILE: &str = "a\nERROR \u{1b}[2J\u{9b}31m\u{202e} \"b\"";

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool) -> String {
        let log = Log::default();
        let writer = log.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let registry = tracing_subscriber::registry();
        let speak = || {
            info!(name = HOSTILE, bare = "x\u{202e}", cause = HOSTILE, "{HOSTILE}");
            warn!("the end");
        };
        if json {
            let layer = layer.json().flatten_event(true).map_writer(Lines);
            tracing::subscriber::with_default(registry.with(layer), speak);
        } else {
            let layer = layer.with_ansi(false).event_format(Text);
            tracing::subscriber::with_default(registry.with(layer), speak);
        }
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_logged_text_begins_a_line_or_controls_a_terminal() {
        for (json, lines) in [(false, 3), (true, 2)] {
            let log = logged(json);
            assert_eq!(log.lines().count(), lines, "{log}");
            for c in ['\u{1b}', '\u{9b}', '\u{202e}'] {
                assert!(!log.contains(c), "{log:?}");
            }
            assert!(log.contains("the end"), "{log}");
        }
        let text = logged(false);
        assert!(text.contains(r#"name="a\nERROR \u{1b}[2J\u{9b}31m\u{202e} \"b\"""#), "{text}");
        assert!(text.contains("bare=x\\u{202e}"), "{text}");
    }
}
