//! The output of a child process, line by line.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// A position in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(pub(crate) usize);

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Standard,
    Error,
}

/// Why no line was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    TimeIsUp,
    /// All streams are closed: nothing can come any more.
    Ended,
}

/// The lines that were read so far.
#[derive(Debug, Default)]
pub(crate) struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<(Stream, String)>,
    open: usize,
}

impl Output {
    /// Reads a stream to its end in a separate thread.
    pub(crate) fn read(self: &Arc<Self>, stream: Stream, source: impl Read + Send + 'static) {
        self.state().open += 1;
        let output = Arc::clone(self);
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line);
                output.state().lines.push((stream, text.trim_end_matches('\n').to_owned()));
                output.changed.notify_all();
                line.clear();
            }
            output.state().open -= 1;
            output.changed.notify_all();
        });
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.state().lines.len())
    }

    pub(crate) fn lines(&self) -> Vec<(Stream, String)> {
        self.state().lines.clone()
    }

    /// Waits for the first line after the mark for which `select` returns a value; also returns the end of that line.
    pub(crate) fn wait<T>(
        &self,
        mark: Mark,
        limit: Duration,
        mut select: impl FnMut(&str) -> Option<T>,
    ) -> Result<(T, Mark), Missing> {
        let deadline = Instant::now() + limit;
        let mut seen = mark.0;
        let mut state = self.state();
        loop {
            while let Some((_, line)) = state.lines.get(seen) {
                seen += 1;
                if let Some(found) = select(line) {
                    return Ok((found, Mark(seen)));
                }
            }
            if state.open == 0 {
                return Err(Missing::Ended);
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(Missing::TimeIsUp);
            }
            state = self.changed.wait_timeout(state, rest).expect("no reader panics").0;
        }
    }

    /// Waits until nothing more can come; false if a stream is still open after `limit`.
    pub(crate) fn wait_closed(&self, limit: Duration) -> bool {
        matches!(self.wait::<()>(self.mark(), limit, |_| None), Err(Missing::Ended))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no reader panics")
    }
}
