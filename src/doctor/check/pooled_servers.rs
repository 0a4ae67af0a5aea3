//! Whether PgBouncer can verify the PostgreSQL of this machine by the name that its section `[databases]` has for it.

use std::net::IpAddr;

use crate::config::Config;
use crate::doctor::finding::{Code, Finding};
use crate::login;
use crate::material::Material;
use crate::pgbouncer::{self, Backend, Settings};
use crate::text::shown;

/// How many names of a certificate a finding shows.
const MOST_NAMES: usize = 3;

/// One finding for each host of this machine that is no name of the published certificate.
pub(super) fn findings(
    config: &Config,
    settings: &Settings,
    on_disk: Option<&Material>,
) -> Vec<Finding> {
    let Some(material) = on_disk.filter(|_| settings.value("server_tls_sslmode") == "verify-full")
    else {
        return Vec::new();
    };
    let is_ours = |backend: &&Backend| {
        let mut servers = config.rotation.servers.iter();
        is_loopback(&backend.host) && servers.any(|server| server.session.port == backend.port)
    };
    let backends = pgbouncer::backends(settings);
    let mut hosts: Vec<&Backend> = backends.iter().filter(is_ours).collect();
    hosts.sort_by(|a, b| a.host.cmp(&b.host));
    hosts.dedup_by(|a, b| a.host == b.host);
    hosts
        .into_iter()
        .filter(|backend| !login::matches(material.leaf(), &backend.host))
        .map(|backend| unnamed(backend, settings, material))
        .collect()
}

fn unnamed(backend: &Backend, settings: &Settings, material: &Material) -> Finding {
    let names = material.leaf().dns_names();
    let shown_names: Vec<String> = names.iter().take(MOST_NAMES).map(|name| shown(name)).collect();
    let (host, database) = (shown(&backend.host), shown(&backend.database));
    let ini = shown(&settings.ini().display().to_string());
    let name = names.iter().find(|name| is_loopback(name)).or_else(|| names.first());
    let fix = match name {
        Some(name) if is_loopback(name) => {
            format!(
                "set host={} for it in [databases] of {ini}, and `systemctl reload pgbouncer`",
                shown(name)
            )
        }
        Some(name) => format!(
            "set host={0} for it in [databases] of {ini}, see that `getent hosts {0}` prints an address of this machine (otherwise \
             add it to /etc/hosts), and `systemctl reload pgbouncer`",
            shown(name)
        ),
        None => format!(
            "give the registration entry a DNS name, and set it as host in [databases] of {ini}"
        ),
    };
    Finding::failure(
        Code::PgbouncerHostUnnamed,
        format!(
            "clients of PgBouncer's database {database} wait, and then fail: the certificate of PostgreSQL has no name {host}"
        ),
    )
    .about(&backend.host)
    .cause(format!(
        "server_tls_sslmode is verify-full, and [databases] says host={host}; the certificate's names: {}",
        shown_names.join(", ")
    ))
    .fix(fix)
}

/// Whether the host is this machine, whatever its own names are.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
