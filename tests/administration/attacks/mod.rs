//! Attacks that were made on an earlier version and succeeded, each as a test: the rows A of docs/reliability.md.

mod among_lists;
mod clear_text;
pub(crate) mod endless;
mod expired;
mod gone_authority;
mod hidden_rules;
mod loaded;
mod namesakes;
mod open_maps;
mod planted_objects;
mod planted_server;
pub(crate) mod planted_texts;
mod slow_server;
mod superuser;
mod twin_authority;
mod unclear_lines;
mod unloadable;
mod ways;
mod withheld;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
