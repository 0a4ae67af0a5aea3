//! Sets a PostgreSQL up for pgsvid: prints what is needed, applies it, and takes it back.
//!
//! What is printed comes from the configuration alone. What is applied is planned from facts by a pure function, shown,
//! recorded, and put back if PostgreSQL objects; and done as the user whose server it is, even where root asks for it.

mod alter;
mod apply;
mod block;
mod carry_out;
mod error;
mod managed;
mod owner;
mod place;
mod plan;
mod record;
mod revert;
mod text;

use std::path::PathBuf;

pub use apply::Apply;
pub use error::Error;
pub use owner::Owner;
pub use plan::{Plan, Step};
pub use revert::Revert;
pub use text::{Piece, text};

use crate::companions::role_map::RoleMap;
use crate::consumers::Server;
use crate::material::Expectations;
use crate::{publish, sql};

/// What to set up, and through whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server, the role that reloads it, and the published files as it sees them.
    pub server: Server,
    /// Where identities are published.
    pub publish: publish::Settings,
    /// What the published identity must be.
    pub expectations: Expectations,
    /// Which workload may be which role.
    pub roles: RoleMap,
    /// Name of the file that the map is published as, if it is.
    pub ident: Option<String>,
    /// The superuser to log in as.
    pub superuser: String,
}

impl Settings {
    /// The superuser's session.
    fn session(&self) -> sql::Settings {
        sql::Settings {
            user: self.superuser.clone(),
            password_file: None,
            purpose: sql::Purpose::Administration,
            ..self.server.session.clone()
        }
    }

    /// The published map, as PostgreSQL sees it.
    fn published_map(&self) -> Option<PathBuf> {
        self.ident.as_ref().map(|name| self.publish.readers_directory().join(name))
    }

    /// The TLS settings with the values that they should have, `ssl` last: it needs the others.
    fn wanted(&self) -> [(&'static str, String); 4] {
        let paths = &self.server.paths;
        let path = |path: &std::path::Path| path.display().to_string();
        let [certificate, private_key, authorities, ssl] = sql::TLS_SETTINGS;
        [
            (certificate, path(&paths.certificate)),
            (private_key, path(&paths.private_key)),
            (authorities, path(&paths.bundle)),
            (ssl, "on".to_owned()),
        ]
    }
}
