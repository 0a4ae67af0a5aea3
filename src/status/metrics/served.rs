//! The metrics of servers that are only looked at.

use std::fmt::Error;
use std::time::SystemTime;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{CONSUMER, Page};
use crate::status::{Instances, Status};
use crate::verify::Verdict;

/// The label that names an instance: Prometheus has its own meaning for `instance`.
const ADDRESS: &str = "address";

impl Page<'_> {
    pub(super) fn served(&mut self, status: &Status, now: SystemTime) -> Result<(), Error> {
        let names = || {
            let all = status.consumers.iter();
            all.filter_map(|it| Some((it.name.as_str(), it, it.instances.as_ref()?)))
        };
        let instances = || {
            names().flat_map(|(name, _, of): (_, _, &Instances)| {
                of.instances.iter().map(move |instance| (name, instance))
            })
        };
        let verdicts = instances().flat_map(|(name, it)| {
            let verdict = it.verdict_at(now);
            let labels = move |of: Verdict| {
                [(CONSUMER, name), (ADDRESS, it.address.as_str()), ("verdict", of.name())]
            };
            Verdict::OF_INSTANCES.iter().map(move |of| (labels(*of), u64::from(verdict == *of)))
        });
        self.family(
            "pgsvid_served_verdict",
            "The verdict of the last look at an instance of a [[served]]: 1 for that verdict, 0 for the others",
            MetricType::Gauge,
            verdicts,
        )?;
        self.family(
            "pgsvid_served_late",
            "1 if an instance of the [[served]] does not serve the published set although served.within is over, or the name has had no address for so long",
            MetricType::Gauge,
            names().map(|(name, it, of)| {
                ([(CONSUMER, name)], u64::from(it.problem.is_some() && !of.awaited))
            }),
        )?;
        self.metric(
            "pgsvid_served_delay",
            "From the hand-over of a set to the first handshake in which the instance served it, for the last set for which that was measured",
            Some(&Unit::Seconds),
            MetricType::Gauge,
            |mut metric| {
                for (name, it) in instances() {
                    if let Some(delay) = it.delay {
                        let labels = [(CONSUMER, name), (ADDRESS, it.address.as_str())];
                        metric.encode_family(&labels)?.encode_gauge(&delay.as_secs_f64())?;
                    }
                }
                Ok(())
            },
        )
    }
}
