//! The metrics, in the text format of `OpenMetrics`. They are computed when somebody asks: nothing is kept for them, and nothing
//! wakes. Names and units follow <https://prometheus.io/docs/practices/naming/>, and every label has a closed set of values.

use std::fmt::{Error, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::history::Durations;
use super::{Connection, Outcome, Status, Step, process};
use crate::verify::Verdict;

/// Everything that is known at `now`, as `application/openmetrics-text; version=1.0.0`.
#[must_use]
pub fn openmetrics(status: Status, now: SystemTime) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot { status, now }));
    let mut page = String::new();
    // Writing to a String does not fail.
    let _ = text::encode(&mut page, &registry);
    page
}

#[derive(Debug)]
struct Snapshot {
    status: Status,
    now: SystemTime,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut page = Page(encoder);
        page.build()?;
        page.state(&self.status, self.now)?;
        page.certificates(&self.status)?;
        page.rotations(&self.status)?;
        page.agent(&self.status)?;
        page.sessions(&self.status)?;
        page.process(&self.status)
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn metric(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        samples: impl FnOnce(MetricEncoder<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        samples(self.0.encode_descriptor(name, help, unit, kind)?)
    }

    /// 1 or 0.
    fn flag(&mut self, name: &str, help: &str, value: bool) -> Result<(), Error> {
        self.metric(name, help, None, MetricType::Gauge, |mut metric| {
            metric.encode_gauge(&i64::from(value))
        })
    }

    /// Absent while it is unknown.
    fn time(&mut self, name: &str, help: &str, time: Option<SystemTime>) -> Result<(), Error> {
        self.metric(name, help, Some(&Unit::Seconds), MetricType::Gauge, |mut metric| match time {
            Some(time) => metric.encode_gauge(&unix(time)),
            None => Ok(()),
        })
    }

    /// One sample for each value of a label.
    fn labelled(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        label: &str,
        samples: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Result<(), Error> {
        self.metric(name, help, None, kind, |mut metric| {
            for (value, count) in samples {
                let labels = [(label, value)];
                let mut sample = metric.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => {
                        sample.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                    }
                    _ => sample.encode_gauge(&i64::try_from(count).unwrap_or(i64::MAX))?,
                }
            }
            Ok(())
        })
    }

    fn build(&mut self) -> Result<(), Error> {
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        self.metric(
            "pgsvid_build",
            "The version that runs",
            None,
            MetricType::Info,
            |mut metric| metric.encode_info(&labels),
        )
    }

    fn state(&mut self, status: &Status, now: SystemTime) -> Result<(), Error> {
        let readiness = status.readiness(now);
        self.flag("pgsvid_ready", "Whether /readyz answers 200", readiness.is_ready())?;
        self.flag(
            "pgsvid_degraded",
            "Whether something is not as it should be, though ready",
            readiness.is_ready() && !readiness.degraded.is_empty(),
        )?;
        let verdicts = Verdict::ALL
            .map(|verdict| (verdict.name(), u64::from(status.verdict == Some(verdict))));
        self.labelled(
            "pgsvid_verdict",
            "What the last verification found: 1 for that verdict, 0 for the others",
            MetricType::Gauge,
            "verdict",
            verdicts,
        )?;
        self.flag(
            "pgsvid_reload_pending",
            "Whether what is published was not followed by a reload yet",
            status.reload_pending,
        )?;
        self.flag(
            "pgsvid_withdrawn",
            "Whether the agent has withdrawn the published identity",
            status.withdrawn,
        )
    }

    fn certificates(&mut self, status: &Status) -> Result<(), Error> {
        let published = status.published.as_ref();
        self.time(
            "pgsvid_published_not_before_timestamp",
            "Start of the published leaf's validity",
            published.map(|set| set.not_before),
        )?;
        self.time(
            "pgsvid_published_not_after_timestamp",
            "When the published chain expires",
            published.map(|set| set.not_after),
        )?;
        self.time(
            "pgsvid_served_not_after_timestamp",
            "When the leaf expires that the server was last seen to serve",
            status.served.as_ref().map(|served| served.not_after),
        )?;
        self.time(
            "pgsvid_authority_not_after_timestamp",
            "When the first of the published authorities expires",
            published.and_then(|set| set.authorities_not_after),
        )?;
        self.time(
            "pgsvid_verified_timestamp",
            "When the published set was last proven to be served",
            status.verified,
        )
    }

    fn rotations(&mut self, status: &Status) -> Result<(), Error> {
        let history = &status.history;
        self.metric(
            "pgsvid_rotation_attempts",
            "Attempts to rotate, by outcome and the step that they ended with",
            None,
            MetricType::Counter,
            |mut metric| {
                for outcome in Outcome::ALL {
                    for step in Step::ALL {
                        let labels = [("outcome", outcome.name()), ("step", step.name())];
                        let count = history.count(outcome, step);
                        metric
                            .encode_family(&labels)?
                            .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                    }
                }
                Ok(())
            },
        )?;
        self.metric(
            "pgsvid_step_duration",
            "How long each step took",
            Some(&Unit::Seconds),
            MetricType::Histogram,
            |mut metric| {
                for step in Step::ALL {
                    let labels = [("step", step.name())];
                    histogram(&mut metric.encode_family(&labels)?, &history.step(step))?;
                }
                Ok(())
            },
        )?;
        self.metric(
            "pgsvid_rotation_duration",
            "From the beginning of a publication to its proof, retries and all",
            Some(&Unit::Seconds),
            MetricType::Histogram,
            |mut metric| histogram(&mut metric, history.whole()),
        )
    }

    fn agent(&mut self, status: &Status) -> Result<(), Error> {
        let connections =
            Connection::ALL.map(|state| (state.name(), u64::from(status.connection == state)));
        self.labelled(
            "pgsvid_agent_connection",
            "The connection to the agent: 1 for its state, 0 for the others",
            MetricType::Gauge,
            "state",
            connections,
        )?;
        self.metric(
            "pgsvid_agent_connects",
            "How often the connection to the agent was made",
            None,
            MetricType::Counter,
            |mut metric| metric.encode_counter::<NoLabelSet, _, u64>(&status.connects, None),
        )?;
        self.labelled(
            "pgsvid_agent_rejected_messages",
            "Messages of the agent that were rejected",
            MetricType::Counter,
            "reason",
            status.rejections.iter().copied(),
        )
    }

    fn sessions(&mut self, status: &Status) -> Result<(), Error> {
        let sessions = status.sessions.as_ref();
        self.labelled(
            "pgsvid_sessions",
            "Sessions on the server at the last rotation, where the role may see them",
            MetricType::Gauge,
            "protocol",
            sessions.into_iter().flat_map(|sessions| sessions.by_protocol.iter().copied()),
        )?;
        self.metric(
            "pgsvid_sessions_older_than_svid_estimate",
            "TLS sessions older than our SVID's lifetime: an estimate of those whose client certificate has expired",
            None,
            MetricType::Gauge,
            |mut metric| match sessions {
                Some(sessions) => metric
                    .encode_gauge(&i64::try_from(sessions.older_than_svid).unwrap_or(i64::MAX)),
                None => Ok(()),
            },
        )?;
        self.time(
            "pgsvid_sessions_observed_timestamp",
            "When the sessions were counted",
            sessions.and_then(|sessions| sessions.at),
        )
    }

    fn process(&mut self, status: &Status) -> Result<(), Error> {
        let process = process::process();
        self.time("process_start_time", "When this process began", status.started)?;
        self.metric(
            "process_resident_memory",
            "Resident memory",
            Some(&Unit::Bytes),
            MetricType::Gauge,
            |mut metric| match process {
                Some(process) => {
                    metric.encode_gauge(&i64::try_from(process.resident).unwrap_or(i64::MAX))
                }
                None => Ok(()),
            },
        )?;
        self.metric(
            "process_cpu",
            "Processor time in user and kernel mode",
            Some(&Unit::Seconds),
            MetricType::Counter,
            |mut metric| match process {
                Some(process) => metric
                    .encode_counter::<NoLabelSet, _, u64>(&process.processor.as_secs_f64(), None),
                None => Ok(()),
            },
        )
    }
}

fn histogram(metric: &mut MetricEncoder<'_>, durations: &Durations) -> Result<(), Error> {
    metric.encode_histogram::<NoLabelSet>(
        durations.sum.as_secs_f64(),
        durations.count(),
        &durations.buckets(),
        None,
    )
}

/// Seconds since 1970. Certificates may lie before.
fn unix(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -Duration::as_secs_f64(&before.duration()),
    }
}

/// Every metric that there is, as a page for people: `docs/metrics.md`.
#[must_use]
pub fn reference() -> String {
    let page = openmetrics(Status::default(), UNIX_EPOCH);
    let mut table = String::new();
    let word = |line: &str, keyword: &str| {
        let rest = line.strip_prefix("# ")?.strip_prefix(keyword)?.strip_prefix(' ')?;
        rest.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.to_owned()))
    };
    let kinds: Vec<_> = page.lines().filter_map(|line| word(line, "TYPE")).collect();
    for (name, help) in page.lines().filter_map(|line| word(line, "HELP")) {
        let kind = kinds.iter().find(|(of, _)| *of == name).map_or("", |(_, kind)| kind);
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let _ = writeln!(table, "| `{name}{suffix}` | {kind} | {help} |");
    }
    table
}
