//! The kinds of consumers. A kind decides how a consumer is reloaded and checked.

use super::client::Client;
use super::patroni::Patroni;
use super::pgbouncer::Pgbouncer;
use super::postgres::Postgres;
use super::secrets::Secrets;
use super::served::Served;
use super::{Attempt, Delivery, Publication};
use crate::finding::Finding;
use crate::status;

/// The kind of consumer, which decides how it is reloaded and checked.
pub(super) enum Kind {
    Postgres(Box<Postgres>),
    Pgbouncer(Box<Pgbouncer>),
    Patroni(Box<Patroni>),
    Client(Box<Client>),
    Secrets(Box<Secrets>),
    Served(Box<Served>),
    #[cfg(test)]
    Fake(super::fake::Fake),
}

impl Kind {
    /// The kind, as the status shows it.
    pub(super) fn for_status(&self) -> status::Kind {
        match self {
            Self::Postgres(_) => status::Kind::Postgres,
            Self::Pgbouncer(_) => status::Kind::Pgbouncer,
            Self::Patroni(_) => status::Kind::Patroni,
            Self::Client(_) => status::Kind::Client,
            Self::Secrets(_) => status::Kind::Secrets,
            Self::Served(_) => status::Kind::Served,
            #[cfg(test)]
            Self::Fake(_) => status::Kind::Postgres,
        }
    }

    /// The PostgreSQL, if it is one.
    pub(super) fn postgres(&self) -> Option<&Postgres> {
        match self {
            Self::Postgres(postgres) => Some(postgres),
            _ => None,
        }
    }

    /// A sentence that says what is not proven, although the consumer serves the right set.
    pub(super) fn unproven(&self) -> Option<&'static str> {
        match self {
            Self::Postgres(postgres) => postgres.unproven(),
            Self::Pgbouncer(pgbouncer) => pgbouncer.unproven(),
            Self::Patroni(_) | Self::Secrets(_) => None,
            Self::Client(client) => client.unproven(),
            Self::Served(served) => served.unproven(),
            #[cfg(test)]
            Self::Fake(_) => None,
        }
    }

    /// The settings that keep published files from being used, even if it serves the right certificate.
    pub(super) fn concerns(&self) -> &[Finding] {
        match self {
            Self::Postgres(postgres) => postgres.concerns(),
            Self::Pgbouncer(pgbouncer) => pgbouncer.concerns(),
            Self::Patroni(patroni) => patroni.concerns(),
            Self::Client(_) => &[],
            Self::Secrets(secrets) => secrets.concerns(),
            Self::Served(served) => served.concerns(),
            #[cfg(test)]
            Self::Fake(_) => &[],
        }
    }

    /// Whether the consumer's settings have been queried, if it has settings that are.
    pub(super) fn is_known(&self) -> bool {
        match self {
            Self::Postgres(postgres) => postgres.is_known(),
            Self::Pgbouncer(pgbouncer) => pgbouncer.is_known(),
            _ => true,
        }
    }

    /// Whether the server was started again, or stopped, since the last attempt.
    pub(super) fn is_another(&self) -> bool {
        match self {
            Self::Postgres(postgres) => postgres.is_another(),
            Self::Pgbouncer(pgbouncer) => pgbouncer.is_another(),
            _ => false,
        }
    }

    /// Ends when something has changed in the directories of the consumer's files, or in a Secret; never, if it has none that
    /// could be watched. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Postgres(postgres) => postgres.changed().await,
            Self::Pgbouncer(pgbouncer) => pgbouncer.changed().await,
            Self::Secrets(secrets) => secrets.changed().await,
            _ => std::future::pending().await,
        }
    }

    /// Reloads, if necessary or useful, and verifies. `is_new` means that the set was just published.
    pub(super) async fn attempt(
        &mut self,
        delivery: &mut Delivery,
        publication: &Publication,
        is_new: bool,
    ) -> Attempt {
        match self {
            Self::Postgres(postgres) => postgres.attempt(delivery, publication, is_new).await,
            Self::Pgbouncer(pgbouncer) => pgbouncer.attempt(delivery, publication, is_new).await,
            Self::Patroni(patroni) => patroni.attempt(delivery, publication, is_new).await,
            Self::Client(client) => client.attempt(delivery, publication, is_new).await,
            Self::Secrets(secrets) => secrets.attempt(delivery, publication, is_new).await,
            Self::Served(served) => served.attempt(delivery, publication, is_new).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.attempt(delivery, publication, is_new).await,
        }
    }
}
