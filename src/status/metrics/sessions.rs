//! The metrics of the sessions on a server.

use std::fmt::Error;

use prometheus_client::metrics::MetricType;

use super::{CONSUMER, Page};
use crate::status::Status;

impl Page<'_> {
    pub(super) fn sessions(&mut self, status: &Status) -> Result<(), Error> {
        let by_protocol = status.consumers.iter().flat_map(|it| {
            let sessions = it.sessions.iter().flat_map(|sessions| &sessions.by_protocol);
            sessions.map(|(protocol, count)| {
                ([(CONSUMER, it.name.as_str()), ("protocol", *protocol)], *count)
            })
        });
        self.family(
            "pgsvid_sessions",
            "Sessions on the consumer at the last rotation, if its role may see them",
            MetricType::Gauge,
            by_protocol,
        )?;
        self.family(
            "pgsvid_sessions_older_than_svid_estimate",
            "TLS sessions older than the SVID's lifetime: an estimate of those whose client certificate has expired",
            MetricType::Gauge,
            status.consumers.iter().filter_map(|it| {
                let older = it.sessions.as_ref()?.older_than_svid;
                Some(([(CONSUMER, it.name.as_str())], older))
            }),
        )?;
        self.family(
            "pgsvid_sessions_certified",
            "Sessions whose client has shown a certificate",
            MetricType::Gauge,
            status.consumers.iter().filter_map(|it| {
                let certified = it.sessions.as_ref()?.certified;
                Some(([(CONSUMER, it.name.as_str())], certified))
            }),
        )?;
        let outlived = status.consumers.iter().flat_map(|it| {
            let roles = it.sessions.iter().flat_map(|sessions| &sessions.outlived);
            roles.flat_map(move |of| {
                let labels =
                    |age| [(CONSUMER, it.name.as_str()), ("role", of.role.as_str()), ("age", age)];
                of.by_age.iter().map(move |(age, count)| (labels(*age), *count))
            })
        });
        self.family(
            "pgsvid_sessions_outlived",
            "Sessions that have outlived the certificate of their client, by role (at most 20, the rest as `other`), and by how long ago it must have expired, at most",
            MetricType::Gauge,
            outlived,
        )?;
        self.family(
            "pgsvid_sessions_ended",
            "Sessions that were ended because they had outlived the certificate of their client (`postgres.end_sessions`)",
            MetricType::Counter,
            status.consumers.iter().filter_map(|it| {
                let ended = it.sessions.as_ref()?.ended;
                Some(([(CONSUMER, it.name.as_str())], ended))
            }),
        )?;
        self.times(
            "pgsvid_sessions_observed_timestamp",
            "When the sessions were counted",
            &status.consumers,
            |consumer| consumer.sessions.as_ref().and_then(|sessions| sessions.at),
        )
    }
}
