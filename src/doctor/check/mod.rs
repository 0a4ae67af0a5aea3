//! `pgsvid check`: examines the whole set-up, from the agent to the login, and changes nothing.
//!
//! Each group has its file. Facts come from the rooms that `run` uses; what cannot be looked at is said.

mod access;
mod client_login;
mod clients;
mod configuration;
mod expressions;
mod files;
mod loaded;
mod material;
mod own_user;
mod parameters;
mod postgresql;
mod roles;
mod superusers;
mod tls;
mod ways;
mod workload_api;

use super::finding::Report;
use crate::config::{Config, Environment};
use crate::material::Material;

/// What to examine beyond the configuration.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Nothing: the configuration alone.
    pub offline: bool,
    /// Try a login with our certificate as this role.
    pub as_client: Option<String>,
}

/// Examines everything that `scope` names.
pub async fn check(config: &Config, environment: &Environment, scope: &Scope) -> Report {
    let mut configuration = configuration::offline(config);
    if scope.offline {
        return Report { sections: vec![configuration] };
    }

    let (agent, look) = workload_api::section(&config.source).await;
    let offered = look.as_ref().and_then(|look| look.material.as_ref().ok());

    let published = files::examine(config);
    let on_disk = published.as_ref().ok().and_then(files::material);
    configuration.extend(configuration::machine(config, offered.or(on_disk)));
    let mut sections = vec![configuration, agent];
    let rejected = look.as_ref().and_then(|look| look.material.as_ref().err());
    sections.push(material::section(offered, rejected, on_disk));
    sections.push(files::section(config, &published, offered));

    for server in &config.rotation.servers {
        let sql = postgresql::ask(config, server, scope.as_client.as_deref()).await;
        let mut session = postgresql::section(server, &sql);
        if let Some(answers) = sql.answers() {
            session.extend(superusers::own_role(server, answers));
            session.extend(loaded::configuration(server, answers));
        }
        sections.push(session);
        sections.push(tls::section(config, server, &sql, on_disk).await);
        let access = access::facts(server, &sql);
        sections.push(access::section(config, server, &sql, access.as_ref(), on_disk));
        if let Some(role) = &scope.as_client {
            let facts = access.as_ref();
            sections.push(
                client_login::section(config, Some(server), &sql, on_disk, facts, role).await,
            );
        }
    }
    if let Some(role) = &scope.as_client
        && config.rotation.servers.is_empty()
    {
        let unknown = postgresql::none();
        sections.push(client_login::section(config, None, &unknown, on_disk, None, role).await);
    }
    sections.extend(clients::sections(config, environment, on_disk));
    Report { sections }
}

/// The subject of a section about a set.
fn identity(material: &Material) -> String {
    material.spiffe_id().to_string()
}
