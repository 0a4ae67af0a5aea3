//! Which PgBouncer, how to reach it, and its paths of the published files.

use std::path::PathBuf;

use crate::pgbouncer::{Login, Supply};
use crate::survey::{PublishedPaths, Viewpoint};
use crate::{sql, verify};

/// A PgBouncer that pgsvid reloads and verifies. Where several processes share a port (`so_reuseport`), each process is a
/// `Pooler`.
#[derive(Debug, Clone)]
pub struct Pooler {
    /// Its name, which no other consumer has.
    pub name: String,
    /// How to reach its console.
    pub console: sql::Settings,
    /// How to verify it.
    pub verify: verify::Settings,
    /// The login that proves what it shows to PostgreSQL, if there is one.
    pub login: Option<Login>,
    /// The paths by which PgBouncer finds the published files.
    pub paths: PublishedPaths,
    /// How its view of the files differs from this process's.
    pub viewpoint: Viewpoint,
    /// The path, for PgBouncer, of the published part of its ini, which names each generation's own files, if there is one.
    pub part: Option<PathBuf>,
    /// Whether those files are the source's own, which another program writes.
    pub in_place: bool,
    /// Whether another table has the same port: without `so_reuseport` only one of them listens there.
    pub is_beside_another: bool,
}

impl Pooler {
    /// How it gets each set.
    #[must_use]
    pub fn supply(&self) -> Supply<'_> {
        match &self.part {
            Some(part) => Supply::Part(part),
            None if self.in_place => Supply::InPlace,
            None => Supply::Names,
        }
    }
}
