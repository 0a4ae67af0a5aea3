//! How a consumer of each kind is made from its settings.

#[cfg(test)]
use std::time::Duration;

use super::client::Client;
use super::consumer::Consumer;
use super::kind::Kind;
use super::patroni::Patroni;
use super::pgbouncer::Pgbouncer;
use super::postgres::Postgres;
use super::secrets::Secrets;
use super::served::Served;
use super::{ClientLogin, Delivery, Pooler, RestApi, SecretsSettings, ServedAddress, Server};
use crate::status::Pulse;
use crate::watching::Watching;

impl Consumer {
    /// A PostgreSQL. `exposed` means that others may have replaced what it read before this process started to check. `label`
    /// is its name in the log, if there are several.
    pub(crate) fn postgres(
        server: Server,
        label: Option<String>,
        watching: &Watching,
        pulse: Pulse,
        exposed: bool,
    ) -> Self {
        // A check cannot show whether the server has read the published map, or new authorities with the names of earlier ones.
        let as_proof = server.role_map.is_some() || exposed;
        let delivery = Delivery::new(server.verify.every, as_proof);
        let name = server.name.clone();
        let kind =
            Kind::Postgres(Box::new(Postgres::new(server, label.clone(), watching, pulse.clone())));
        Self::new(name, label, delivery, kind, pulse)
    }

    /// A PgBouncer; `exposed` and `label` as for a PostgreSQL.
    pub(crate) fn pgbouncer(
        pooler: Pooler,
        label: Option<String>,
        watching: &Watching,
        pulse: Pulse,
        exposed: bool,
    ) -> Self {
        let delivery = Delivery::new(pooler.verify.every, exposed);
        let name = pooler.name.clone();
        let pgbouncer = Pgbouncer::new(pooler, label.clone(), watching, pulse.clone());
        let kind = Kind::Pgbouncer(Box::new(pgbouncer));
        Self::new(name, label, delivery, kind, pulse)
    }

    /// Patroni's REST API; `exposed` and `label` as for a PostgreSQL.
    pub(crate) fn patroni(
        api: RestApi,
        label: Option<String>,
        pulse: Pulse,
        exposed: bool,
    ) -> Self {
        let delivery = Delivery::new(api.verify.every, exposed);
        let name = api.name.clone();
        let kind = Kind::Patroni(Box::new(Patroni::new(api, label.clone(), pulse.clone())));
        Self::new(name, label, delivery, kind, pulse)
    }

    /// A client's own login; `label` as for a PostgreSQL.
    pub(crate) fn client(settings: ClientLogin, label: Option<String>, pulse: Pulse) -> Self {
        let delivery = Delivery::new(settings.every, false);
        let name = settings.name.clone();
        let kind = Kind::Client(Box::new(Client::new(settings, label.clone(), pulse.clone())));
        Self::new(name, label, delivery, kind, pulse)
    }

    /// The writer of Kubernetes Secrets; `label` as for a PostgreSQL.
    pub(crate) fn secrets(settings: SecretsSettings, label: Option<String>, pulse: Pulse) -> Self {
        let delivery = Delivery::new(settings.every, false);
        let name = settings.name.clone();
        let kind = Kind::Secrets(Box::new(Secrets::new(settings, label.clone(), pulse.clone())));
        Self::new(name, label, delivery, kind, pulse)
    }

    /// The instances behind a name, which others reload; `label` as for a PostgreSQL.
    pub(crate) fn served(settings: ServedAddress, label: Option<String>, pulse: Pulse) -> Self {
        let delivery = Delivery::new(settings.every, false);
        let name = settings.name.clone();
        let kind = Kind::Served(Box::new(Served::new(settings, label.clone(), pulse.clone())));
        Self::new(name, label, delivery, kind, pulse)
    }

    #[cfg(test)]
    pub(crate) fn fake(name: &str, fake: super::fake::Fake, every: Duration) -> Self {
        let (delivery, pulse) = (Delivery::new(every, false), fake.pulse.clone());
        let name = name.to_owned();
        let (kind, label) = (Kind::Fake(fake), None);
        Self::new(name, label, delivery, kind, pulse)
    }
}
