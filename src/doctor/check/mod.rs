//! `pgsvid check`: examines the whole set-up, from the agent to the login, and changes nothing.
//!
//! Each group has its file. The facts come from the rooms that `run` uses. What cannot be examined is reported.

mod access;
mod certificates;
mod client;
mod client_login;
mod clients;
mod configuration;
mod connection_string;
mod daemon;
mod drivers;
mod elsewhere;
mod exchangeable;
mod expressions;
mod files;
mod hooks;
mod inputs;
mod loaded;
mod login_outcome;
mod material;
mod nameless;
mod names;
mod not_started;
mod outgoing;
mod own_connections;
mod own_user;
mod parameters;
mod patroni;
mod pgbouncer;
mod pinned;
mod pooled_servers;
mod pooled_stranger;
mod postgresql;
mod readable;
mod readers;
mod remedy;
mod replication;
mod roles;
mod secrets;
mod served;
mod store_passwords;
mod superusers;
mod tls;
mod tls_files;
mod tokens;
mod unproven;
mod upcoming;
mod verdict;
mod version_settings;
mod workload_api;

use super::finding::{Finding, Report, Section, Severity};
use crate::config::{Config, Environment};
use crate::material::Material;
use crate::source::Settings;

/// How many findings with one code a section lists.
const MOST_OF_A_CODE: usize = 50;

/// What to examine.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Examine only the configuration, and open no connection.
    pub offline: bool,
    /// Also try a login with the published certificate as this role.
    pub as_client: Option<String>,
}

/// Examines everything that `scope` names.
pub async fn check(config: &Config, environment: &Environment, scope: &Scope) -> Report {
    let mut configuration = configuration::offline(config);
    if scope.offline {
        return Report { sections: vec![configuration] };
    }

    let last = files::last(config);
    let mut as_run = config.clone();
    // `run` continues with the published set.
    as_run.source.set_published(files::examine(config).and_then(|found| found.ok()?.names));
    let (source, material) = match &as_run.source {
        Settings::WorkloadApi(settings) => {
            let (section, look) = workload_api::section(&as_run, settings, last.as_ref()).await;
            (section, look.map(|look| look.material))
        }
        Settings::Files(settings) => {
            let (section, material) = certificates::section(config, settings).await;
            (section, material.map(Ok))
        }
    };
    let offered = material.as_ref().and_then(|material| material.as_ref().ok());

    // The agent may have taken long, and a renewal may have come in the meantime.
    let published = files::examine(config);
    let on_disk = match &published {
        Some(examined) => examined.as_ref().ok().and_then(files::material),
        None => offered,
    };
    let unusable = unusable(&source).filter(|_| published.is_none() && material.is_none());
    configuration.extend(configuration::machine(config, offered.or(on_disk)));
    configuration.extend(inputs::findings(config));
    let mut sections = vec![configuration, source];
    let rejected = material.as_ref().and_then(|material| material.as_ref().err());
    let mut svid = material::section(&as_run.source, offered, rejected, on_disk);
    svid.extend(names::findings(offered.or(on_disk), &as_run.source));
    sections.push(svid);
    sections.extend(published.as_ref().map(|found| files::section(config, found, offered)));
    sections.extend(tokens::section(config, offered).await);

    let mut access_files = None;
    for server in &config.rotation.servers {
        let sql = postgresql::ask(config, server, scope.as_client.as_deref()).await;
        let mut session = postgresql::section(server, &sql, unusable.as_ref());
        if let Some(answers) = sql.answers() {
            session.extend(superusers::own_role(server, answers));
            session.extend(loaded::configuration(server, answers));
            session.extend(own_connections::findings(config, server, answers, on_disk));
            session.extend(outgoing::findings(config, server, answers, on_disk));
            session.extend(replication::findings(server, answers));
        }
        // The next set matters more than the one on disk.
        if let Some(failure) =
            offered.or(on_disk).and_then(|material| nameless::unreachable(&sql, material))
        {
            nameless::without_warning(&mut sections);
            session.add(failure);
        }
        sections.push(session);
        let access = access::facts(config, server, &sql);
        access_files = access_files.or(sql.answers().and_then(|answers| answers.files.clone()));
        sections.push(tls::section(config, server, &sql, access.as_ref(), on_disk).await);
        sections.push(access::section(config, server, &sql, access.as_ref(), on_disk));
        if let Some(role) = &scope.as_client {
            let facts = access.as_ref();
            sections.push(
                client_login::section(config, Some(server), &sql, on_disk, facts, role).await,
            );
        }
    }
    for pooler in &config.rotation.poolers {
        sections.push(pgbouncer::section(config, pooler, on_disk, unusable.as_ref()).await);
    }
    if let Some(api) = &config.rotation.patroni {
        sections.push(patroni::section(config, api, access_files.as_ref(), on_disk).await);
    } else {
        sections.extend(access_files.as_ref().and_then(patroni::unwatched));
    }
    for client in &config.rotation.clients {
        sections.push(client::section(client, on_disk).await);
    }
    for served in &config.rotation.served {
        let is_shared = config.rotation.secrets.as_ref().is_some_and(|it| it.lease.is_some());
        sections.push(served::section(served, on_disk, is_shared).await);
    }
    if let Some(role) = &scope.as_client {
        sections.extend(client::as_libpq(config, role, environment, on_disk).await);
    }
    if let Some(written) = &config.rotation.secrets {
        sections.push(secrets::section(written, offered).await);
    }
    sections.extend(hooks::section(config));
    if let Some(role) = &scope.as_client
        && config.rotation.servers.is_empty()
    {
        let unknown = postgresql::none();
        sections.push(client_login::section(config, None, &unknown, on_disk, None, role).await);
    }
    let logs_in = scope.as_client.is_some() || !config.rotation.clients.is_empty();
    if !logs_in && config.rotation.servers.is_empty() {
        sections.extend(client_login::untried(config));
    }
    sections.extend(clients::sections(config, environment, on_disk));
    let daemon = daemon::section(config, &sections).await;
    sections.extend(daemon);
    Report { sections }.limited(MOST_OF_A_CODE)
}

/// What is wrong with the source. Without a directory consumers read its own files.
fn unusable(source: &Section) -> Option<Finding> {
    source.findings.iter().find(|it| it.severity == Severity::Failure).cloned()
}

/// The heading's subject for a set.
fn identity(material: &Material) -> String {
    material.name().to_string()
}
