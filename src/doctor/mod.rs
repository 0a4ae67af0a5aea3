//! Examines files, servers and set-ups, explains what is wrong, and says how to fix it.

mod certificate;
pub mod check;
mod codes;
mod distrust;
mod entry;
mod finding;
mod host_name;
pub mod inspect;
mod login;
pub mod probe;
mod profile;
mod render;
mod replication;
mod unverifiable;
mod words;

pub use certificate::{Role, View};
pub use finding::{Code, Finding, Group, Report, Section, Severity};
pub use render::{json, text};
