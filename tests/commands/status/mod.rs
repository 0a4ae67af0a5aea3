//! Health, metrics, status, page and `pgsvid status`: what each reports for each verdict, with a real PostgreSQL, and a real
//! browser.

#![allow(clippy::disallowed_methods, reason = "a page of the repository is no published file")]
mod asked;
mod browser;
mod health;
mod loops;
mod manager;
mod metrics;
mod page;
mod pictures;
mod socket;
mod terminal;
mod unset;
mod verdicts;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
