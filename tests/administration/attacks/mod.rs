//! Attacks that were made on an earlier version and succeeded, each as a test: the rows A of docs/evidence/reliability.md.

mod among_lists;
mod clear_text;
mod closed_way;
pub(crate) mod endless;
mod event_triggers;
mod expired;
mod forged_log;
mod gone_authority;
mod hidden_lines;
mod hidden_rules;
mod in_force;
mod large_file;
mod loaded;
mod local_lines;
mod log_rotated;
mod namesakes;
mod no_text;
mod open_maps;
mod planted_objects;
mod planted_server;
pub(crate) mod planted_texts;
mod port_taken;
mod quoted_words;
mod revoked;
mod secrets;
mod slow_server;
mod superuser;
mod twin_authority;
mod unclear_lines;
mod unloadable;
mod ways;
mod whole_machine;
mod withheld;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
