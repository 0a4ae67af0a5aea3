//! Health, metrics and status over HTTP, for whoever asks. It reads the status, and can change nothing.
//!
//! Whoever asks is not believed: each connection gets one answer, has little memory and little time, and the oldest has to
//! go when there are too many. Bound before anything runs.

mod answer;
mod client;
mod listener;
mod page;
mod server;

pub use client::{Error as AskError, Question, ask, ask_whether};
pub use listener::{Error, Listen, Listener};
pub use server::serve;
