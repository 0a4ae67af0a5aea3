//! A server's addresses after the first that answers: clients may connect to any of them, and another process may have taken one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::postgresql::Sql;
use super::verdict::{judge, probe};
use crate::consumers::Server;
use crate::diagnose;
use crate::doctor::finding::{Code, Finding};
use crate::material::Material;
use crate::verify::{self, Answer, Facts, LIMIT, Target, Verdict};
use crate::{survey, timing};

/// How many addresses are candidates.
const MOST_HOSTS: usize = 16;
/// How long each may take: two handshakes, if the server refuses the client's certificate in TLS 1.2.
const LONGEST: Duration = LIMIT.saturating_mul(2);
/// How long a connection without a handshake may take.
const CONNECTION: Duration = Duration::from_secs(1);

/// Whether PostgreSQL has to listen at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// It does not have to: the address comes from `postgres.verify`, from a name look-up, or from the list of sockets that
    /// listen at this port, which may be another program's.
    No,
    /// It is a loopback address, and `*`, `0.0.0.0`, `::` or `localhost` includes it.
    Loopback,
    /// `listen_addresses` names it. For a time another machine may have it (failover).
    Named,
}

/// The findings about the other addresses.
pub(super) async fn elsewhere(
    server: &Server,
    hosts: &[String],
    port: u16,
    first: &Facts,
    material: &Material,
    sql: &Sql,
) -> Vec<Finding> {
    let listen_addresses = sql.answers().map(|answers| answers.settings.listen_addresses.as_str());
    let listen_addresses =
        listen_addresses.filter(|_| server.verify.target == Target::Auto).unwrap_or_default();
    let promised = promised(listen_addresses);
    let mut candidates = Vec::new();
    for host in hosts {
        match addresses(host).await {
            Some(found) => candidates.extend(found),
            None => candidates.push(host.clone()),
        }
    }
    candidates.extend(beside_wildcards(listen_addresses, port));
    let mut known = BTreeSet::new();
    candidates.retain(|host| known.insert(host.clone()));
    let left_out = candidates.len().saturating_sub(MOST_HOSTS);
    candidates.truncate(MOST_HOSTS);
    let probes = candidates.iter().map(async |place| {
        let one = std::slice::from_ref(place);
        let facts = timeout(LONGEST, probe(one, port, Some(material))).await.ok();
        let answered = facts.filter(|facts| !matches!(facts.answer, Answer::Nothing(_)));
        let Some(facts) = answered else {
            if matches!(first.answer, Answer::Nothing(_)) {
                return None;
            }
            let promise = promised.get(place).copied().unwrap_or(Promise::No);
            return unanswered(place, port, promise, listen_addresses).await;
        };
        let verdict = judge(&facts, material, sql);
        let is_first = facts.address == first.address
            // `first` may have a name as its address. So an address that is not among `hosts` counts as the first if its verdict
            // is the same, which the caller has reported already.
            || (!hosts.contains(place) && verdict == judge(first, material, sql));
        let is_news = !is_first
            && verdict != Verdict::Current
            // All addresses have the same settings, so a handshake that these prevent is reported for the first address only.
            && !(verdict == Verdict::Unverifiable && matches!(first.answer, Answer::Refused(_)));
        is_news.then(|| diagnose::explain(verdict, &facts, timing::now()))
    });
    let mut findings: Vec<Finding> = join_all(probes).await.into_iter().flatten().collect();
    if left_out > 0 {
        findings.push(
            Finding::skipped(
                Code::VerdictUnverifiable,
                format!(
                    "what is served at {left_out} more addresses: pgsvid probes only {MOST_HOSTS}"
                ),
            )
            .fix("name fewer addresses in listen_addresses"),
        );
    }
    findings
}

/// The addresses of a name; `None` for an address, and if the look-up fails.
async fn addresses(host: &str) -> Option<Vec<String>> {
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let found = timeout(LIMIT, verify::addresses_of(host)).await.ok()?.ok()?;
    Some(found.iter().map(ToString::to_string).collect())
}

/// The addresses where PostgreSQL must listen according to `listen_addresses`.
fn promised(listen_addresses: &str) -> BTreeMap<String, Promise> {
    let mut promised = BTreeMap::new();
    for entry in entries(listen_addresses) {
        let (hosts, promise): (&[&str], _) = match entry {
            "*" => (&["127.0.0.1", "::1"], Promise::Loopback),
            "0.0.0.0" | "localhost" => (&["127.0.0.1"], Promise::Loopback),
            "::" => (&["::1"], Promise::Loopback),
            other if other.parse::<IpAddr>().is_ok() => (&[other], Promise::Named),
            _ => continue,
        };
        for place in hosts {
            promised.insert((*place).to_owned(), promise);
        }
    }
    promised
}

fn entries(listen_addresses: &str) -> impl Iterator<Item = &str> {
    listen_addresses.split(',').map(|entry| entry.trim().trim_matches('"'))
}

/// The single addresses of a family at which a process listens although `listen_addresses` has the wildcard of that family: there
/// clients do not reach PostgreSQL's wildcard socket.
fn beside_wildcards(listen_addresses: &str, port: u16) -> Vec<String> {
    let has =
        |wildcard: &str| entries(listen_addresses).any(|entry| ["*", wildcard].contains(&entry));
    let (v4, v6) = (has("0.0.0.0"), has("::"));
    if !v4 && !v6 {
        return Vec::new();
    }
    let is_beside =
        |address: &IpAddr| !address.is_unspecified() && if address.is_ipv4() { v4 } else { v6 };
    let listeners = survey::listeners(port).into_iter().map(|it| it.address).filter(is_beside);
    listeners.map(|address| address.to_string()).collect()
}

/// The finding about an address where no process answered like PostgreSQL.
async fn unanswered(
    place: &str,
    port: u16,
    promise: Promise,
    listen_addresses: &str,
) -> Option<Finding> {
    let at =
        if place.contains(':') { format!("[{place}]:{port}") } else { format!("{place}:{port}") };
    let fix = format!(
        "find the program that has port {port} (`ss -ltnp`), end it, then restart PostgreSQL"
    );
    let nobody = format!(
        "nothing answers at {at}, where PostgreSQL should listen according to listen_addresses ({listen_addresses})"
    );
    match timeout(CONNECTION, verify::connect(place, port)).await {
        Ok(Ok(_)) => Some(
            Finding::failure(
                Code::VerdictUnreachable,
                format!("the program at {at} accepts connections, and does not answer as PostgreSQL does"),
            )
            .cause("another program may have taken the address before PostgreSQL started, and clients connect to it")
            .fix(fix),
        ),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused && promise == Promise::Loopback => Some(
            Finding::failure(Code::VerdictUnreachable, nobody)
                .cause(
                    "PostgreSQL could not bind the port at all addresses when it started (its log says \"could not bind\"): \
                     another program may have it at one of them, and clients connect to that program",
                )
                .fix(fix),
        ),
        Ok(Err(_)) | Err(_) if promise == Promise::Named => Some(
            Finding::warning(Code::VerdictUnreachable, nobody)
                .cause("pgsvid cannot see from here what clients would connect to there")
                .fix("remove the address from listen_addresses, or find out why it does not answer; then restart PostgreSQL"),
        ),
        Ok(Err(_)) | Err(_) => None,
    }
}
