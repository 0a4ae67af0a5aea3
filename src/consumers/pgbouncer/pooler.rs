//! Which PgBouncer, how to reach it, and its paths of the published files.

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
    /// The paths by which PgBouncer finds the published files.
    pub paths: PublishedPaths,
    /// How its view of the files differs from this process's.
    pub viewpoint: Viewpoint,
    /// Whether each generation has a part of its ini, which names the generation's own files.
    pub has_fragment: bool,
}
