//! Rows D: the published directory, whatever is done to it.

#![allow(clippy::print_stdout, reason = "scripts/test shows what was measured")]

mod above;
mod ancestors;
mod attacker;
mod displaced;
mod disturbed;
mod earlier;
mod exchanged;
mod exposed;
mod foreign_links;
mod keeping;
mod kill_walk;
mod killed;
mod later;
mod locked;
mod namespaces;
mod obstacles;
mod place;
mod planted;
mod private;
mod readers;
mod removed;
mod renamed;
mod replayed;
mod restored;
mod space;
mod system_calls;
mod takeover;
mod trust;
