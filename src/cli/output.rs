//! Prints results to standard output, and messages to standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::Environment;
use crate::text::{harmless, harmless_json};

/// Longest wait until standard error accepts the next part of a message, which has at most [`ROOM`] bytes.
const WRITE_LIMIT: Duration = Duration::from_secs(1);
/// A writable pipe has room for at least this many bytes, `PIPE_BUF` (`pipe(7)`).
const ROOM: usize = 4096;
/// Colours are used only on terminals whose user wants them (<https://no-color.org>).
pub(super) fn colours(environment: &Environment) -> bool {
    let unwanted = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = environment.get("TERM").is_none_or(|value| value == "dumb");
    std::io::stdout().is_terminal() && !unwanted && !dumb
}

/// Prints a result. A closed pipe is no failure.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints JSON, which may go to a terminal.
pub(super) fn say_json(text: &str) {
    say(&harmless_json(text));
}

/// The text with every line escaped, because it may repeat foreign text, such as the name of a server or of a file.
pub(super) fn lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Prints a message to standard error, escaped. Gives up if standard error accepts nothing for [`WRITE_LIMIT`], because a full
/// pipe that nobody reads must not keep the process alive.
pub(super) fn complain(text: &str) {
    let line = format!("{}\n", lines(text));
    let mut error = std::io::stderr();
    let limit = Timespec::try_from(WRITE_LIMIT).ok();
    for part in line.as_bytes().chunks(ROOM) {
        let ready = poll(&mut [PollFd::new(&error, PollFlags::OUT)], limit.as_ref());
        if ready != Ok(1) || error.write_all(part).is_err() {
            return;
        }
    }
}
