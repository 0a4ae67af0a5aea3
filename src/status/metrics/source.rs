//! The metrics of what gives identities: an agent, or files.

use std::fmt::Error;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::Page;
use crate::status::{Connection, Status};

impl Page<'_> {
    pub(super) fn agent(&mut self, status: &Status) -> Result<(), Error> {
        let is_source = status.origin.files().is_none();
        let all = Connection::ALL.into_iter().filter(|_| is_source);
        let connections =
            all.map(|it| ([("state", it.name())], u64::from(status.connection == it)));
        self.family(
            "pgsvid_agent_connection",
            "The connection to the agent: 1 for its state, 0 for the others",
            MetricType::Gauge,
            connections,
        )?;
        self.metric(
            "pgsvid_agent_connects",
            "How often a connection to the agent was opened",
            None,
            MetricType::Counter,
            |mut metric| {
                if is_source {
                    metric.encode_counter::<NoLabelSet, _, u64>(&status.connects, None)
                } else {
                    Ok(())
                }
            },
        )?;
        self.family(
            "pgsvid_agent_rejected_messages",
            "Messages of the agent that were rejected",
            MetricType::Counter,
            status.rejections.iter().map(|(reason, count)| ([("reason", *reason)], *count)),
        )
    }

    /// The metrics of the certificate files, if they are the source; none if the source is an agent.
    pub(super) fn files(&mut self, status: &Status) -> Result<(), Error> {
        let files = status.origin.files();
        self.time(
            "pgsvid_certificates_written_timestamp",
            "When the certificate file that is the source was last written",
            files.and_then(|files| files.written),
        )?;
        self.family(
            "pgsvid_certificates_usable",
            "Whether the certificate files can be used; 0 once key, certificate and CA have not fitted together for a while",
            MetricType::Gauge,
            files.map(|files| ([("path", files.path.as_str())], u64::from(files.trouble.is_none()))),
        )?;
        self.metric(
            "pgsvid_certificates_rejected",
            "How often the certificate files could not be used for a while",
            None,
            MetricType::Counter,
            |mut metric| match files {
                Some(files) => metric.encode_counter::<NoLabelSet, _, u64>(&files.rejected, None),
                None => Ok(()),
            },
        )
    }
}
