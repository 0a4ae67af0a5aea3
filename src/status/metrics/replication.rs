//! The metrics of the replication connections of a server.

use std::fmt::Error;

use prometheus_client::metrics::MetricType;

use super::{CONSUMER, Page};
use crate::status::Status;
use crate::status::replication::Shows;

impl Page<'_> {
    pub(super) fn replication(&mut self, status: &Status) -> Result<(), Error> {
        let seen = || status.consumers.iter().filter_map(|it| Some((it, it.replication.as_ref()?)));
        let connections = seen().flat_map(|(it, replication)| {
            Shows::NAMES.into_iter().map(move |name| {
                let labels = [(CONSUMER, it.name.as_str()), ("shows", name)];
                let shown = replication.connections.iter().filter(|one| one.shows.name() == name);
                (labels, shown.count() as u64)
            })
        });
        self.family(
            "pgsvid_replication_connections",
            "Connections that receive from the consumer, by what their client shows, if its role may see them; at most 20 are counted, those without a certificate first",
            MetricType::Gauge,
            connections,
        )?;
        let of_known_life = seen().filter(|(_, replication)| replication.life_is_set);
        let outlived = of_known_life.map(|(it, replication)| {
            let bounds = replication.connections.iter().filter_map(|one| replication.bound(one));
            let outlived = bounds.filter(|bound| *bound <= replication.at).count();
            ([(CONSUMER, it.name.as_str())], outlived as u64)
        });
        self.family(
            "pgsvid_replication_outlived",
            "Of these connections, those that are older than postgres.client_svid_life; no sample without that key",
            MetricType::Gauge,
            outlived,
        )?;
        let receiving = seen().filter_map(|(it, replication)| {
            let receives = replication.receiver.as_ref()?.receives;
            Some(([(CONSUMER, it.name.as_str())], u64::from(receives)))
        });
        self.family(
            "pgsvid_replication_receiving",
            "Whether a standby receives from its primary; no sample for other servers",
            MetricType::Gauge,
            receiving,
        )?;
        let subscriptions = seen().filter(|(_, it)| !it.subscriptions.is_empty());
        let silent = subscriptions.map(|(it, replication)| {
            let silent = replication.subscriptions.iter().filter(|(_, receives)| !receives);
            ([(CONSUMER, it.name.as_str())], silent.count() as u64)
        });
        self.family(
            "pgsvid_replication_silent_subscriptions",
            "Enabled subscriptions that do not receive from their publisher; no sample for servers without any",
            MetricType::Gauge,
            silent,
        )?;
        self.times(
            "pgsvid_replication_observed_timestamp",
            "When the replication connections were seen",
            &status.consumers,
            |consumer| consumer.replication.as_ref().map(|replication| replication.at),
        )
    }
}
