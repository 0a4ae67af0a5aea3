//! Rows D: the published directory under all kinds of changes.

#![allow(clippy::print_stdout, reason = "scripts/test shows what was measured")]

mod above;
mod ancestors;
mod attacker;
mod crowded;
mod displaced;
mod disturbed;
mod earlier;
mod endless;
mod exchanged;
mod exposed;
mod foreign_links;
mod formats;
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
mod told;
mod trust;
