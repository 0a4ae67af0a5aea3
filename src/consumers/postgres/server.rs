//! Which PostgreSQL, how to reach it, and its paths of the published files.

use std::path::PathBuf;

use super::claims::Claims;
use super::sessions::SessionSettings;
use crate::survey::{PublishedPaths, Viewpoint};
use crate::{sql, verify, watching};

/// A PostgreSQL that pgsvid reloads and verifies.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name, which no other server has.
    pub name: String,
    /// How to reach it.
    pub session: sql::Settings,
    /// How to verify it.
    pub verify: verify::Settings,
    /// The paths by which the server finds the published files.
    pub paths: PublishedPaths,
    /// How its view of the files differs from this process's.
    pub viewpoint: Viewpoint,
    /// The operator's regular expressions in the published map that is its `pg_ident.conf`, or a part of it; `None` if no map
    /// is published.
    pub role_map: Option<Vec<String>>,
    /// The addresses of the other servers, if one of them may have the same address as this one. Then an answer there counts
    /// only while this one is reached by its socket.
    pub claims: Option<Claims>,
    /// What counts as a session that has outlived its certificate, and whether it is ended.
    pub sessions: SessionSettings,
}

impl Server {
    /// The directories in which a change may allow a session that was refused: the socket's, and those that decide which
    /// password is read.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        let password = self.session.password_file.iter();
        let password = password.flat_map(|path| watching::resolve_path(path).directories());
        [self.session.host.clone()].into_iter().chain(password).collect()
    }
}
