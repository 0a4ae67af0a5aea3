//! The sandbox as the configuration needs it: what this process will have to read, write and connect to.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tracing::{info, warn};

use crate::config::Config;
use crate::sandbox::{self, InForce, Rules};
use crate::source::Endpoint;
use crate::watching;

/// A configuration, and the sandbox that was entered for it.
pub struct Confined {
    pub(super) config: Config,
    /// `None` if it is turned off.
    in_force: Option<InForce>,
}

/// Enters the sandbox that the configuration asks for. To be called before any other thread is started.
///
/// Core dumps are prevented in any case. Blocks while a name is looked up, since that cannot be done afterwards.
pub fn confine(mut config: Config) -> anyhow::Result<Confined> {
    sandbox::keep_out_of_dumps()?;
    if !config.sandbox.enabled {
        return Ok(Confined { config, in_force: None });
    }
    if let Some(server) = &mut config.rotation.server {
        let verify = &mut server.verify;
        let wanted = verify.target.to_string();
        verify.target = verify.target.clone().resolved().with_context(|| {
            format!(
                "cannot look up {wanted}, which the sandbox does not let pgsvid do later; set postgres.verify to an \
                 address, or sandbox.enabled to false"
            )
        })?;
        verify.looks_up = false;
    }
    let in_force = sandbox::enter(&rules(&config))
        .context("cannot enter the sandbox; sandbox.enabled = false does without")?;
    Ok(Confined { config, in_force: Some(in_force) })
}

impl Confined {
    /// Whether another directory at the published path would be out of reach.
    pub(super) fn is_bound_to_directory(&self) -> bool {
        self.in_force.as_ref().is_some_and(|in_force| in_force.barriers.files())
    }

    /// Says what is in force: one line.
    pub(super) fn announce(&self) {
        let Some(in_force) = &self.in_force else {
            warn!(
                "no sandbox, as configured: pgsvid can do whatever its user can; core dumps are off all the same"
            );
            return;
        };
        let lacking = in_force.lacking();
        info!(
            denied = in_force.denied().join(", "),
            lacking = (!lacking.is_empty()).then(|| lacking.join(", ")),
            "sandbox entered"
        );
        for path in &in_force.absent {
            warn!(
                path = %path.display(),
                "there is no such directory yet: what comes to lie there stays closed to pgsvid until it is started again"
            );
        }
    }
}

/// What `run` and `fetch` need from here on. The configuration was read already.
fn rules(config: &Config) -> Rules {
    let mut rules = Rules { write: vec![config.publish.directory.clone()], ..Rules::default() };
    // For the process's own memory and descriptors, as it reports them.
    rules.read.push(PathBuf::from("/proc/self"));
    for file in &config.rotation.extra_authorities {
        rules.read.extend(around(file));
    }
    if let Some(server) = &config.rotation.server {
        // The socket's lock file names the data directory, which relative settings start from.
        rules.read.push(server.session.host.clone());
        if let Some(file) = &server.session.password_file {
            rules.read.extend(around(file));
        }
        rules.connect.extend(server.verify.target.port(server.session.port));
    }
    if let Endpoint::Tcp(address) = &config.source.endpoint {
        rules.connect.push(address.port());
    }
    rules.read.sort_unstable();
    rules.read.dedup();
    rules
}

/// The directory of a file that somebody will replace by a rename, and of what it is a link to.
fn around(file: &Path) -> Vec<PathBuf> {
    let mut directories = vec![watching::parent(file)];
    directories.extend(file.canonicalize().ok().as_deref().map(watching::parent));
    directories
}
