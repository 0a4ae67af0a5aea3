//! The settings of the loop, and the consumers that they ask for.

use std::path::PathBuf;
use std::time::Duration;

use crate::consumers::{
    ClientLogin, Consumer, Pooler, RestApi, SecretsSettings, ServedAddress, Server, verified,
};
use crate::hooks::Hook;
use crate::material::{Expectations, Names};
use crate::status::Pulse;
use crate::watching::Watching;

/// The settings of the loop.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The requirements for a set of an earlier run.
    pub expectations: Expectations,
    /// The names of the set on disk at the start, even if the configuration has changed since it was written.
    pub before: Option<Names>,
    /// PEM files whose certificates are appended to the bundle.
    pub extra_authorities: Vec<PathBuf>,
    /// Shortest time between two publications of an identity that changes again and again; zero means no limit.
    pub publish_every: Duration,
    /// The servers that read the published set, if any.
    pub servers: Vec<Server>,
    /// Each PgBouncer that reads it, if any.
    pub poolers: Vec<Pooler>,
    /// The REST API of the Patroni that reads it, if any.
    pub patroni: Option<RestApi>,
    /// The logins that prove that a client is let in with the set, if any.
    pub clients: Vec<ClientLogin>,
    /// The Kubernetes Secrets that it is written to, if any.
    pub secrets: Option<SecretsSettings>,
    /// The servers of others that are looked at, if any.
    pub served: Vec<ServedAddress>,
    /// The commands and signals that follow a publication.
    pub hooks: Vec<Hook>,
}

impl Settings {
    /// The names of all consumers, of whatever kind.
    pub fn consumer_names(&self) -> impl Iterator<Item = &str> {
        // A new kind of consumer does not compile without a decision about its name.
        let Self {
            expectations: _,
            before: _,
            extra_authorities: _,
            publish_every: _,
            servers,
            poolers,
            patroni,
            clients,
            secrets,
            served,
            hooks: _,
        } = self;
        let proven = verified(servers, poolers, patroni.as_ref()).map(|(name, _)| name);
        let clients = clients.iter().map(|it| it.name.as_str());
        let secrets = secrets.iter().map(|it| it.name.as_str());
        let served = served.iter().map(|it| it.name.as_str());
        proven.chain(clients).chain(secrets).chain(served)
    }

    /// The consumers, in the order in which status and metrics show them. Only where there are several, log lines name them.
    /// `exposed` says that others may rename files in the published directory.
    pub(super) fn consumers(
        &self,
        watching: &Watching,
        pulse: &Pulse,
        exposed: bool,
    ) -> Vec<Consumer> {
        let Settings { servers, poolers, patroni, clients, secrets, served, .. } = self;
        let several = self.consumer_names().nth(1).is_some();
        let label = |name: &str| several.then(|| name.to_owned());
        let mut numbers = 0..;
        let mut pulses = || pulse.beside(numbers.next().unwrap_or_default());
        let mut consumers: Vec<Consumer> = Vec::new();
        for server in servers.iter().cloned() {
            let label = label(&server.name);
            consumers.push(Consumer::postgres(server, label, watching, pulses(), exposed));
        }
        for pooler in poolers.iter().cloned() {
            let label = label(&pooler.name);
            consumers.push(Consumer::pgbouncer(pooler, label, watching, pulses(), exposed));
        }
        if let Some(api) = patroni.clone() {
            let label = label(&api.name);
            consumers.push(Consumer::patroni(api, label, pulses(), exposed));
        }
        for client in clients.iter().cloned() {
            let label = label(&client.name);
            consumers.push(Consumer::client(client, label, pulses()));
        }
        if let Some(secrets) = secrets.clone() {
            let label = label(&secrets.name);
            consumers.push(Consumer::secrets(secrets, label, pulses()));
        }
        for address in served.iter().cloned() {
            let label = label(&address.name);
            consumers.push(Consumer::served(address, label, pulses()));
        }
        consumers
    }
}
