//! The metrics of publications, and of attempts to make consumers serve what is published.

use std::fmt::Error;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{CONSUMER, Page};
use crate::status::history::{Delivered, Durations};
use crate::status::{Outcome, Status, Step};

impl Page<'_> {
    pub(super) fn rotations(&mut self, status: &Status) -> Result<(), Error> {
        let history = &status.history;
        let outcomes = Outcome::ALL;
        self.family(
            "pgsvid_publications",
            "Attempts to publish a set, by outcome",
            MetricType::Counter,
            outcomes.map(|it| ([("outcome", it.name())], history.publications(it))),
        )?;
        self.metric(
            "pgsvid_publication_duration",
            "How long a publication took",
            Some(&Unit::Seconds),
            MetricType::Histogram,
            |mut metric| histogram(&mut metric, history.publish()),
        )?;
        let consumers: Vec<(&str, Delivered)> = status
            .consumers
            .iter()
            .map(|consumer| (consumer.name.as_str(), history.of(&consumer.name)))
            .collect();
        let steps = [Step::Reload, Step::Verify];
        let attempts = consumers.iter().flat_map(|(name, delivered)| {
            outcomes.into_iter().flat_map(move |outcome| {
                let labels = move |step: Step| {
                    [(CONSUMER, *name), ("outcome", outcome.name()), ("step", step.name())]
                };
                steps.map(|step| (labels(step), delivered.count(outcome, step)))
            })
        });
        self.family(
            "pgsvid_delivery_attempts",
            "Attempts to make a consumer serve the published set, by outcome and the step with which they ended",
            MetricType::Counter,
            attempts,
        )?;
        self.metric(
            "pgsvid_delivery_step_duration",
            "How long each step of such an attempt took",
            Some(&Unit::Seconds),
            MetricType::Histogram,
            |mut metric| {
                for (name, delivered) in &consumers {
                    for (step, took) in
                        [(Step::Reload, &delivered.reload), (Step::Verify, &delivered.verify)]
                    {
                        let labels = [(CONSUMER, *name), ("step", step.name())];
                        histogram(&mut metric.encode_family(&labels)?, took)?;
                    }
                }
                Ok(())
            },
        )?;
        self.metric(
            "pgsvid_rotation_duration",
            "From the start of a publication to its proof at a consumer, including retries",
            Some(&Unit::Seconds),
            MetricType::Histogram,
            |mut metric| {
                for (name, delivered) in &consumers {
                    let labels = [(CONSUMER, *name)];
                    histogram(&mut metric.encode_family(&labels)?, &delivered.whole)?;
                }
                Ok(())
            },
        )
    }
}

pub(super) fn histogram(
    metric: &mut MetricEncoder<'_>,
    durations: &Durations,
) -> Result<(), Error> {
    metric.encode_histogram::<NoLabelSet>(
        durations.sum.as_secs_f64(),
        durations.count(),
        &durations.buckets(),
        None,
    )
}
