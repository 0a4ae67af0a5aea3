//! Tries the addresses of one server one after the other: each begins when the one before has failed, or takes too long. It ends soon,
//! however many silent addresses there are.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::LIMIT;
use super::address::addresses;

/// How many addresses are tried at most.
pub const MOST_HOSTS: usize = 8;
/// How long an address may delay the next one.
const TURN: Duration = Duration::from_millis(700);
/// How long all of them take at most, if each ends within [`LIMIT`].
pub const LONGEST: Duration = LIMIT.saturating_add(TURN.saturating_mul(7));

/// The hosts that are tried, in order. If there are too many, those of this machine come first, and `127.0.0.1` and `::1`
/// before all.
pub(super) fn chosen(hosts: &[String]) -> Vec<&str> {
    let mut hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    if hosts.len() > MOST_HOSTS {
        let usual = addresses("localhost");
        hosts.sort_by_key(|host| match host.parse::<IpAddr>() {
            Ok(_) if usual.iter().any(|usual| usual == host) => 0,
            Ok(address) if address.is_loopback() => 1,
            _ => 2,
        });
        hosts.truncate(MOST_HOSTS);
    }
    hosts
}

/// The text about hosts that were not tried; empty if all were.
pub(super) fn left_out(hosts: &[String]) -> String {
    match hosts.len().saturating_sub(MOST_HOSTS) {
        0 => String::new(),
        more => format!("; of {} addresses {more} were not tried", hosts.len()),
    }
}

/// Probes the hosts until one gives a usable answer; otherwise returns the result of the last one. `None` without hosts.
pub(super) async fn in_turns<'a, T, F>(
    hosts: &[&'a str],
    ask: impl Fn(&'a str) -> F,
    is_of_use: impl Fn(&T) -> bool,
) -> Option<T>
where
    F: Future<Output = T>,
{
    let mut waiting = hosts.iter().enumerate();
    let mut asked = FuturesUnordered::new();
    let mut last: Option<(usize, T)> = None;
    loop {
        if let Some((place, host)) = waiting.next() {
            let answer = ask(host);
            asked.push(async move { (place, answer.await) });
        }
        let turn = async {
            if waiting.len() == 0 {
                std::future::pending::<()>().await;
            } else {
                sleep(TURN).await;
            }
        };
        tokio::select! {
            biased;
            answer = asked.next() => match answer {
                Some((_, answer)) if is_of_use(&answer) => return Some(answer),
                Some((place, answer)) => {
                    if last.as_ref().is_none_or(|(before, _)| *before < place) {
                        last = Some((place, answer));
                    }
                }
                None => return last.map(|(_, answer)| answer),
            },
            () = turn => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn hosts(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("192.0.2.{number}")).collect()
    }

    #[test]
    fn a48_of_too_many_addresses_those_of_this_machine_are_tried() {
        let few = ["192.0.2.1".to_owned(), "127.0.0.1".to_owned()];
        assert_eq!(chosen(&few), ["192.0.2.1", "127.0.0.1"]);
        assert_eq!(left_out(&few), "");
        let mut many = hosts(10_000);
        many.extend(["127.0.0.5", "::1", "127.0.0.1"].map(str::to_owned));
        let tried = chosen(&many);
        assert_eq!(tried[..4], ["::1", "127.0.0.1", "127.0.0.5", "192.0.2.0"]);
        assert_eq!(tried.len(), MOST_HOSTS);
        assert_eq!(left_out(&many), "; of 10003 addresses 9995 were not tried");
    }

    #[tokio::test(start_paused = true)]
    async fn a48_silent_addresses_keep_nobody_waiting() {
        let all = hosts(MOST_HOSTS);
        let all = chosen(&all);
        let silent = async |host: &str| {
            sleep(LIMIT).await;
            host.to_owned()
        };
        let begun = Instant::now();
        let last = in_turns(&all, silent, |_| false).await;
        assert_eq!(last.as_deref(), all.last().copied());
        assert!(begun.elapsed() <= LONGEST, "{:?}", begun.elapsed());

        // The last one answers.
        let begun = Instant::now();
        let one_answers = async |host: &str| {
            if host != all[MOST_HOSTS - 1] {
                sleep(LIMIT).await;
            }
            host.to_owned()
        };
        let found = in_turns(&all, one_answers, |host| host == all[MOST_HOSTS - 1]).await;
        assert_eq!(found.as_deref(), all.last().copied());
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());

        // A host that refuses immediately does not delay the next one, and a host that answers is the only one that is
        // probed.
        let begun = Instant::now();
        let refused = in_turns(&all, async |host| host.to_owned(), |_| false).await;
        assert_eq!(refused.as_deref(), all.last().copied());
        let first = in_turns(&all, async |host| host.to_owned(), |_| true).await;
        assert_eq!(first.as_deref(), Some(all[0]));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(in_turns(&[], async |host| host.to_owned(), |_| true).await, None);
    }
}
