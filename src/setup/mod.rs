//! Sets a PostgreSQL up for pgsvid: prints what it needs, applies it, and reverts it.
//!
//! What is printed follows from the configuration alone. What is applied is planned by a pure function from facts, shown,
//! recorded, and restored if PostgreSQL objects. All of this runs as the server's user, even if root starts the command.

mod alter;
mod apply;
mod block;
mod by_hand;
mod carry_out;
mod clients;
mod error;
mod foreign_grants;
mod managed;
mod owner;
mod patroni_yaml;
mod pgbouncer_ini;
mod plan;
mod plan_text;
mod rbac;
mod record;
mod replication;
mod revert;
mod server_files;
mod text;
mod values;

use std::path::PathBuf;

pub use apply::Apply;
pub use error::Error;
pub use owner::Owner;
pub use patroni_yaml::patroni_yaml;
pub use pgbouncer_ini::{before_pooler, pgbouncer_ini};
pub use plan::{Plan, Step};
pub use rbac::rbac;
pub use replication::{Replicating, replication};
pub use revert::Revert;
pub use text::{Piece, text};

use crate::companions::role_map::RoleMap;
use crate::consumers::Server;
use crate::material::Expectations;
use crate::publish::{self, Place};
use crate::sql;

/// What to set up, and as which superuser.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server, the role that reloads it, and the published files as it sees them.
    pub server: Server,
    /// Where consumers find the set.
    pub place: Place,
    /// What the published identity must be.
    pub expectations: Expectations,
    /// Which workload may log in as which role.
    pub roles: RoleMap,
    /// Name of the file that the map is published as, if it is published.
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

    /// Whether a `pgsvid run` publishes there, as far as this user can see.
    #[must_use]
    pub fn is_run(&self) -> bool {
        self.place.directory().is_some_and(|it| publish::is_in_use(&it.directory))
    }

    /// The published map, as PostgreSQL sees it.
    fn published_map(&self) -> Option<PathBuf> {
        self.ident.as_ref().map(|name| self.place.readers_base().join(name))
    }

    /// The TLS settings with the values that they need; `ssl` is last, because it needs the others.
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
