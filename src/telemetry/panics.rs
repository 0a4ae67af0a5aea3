//! Logs and writes a panic before the process ends: a release build then aborts.

use std::panic::{PanicHookInfo, set_hook};
use std::thread;

use tracing::error;

use super::queue;

/// Logs panics. `task` returns the name of the task that runs in this thread.
pub fn tell_panics(task: fn() -> Option<&'static str>) {
    set_hook(Box::new(move |panic| {
        let this = thread::current();
        let task = task().or(this.name()).unwrap_or("unknown");
        let place = panic.location().map(ToString::to_string);
        error!(
            event = "panicked",
            task,
            place,
            cause = words(panic),
            next = "the process ends, and its parent starts another one",
            "a panic, which is a fault in pgsvid"
        );
        queue::flush();
    }));
}

fn words<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}
