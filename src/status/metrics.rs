//! The metrics, in the text format of `OpenMetrics`. They are computed from the status on request, and no timer runs. Names and
//! units follow <https://prometheus.io/docs/practices/naming/>. The program or the configuration fixes the values of every
//! label, except that of `role`, which has at most 21 values, and of `address`, which has 32 for each `[[served]]`.

mod hooks;
mod replication;
mod rotations;
mod served;
mod server_side;
mod sessions;
mod source;
mod tokens;

use std::fmt::{Error, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Consumer, Kind, Status, naming, process};
use crate::verify::Verdict;

/// The label that names a consumer.
const CONSUMER: &str = "consumer";

/// The status at `now`, as `application/openmetrics-text; version=1.0.0`.
#[must_use]
pub fn openmetrics(status: Status, now: SystemTime) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot { status, now }));
    let mut page = String::new();
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
        page.names(&self.status, self.now)?;
        page.rotations(&self.status)?;
        page.agent(&self.status)?;
        page.files(&self.status)?;
        page.sessions(&self.status)?;
        page.replication(&self.status)?;
        page.server_side(&self.status)?;
        page.served(&self.status, self.now)?;
        page.hooks(&self.status)?;
        page.tokens(&self.status)?;
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

    /// A gauge that is 1 for true, and 0 for false.
    fn flag(&mut self, name: &str, help: &str, value: bool) -> Result<(), Error> {
        self.metric(name, help, None, MetricType::Gauge, |mut metric| {
            metric.encode_gauge(&i64::from(value))
        })
    }

    /// A timestamp, which is absent while it is unknown.
    fn time(&mut self, name: &str, help: &str, time: Option<SystemTime>) -> Result<(), Error> {
        self.metric(name, help, Some(&Unit::Seconds), MetricType::Gauge, |mut metric| match time {
            Some(time) => metric.encode_gauge(&unix(time)),
            None => Ok(()),
        })
    }

    /// A timestamp of each consumer.
    fn times(
        &mut self,
        name: &str,
        help: &str,
        consumers: &[Consumer],
        time: impl Fn(&Consumer) -> Option<SystemTime>,
    ) -> Result<(), Error> {
        self.metric(name, help, Some(&Unit::Seconds), MetricType::Gauge, |mut metric| {
            for consumer in consumers {
                if let Some(time) = time(consumer) {
                    let labels = [(CONSUMER, consumer.name.as_str())];
                    metric.encode_family(&labels)?.encode_gauge(&unix(time))?;
                }
            }
            Ok(())
        })
    }

    /// One sample for each set of labels.
    fn family<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> Result<(), Error> {
        self.metric(name, help, None, kind, |mut metric| {
            for (labels, count) in samples {
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
        self.metric("pgsvid_build", "The running version", None, MetricType::Info, |mut metric| {
            metric.encode_info(&labels)
        })
    }

    fn state(&mut self, status: &Status, now: SystemTime) -> Result<(), Error> {
        let readiness = status.readiness(now);
        self.flag("pgsvid_ready", "Whether /readyz answers 200", readiness.is_ready())?;
        self.flag(
            "pgsvid_degraded",
            "Whether there is a problem that does not make it not ready",
            readiness.is_ready() && !readiness.degraded.is_empty(),
        )?;
        // Those of a [[served]] are its instances'.
        let judged = status.consumers.iter().filter(|it| it.kind != Kind::Served);
        let verdicts = judged.flat_map(|it| {
            let labels = |of: Verdict| [(CONSUMER, it.name.as_str()), ("verdict", of.name())];
            let verdict = it.verdict_at(now);
            let all = match it.kind {
                Kind::Client => Verdict::OF_CLIENTS,
                Kind::Secrets => Verdict::OF_SECRETS,
                _ => Verdict::OF_SERVERS,
            };
            all.iter().map(move |of| (labels(*of), u64::from(verdict == Some(*of))))
        });
        self.family(
            "pgsvid_verdict",
            "The verdict of the last verification of a consumer: 1 for that verdict, 0 for the others",
            MetricType::Gauge,
            verdicts,
        )?;
        self.family(
            "pgsvid_reload_pending",
            "Whether a reload of the consumer has not followed the last publication yet",
            MetricType::Gauge,
            status
                .consumers
                .iter()
                .filter(|it| it.kind.reads_the_set())
                .map(|it| ([(CONSUMER, it.name.as_str())], u64::from(it.reload_pending))),
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
        self.times(
            "pgsvid_served_not_after_timestamp",
            "When the leaf that the consumer was last seen to serve expires",
            &status.consumers,
            |consumer| consumer.served.as_ref().map(|served| served.not_after),
        )?;
        self.time(
            "pgsvid_authority_not_after_timestamp",
            "When the first of the published authorities expires",
            published.and_then(|set| set.authorities_not_after),
        )?;
        self.times(
            "pgsvid_verified_timestamp",
            "When a handshake last proved that the consumer serves the published set; for a client, when it was last let in",
            &status.consumers,
            |consumer| consumer.verified,
        )
    }

    fn names(&mut self, status: &Status, now: SystemTime) -> Result<(), Error> {
        let found = status.names(now);
        let is_found = |code| u64::from(found.iter().any(|finding| finding.code == code));
        self.family(
            "pgsvid_published_warning",
            "1 if the published leaf lacks a name, or has another name than the leaf before; one sample for each finding code",
            MetricType::Gauge,
            naming::CODES.map(|code| ([("code", code.name())], is_found(code))),
        )?;
        self.flag(
            "pgsvid_authority_order_kept",
            "0 if the published leaf is of an authority that was not published, or not proven to be loaded by each consumer, before that leaf",
            status.order(now).is_none(),
        )
    }

    fn process(&mut self, status: &Status) -> Result<(), Error> {
        let process = process::process();
        self.time("process_start_time", "When this process started", status.started)?;
        let restarts = status.restarts.as_ref().map_or(0, |restarts| restarts.count.into());
        self.family(
            "pgsvid_daemon_restarts",
            "How often the daemon has ended unexpectedly and was replaced, since pgsvid was started",
            MetricType::Counter,
            [([], restarts)],
        )?;
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

/// Seconds since 1970. Certificates may hold earlier times.
fn unix(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -Duration::as_secs_f64(&before.duration()),
    }
}

/// All metrics, as the rows of the Markdown table in `docs/monitoring.md`.
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
