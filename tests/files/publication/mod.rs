//! Rows D: the published directory, whatever is done to it.

#![allow(clippy::print_stdout, reason = "scripts/test shows what was measured")]

mod ancestors;
mod attacker;
mod exchanged;
mod foreign_links;
mod keeping;
mod kill_walk;
mod killed;
mod locked;
mod namespaces;
mod obstacles;
mod place;
mod planted;
mod readers;
mod renamed;
mod replayed;
mod restored;
mod space;
mod system_calls;
mod takeover;
mod trust;
