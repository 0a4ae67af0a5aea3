//! Health, metrics and status over HTTP. It reads the status, and can change nothing.
//!
//! Clients are not trusted: each connection gets one answer, little memory and little time, and the oldest connection is
//! closed when there are too many. The socket is bound before anything else runs.

mod answer;
mod client;
mod listener;
mod page;
mod server;

pub use client::{Error as AskError, Question, ask, ask_whether};
pub use listener::{Error, Listen, Listener};
pub use server::serve;
