//! Which PostgreSQL, how to reach it, and where it sees the published files.

use crate::survey::{PublishedPaths, Viewpoint};
use crate::{sql, verify};

/// A PostgreSQL that is reloaded and verified.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name, which no other one has.
    pub name: String,
    /// How to reach it.
    pub session: sql::Settings,
    /// How to verify it.
    pub verify: verify::Settings,
    /// The published files as it sees them.
    pub paths: PublishedPaths,
    /// Where its view of the files differs from ours.
    pub viewpoint: Viewpoint,
    /// The regular expressions of the operator's in the map beside the certificates that is its `pg_ident.conf`, or a
    /// part of it; `None` if no map is published.
    pub role_map: Option<Vec<String>>,
}
