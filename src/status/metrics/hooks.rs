//! The metrics of hooks.

use std::fmt::Error;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::rotations::histogram;
use super::{CONSUMER, Page};
use crate::status::{Outcome, Status};

impl Page<'_> {
    pub(super) fn hooks(&mut self, status: &Status) -> Result<(), Error> {
        let hooks = &status.hooks;
        self.family(
            "pgsvid_hook_pending",
            "Whether the hook has not succeeded yet for the published set",
            MetricType::Gauge,
            hooks.iter().map(|it| ([(CONSUMER, it.name.as_str())], u64::from(it.pending))),
        )?;
        self.family(
            "pgsvid_hook_failing",
            "Whether the hook's last run has failed",
            MetricType::Gauge,
            hooks
                .iter()
                .map(|it| ([(CONSUMER, it.name.as_str())], u64::from(it.problem.is_some()))),
        )?;
        let outcomes = hooks.iter().flat_map(|it| {
            let runs = [(Outcome::Completed, it.completed), (Outcome::Failed, it.failed)];
            runs.map(|(of, count)| ([(CONSUMER, it.name.as_str()), ("outcome", of.name())], count))
        });
        self.family(
            "pgsvid_hook_runs",
            "Runs of the hook, by outcome",
            MetricType::Counter,
            outcomes,
        )?;
        self.metric(
            "pgsvid_hook_duration",
            "How long a run of the hook took",
            Some(&Unit::Seconds),
            MetricType::Histogram,
            |mut metric| {
                for it in hooks {
                    let labels = [(CONSUMER, it.name.as_str())];
                    histogram(&mut metric.encode_family(&labels)?, &it.took)?;
                }
                Ok(())
            },
        )
    }
}
