//! One login at the first host of a list that takes it, as libpq walks through the list (PostgreSQL: `fe-connect.c`,
//! `PQconnectPoll`).
//!
//! The next host is tried if there is no connection, no answer within `connect_timeout`, a server that takes no connections now,
//! or a session that is not in the wanted state. Anything else is final, also silence without a `connect_timeout`: libpq waits for ever.

use std::net::IpAddr;

use rustix::io::Errno;
use tokio::time::{Instant, timeout};

use super::settings::{ClientLogin, Dial, Host, TargetState};
use crate::login::{self, Login, Outcome};
use crate::resolve::{self, Resolver};
use crate::status::Pulse;
use crate::verify::{self, connect, shown_address};

/// SQLSTATE `cannot_connect_now`: the server starts, or shuts down.
const CANNOT_CONNECT_NOW: &str = "57P03";
/// Most addresses that are tried.
const MOST: usize = 16;
/// Errors of the kernel if there is no route to an address, or no address of that family here.
const NO_ROUTE: [Option<Errno>; 3] =
    [Some(Errno::NETUNREACH), Some(Errno::ADDRNOTAVAIL), Some(Errno::AFNOSUPPORT)];

/// The end of the walk.
#[derive(Debug)]
pub(super) struct End {
    /// The address that decided.
    pub(super) address: String,
    /// The name of that host.
    pub(super) name: String,
    pub(super) outcome: Outcome,
    /// Whether the session is in the wanted state; `None` if the server does not tell, or there is no session.
    pub(super) is_met: Option<bool>,
    /// Whether a name could not be looked up.
    pub(super) is_unresolved: bool,
    /// Whether this machine has no route to the address, such as to any of IPv6. The C library puts such addresses last.
    pub(super) is_without_route: bool,
}

/// Logs in. `login` has everything but the name of the host.
pub(super) async fn walk(
    settings: &ClientLogin,
    login: &Login<'_>,
    resolver: &mut Resolver,
    pulse: &Pulse,
) -> End {
    let (mut best, mut tried): (Option<End>, usize) = (None, 0);
    for host in &settings.hosts {
        let login = Login { name: &host.name, ..login.clone() };
        pulse.step("looking a name up", resolve::LIMIT);
        let addresses = match addresses(host, resolver).await {
            Ok(addresses) => addresses,
            Err(why) => {
                let text = format!("{} has no address: {why}", host.name);
                let end = End::of(host, None, Outcome::Unreachable(text));
                keep(&mut best, End { is_unresolved: true, ..end });
                continue;
            }
        };
        for address in addresses {
            if tried >= MOST {
                break;
            }
            tried += 1;
            pulse.step("logging in as the client", settings.limit * 2);
            let Tried { outcome, is_final, is_without_route } =
                log_in(settings, host, address, &login).await;
            let end = End { is_without_route, ..End::of(host, Some(address), outcome) };
            match &end.outcome {
                _ if is_final => return end,
                Outcome::Unreachable(_) => keep(&mut best, end),
                Outcome::LoggedIn(session) => {
                    let is_met = settings.target.is_met(*session);
                    let end = End { is_met, ..end };
                    if is_met != Some(false) {
                        return end;
                    }
                    keep(&mut best, end);
                    break;
                }
                Outcome::LoginRefused(refusal) if refusal.code == CANNOT_CONNECT_NOW => {
                    keep(&mut best, end);
                    break;
                }
                _ => return end,
            }
        }
    }
    let mut end = best.unwrap_or_else(|| End {
        address: String::new(),
        name: String::new(),
        outcome: Outcome::Unreachable("there is no address to connect to".to_owned()),
        is_met: None,
        is_unresolved: false,
        is_without_route: false,
    });
    if settings.target == TargetState::PreferStandby && end.is_met == Some(false) {
        end.is_met = Some(true);
    }
    end
}

/// Keeps what says more: a session, then a server that answers, then the first failure to reach one.
fn keep(best: &mut Option<End>, end: End) {
    let weight = |end: &End| match &end.outcome {
        Outcome::LoggedIn(_) => 3,
        Outcome::Unreachable(_) => u8::from(!end.is_without_route),
        _ => 2,
    };
    if best.as_ref().is_none_or(|best| weight(best) < weight(&end)) {
        *best = Some(end);
    }
}

/// The outcome at one address.
struct Tried {
    outcome: Outcome,
    /// Whether libpq tries no other address after it.
    is_final: bool,
    is_without_route: bool,
}

async fn log_in(settings: &ClientLogin, host: &Host, address: IpAddr, login: &Login<'_>) -> Tried {
    let unreachable = |why: String| {
        let outcome = Outcome::Unreachable(why);
        Tried { outcome, is_final: false, is_without_route: false }
    };
    let silent = "the server accepts the connection, but does not answer";
    let limit = settings.limit;
    let begun = Instant::now();
    let stream = match timeout(limit, connect(&address.to_string(), host.port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let is_without_route = NO_ROUTE.contains(&Errno::from_io_error(&error));
            return Tried { is_without_route, ..unreachable(verify::explain(&error)) };
        }
        Err(_) => return unreachable(format!("no answer within {}", shown(limit))),
    };
    // `connect_timeout` is for both.
    let rest = if settings.waits_for_ever { limit } else { limit.saturating_sub(begun.elapsed()) };
    if let Ok(outcome) = timeout(rest, login::over(stream, login)).await {
        return Tried { outcome, is_final: false, is_without_route: false };
    }
    let text = format!("{silent} within {}", shown(limit));
    Tried { is_final: settings.waits_for_ever, ..unreachable(text) }
}

fn shown(limit: std::time::Duration) -> String {
    crate::timing::shortly(limit)
}

async fn addresses(host: &Host, resolver: &mut Resolver) -> Result<Vec<IpAddr>, String> {
    match &host.dial {
        Dial::Address(address) => Ok(vec![*address]),
        Dial::Confined(name) => resolver.in_order(name).await.map_err(|error| error.to_string()),
        Dial::LookUp(name) => match name.parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => verify::addresses_of(name).await.map_err(|error| error.to_string()),
        },
    }
}

impl End {
    fn of(host: &Host, address: Option<IpAddr>, outcome: Outcome) -> Self {
        let address = match address {
            Some(address) if address.to_string() != host.name => {
                format!("{} ({address})", shown_address(&host.name, host.port))
            }
            _ => shown_address(&host.name, host.port),
        };
        let name = host.name.clone();
        Self { address, name, outcome, is_met: None, is_unresolved: false, is_without_route: false }
    }
}
