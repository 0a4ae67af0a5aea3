//! Real PostgreSQL servers, programs and clients for pgsvid's tests.
//!
//! Everything here is synchronous: child processes and threads. Every error is a panic, with the children's output, because
//! that is how a test fails.
//!
//! ```no_run
//! use std::time::Duration;
//! use test_support::{Cluster, Directory, Program};
//!
//! let files = Directory::new();
//! let cluster = Cluster::builder()
//!     .tls_files(files.path())
//!     .hba("hostssl all all 127.0.0.1/32 cert")
//!     .create();
//! cluster.prepare_role();
//! let pgsvid = Program::spawn("/path/to/pgsvid", ["run"], &[("PGSVID_LOG_FORMAT", "json")]);
//! pgsvid.wait_for_text(Duration::from_secs(10), "identity received");
//! cluster.start();
//! assert_eq!(cluster.sql("postgres", "postgres", "SHOW ssl"), "on");
//! ```

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is how this crate fails a test"
)]
#![allow(clippy::print_stderr, reason = "the test harness shows it only for a test that fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "real servers run on the real clock, and nothing here is published"
)]
#![allow(
    clippy::must_use_candidate,
    reason = "most functions here wait for something, and their value is a by-product"
)]

mod account;
mod api_server;
mod cluster;
mod connect_loop;
mod dice;
mod directory;
mod eventually;
mod installation;
mod material;
mod mounts;
mod name_server;
mod openssl;
mod output;
mod patroni;
mod pgbouncer;
mod ports;
mod process;
mod program;
mod psql;
mod reconnecting;
mod setup;
mod spawn;
mod spire_server;
mod strace;
mod template;
mod wall_clock;

pub use account::Account;
pub use api_server::{ApiServer, Fault};
pub use cluster::{Cluster, ClusterBuilder, Mode, Served, subject};
pub use connect_loop::{ConnectLoop, Counts};
pub use dice::Dice;
pub use directory::Directory;
pub use eventually::{Outcome, eventually};
pub use installation::Installation;
pub use material::checked;
pub use mounts::{FileOver, Tmpfs, with_containers, with_mounts};
pub use name_server::NameServer;
pub use openssl::openssl;
pub use output::Mark;
pub use patroni::{Etcd, Patroni};
pub use pgbouncer::PgBouncer;
pub use ports::free_address;
pub use process::{Memory, Process, Work};
pub use program::Program;
pub use psql::{Psql, PsqlOutput};
pub use reconnecting::Reconnecting;
pub use rustix::process::Signal;
pub use setup::{LIMIT, Pgsvid, Setup, SetupBuilder};
pub use spire_server::SpireServer;
pub use strace::Strace;
pub use wall_clock::WallClock;
