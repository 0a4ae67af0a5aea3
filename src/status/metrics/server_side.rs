//! The metric about what a PgBouncer shows to PostgreSQL.

use std::fmt::Error;

use prometheus_client::metrics::MetricType;

use super::{CONSUMER, Page};
use crate::status::Status;
use crate::status::server_side::CURRENT;

impl Page<'_> {
    pub(super) fn server_side(&mut self, status: &Status) -> Result<(), Error> {
        let seen = status.consumers.iter().filter_map(|it| Some((it, it.server_side.as_ref()?)));
        let tried = seen.filter(|(_, seen)| seen.is_tried);
        self.family(
            "pgsvid_pgbouncer_server_side_proven",
            "Whether a login through the PgBouncer has proven that it shows the published certificate to PostgreSQL; no sample without pgbouncer.login_role",
            MetricType::Gauge,
            tried.map(|(it, seen)| {
                ([(CONSUMER, it.name.as_str())], u64::from(seen.state == CURRENT))
            }),
        )
    }
}
