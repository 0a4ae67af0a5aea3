//! Examines files, servers and set-ups, explains what is wrong, and says how to mend it.

mod certificate;
pub mod check;
mod codes;
mod distrust;
mod finding;
mod host_name;
pub mod inspect;
mod login;
pub mod probe;
mod profile;
mod render;
mod replication;
mod words;

pub use certificate::{Role, View};
pub use finding::{Code, Finding, Group, Report, Section, Severity};
pub use render::{json, text};
