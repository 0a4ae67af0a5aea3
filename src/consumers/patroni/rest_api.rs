//! Where Patroni's REST API listens, how to be admitted, and its paths of the published files.

use std::path::PathBuf;
use std::time::Duration;

use crate::material::{Material, Usage, verify_path};
use crate::patroni::Credentials;
use crate::survey::PublishedPaths;
use crate::timing;
use crate::verify::{self, Served};

/// The REST API of the Patroni that manages the PostgreSQL of this machine.
#[derive(Debug, Clone)]
pub struct RestApi {
    /// Its name, which no other consumer has.
    pub name: String,
    /// Where it listens, and how often it is verified.
    pub verify: verify::Settings,
    /// What `restapi.authentication` demands, if it is set.
    pub credentials: Option<Credentials>,
    /// How long Patroni may take to execute a reload: up to its `loop_wait`.
    pub loads_within: Duration,
    /// The paths by which Patroni finds the published files.
    pub paths: PublishedPaths,
    /// The path, for Patroni, of the published part of its configuration, which names each generation's own files, if there is
    /// one.
    pub part: Option<PathBuf>,
}

impl RestApi {
    /// The longest `loads_within`: the next set waits so long.
    pub const LONGEST: Duration = Duration::from_secs(600);

    /// The hosts to try, and the port.
    #[must_use]
    pub fn place(&self) -> (Vec<String>, u16) {
        self.verify.target.hosts(None, 0).unwrap_or_default()
    }

    /// Whether an authority of the own trust domain has signed what the server shows, for the same name. Federated and extra
    /// authorities are for clients, and could sign that name, too.
    #[must_use]
    pub fn is_own(served: &Served, material: &Material) -> bool {
        let authorities = material.own_authorities();
        material.name().matches(&served.leaf)
            && verify_path(&served.leaf, &served.rest, authorities, Usage::Server, timing::now())
                .is_ok()
    }
}
