//! Examines files, servers and set-ups, explains what is wrong, and says how to fix it.

mod certificate;
pub mod check;
mod codes;
mod entry;
pub mod exec;
mod finding;
pub mod inspect;
mod jdbc;
pub mod probe;
mod profile;
mod render;
mod unverifiable;
mod words;

pub use certificate::{Role, View};
pub use finding::{Code, Finding, Group, Report, Section, Severity};
pub use render::{json, text};
