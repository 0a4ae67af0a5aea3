//! The metrics of tokens.

use std::fmt::Error;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{Page, unix};
use crate::status::{Outcome, Status, TokenFile};

/// The label that names a file.
const FILE: &str = "file";

impl Page<'_> {
    pub(super) fn tokens(&mut self, status: &Status) -> Result<(), Error> {
        let tokens = &status.tokens;
        self.file_times(
            "pgsvid_token_not_after_timestamp",
            "When the token in the file expires",
            tokens,
            |token| token.expires,
        )?;
        self.file_times(
            "pgsvid_token_written_timestamp",
            "When this process last wrote the token or the JWT bundle in the file",
            tokens,
            |token| token.written,
        )?;
        self.family(
            "pgsvid_token_failing",
            "Whether the last attempt to renew the token or the JWT bundle in the file has failed",
            MetricType::Gauge,
            tokens.iter().map(|it| ([(FILE, it.file.as_str())], u64::from(it.problem.is_some()))),
        )?;
        self.family(
            "pgsvid_token_unverified",
            "Whether the signature of the token in the file is not verified",
            MetricType::Gauge,
            tokens
                .iter()
                .filter(|it| !it.is_bundle())
                .map(|it| ([(FILE, it.file.as_str())], u64::from(it.unverified.is_some()))),
        )?;
        let renewals = tokens.iter().flat_map(|it| {
            let counts = [(Outcome::Completed, it.writes), (Outcome::Failed, it.failures)];
            counts.map(|(of, count)| ([(FILE, it.file.as_str()), ("outcome", of.name())], count))
        });
        self.family(
            "pgsvid_token_renewals",
            "Renewals of the token or the JWT bundle in the file, by outcome",
            MetricType::Counter,
            renewals,
        )
    }

    fn file_times(
        &mut self,
        name: &str,
        help: &str,
        tokens: &[TokenFile],
        time: impl Fn(&TokenFile) -> Option<std::time::SystemTime>,
    ) -> Result<(), Error> {
        self.metric(name, help, Some(&Unit::Seconds), MetricType::Gauge, |mut metric| {
            for token in tokens {
                if let Some(time) = time(token) {
                    metric
                        .encode_family(&[(FILE, token.file.as_str())])?
                        .encode_gauge(&unix(time))?;
                }
            }
            Ok(())
        })
    }
}
