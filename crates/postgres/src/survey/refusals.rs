//! Why a server's own connections, a standby's or a subscription's, receive nothing: only its log says that.

use super::server_log::{LONGEST_LINE, MOST, server, text};
use crate::sql;
use pgsvid_base::files;
use pgsvid_base::text::shown;

/// Severities, as they stand between the prefix and the message of a line. The first one in a line counts: what follows it may be
/// a client's words.
const SEVERITIES: [&str; 7] =
    ["FATAL:  ", "ERROR:  ", "LOG:  ", "WARNING:  ", "DETAIL:  ", "HINT:  ", "STATEMENT:  "];
/// How many subscriptions are distinguished.
const MOST_NAMES: usize = 20;

/// Whose connections are examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A standby's to its primary.
    Standby,
    /// A subscription's to its publisher.
    Subscription,
}

/// The last reasons in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// The last reason of each subscription that a line names (PostgreSQL 16 and later), by the name as it stands there.
    pub named: Vec<(String, String)>,
    /// The last reason without a name.
    pub last: Option<String>,
}

impl Refused {
    /// What the server connects to.
    #[must_use]
    pub fn to(self) -> &'static str {
        match self {
            Self::Standby => "primary server",
            Self::Subscription => "publisher",
        }
    }
}

/// What the server's log says last of connections that the server opened itself and that were refused, each with the beginning of
/// its line, which has the time. Shortened and escaped; nothing if no log can be found and read. Clients may be able to write such
/// lines.
#[must_use]
pub fn last_refusals(socket: &sql::Settings, which: Refused) -> Refusals {
    let log = || {
        let (data, pid) = server(socket)?;
        text(&data, pid)
    };
    let Some(path) = log() else { return Refusals::default() };
    let lines = files::last_lines(&path, MOST, LONGEST_LINE);
    lines.map(|lines| refusals(lines, which)).unwrap_or_default()
}

/// The messages are those of `walreceiver.c`, `worker.c` and `libpqwalreceiver.c`, in English only.
fn refusals(log: impl Iterator<Item = Vec<u8>>, which: Refused) -> Refusals {
    let mut found = Refusals::default();
    for line in log {
        let line = String::from_utf8_lossy(&line);
        let severities = SEVERITIES.iter().filter_map(|it| Some((line.find(it)?, *it)));
        let Some((at, severity)) = severities.min() else { continue };
        let (before, message) = (&line[..at], &line[at + severity.len()..]);
        // A line that continues a message begins with a tab.
        if before.starts_with('\t') {
            continue;
        }
        let is_standby = which == Refused::Standby;
        if is_standby && severity == "LOG:  " && message.starts_with("started streaming WAL from") {
            // It has connected since.
            found.last = None;
        }
        if severity != "FATAL:  " && severity != "ERROR:  " {
            continue;
        }
        let Some((name, why)) = reason(message, which) else { continue };
        let why = format!("{} {}", shown(before.trim_end()), shown(why));
        match name {
            Some(name) if !is_standby => {
                let name = shown(name);
                found.named.retain(|(known, _)| *known != name);
                if found.named.len() < MOST_NAMES {
                    found.named.push((name, why));
                }
            }
            _ => found.last = Some(why),
        }
    }
    found
}

/// The name in a message, if it has one, and the reason.
fn reason(message: &str, which: Refused) -> Option<(Option<&str>, &str)> {
    // From PostgreSQL 16 on the message begins with who could not connect.
    let named = ["streaming replication receiver \"", "apply worker for subscription \""];
    let named =
        named.iter().find_map(|begin| message.strip_prefix(begin)?.split_once("\" could not "));
    let (name, message) = match named {
        Some((name, _)) => {
            let at = message.find("\" could not ")? + 2;
            (Some(name), &message[at..])
        }
        None => (None, message),
    };
    let connects = format!("could not connect to the {}: ", which.to());
    let begins = [
        connects.as_str(),
        "could not start WAL streaming: ",
        "could not receive data from WAL stream: ",
    ];
    if let Some(why) = begins.iter().find_map(|begin| message.strip_prefix(begin)) {
        return Some((name, why));
    }
    // These are the reason themselves.
    let whole = ["database system identifier differs", "highest timeline "];
    whole.iter().any(|begin| message.starts_with(begin)).then_some((name, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "2026-11-29 13:50:15.251 CET [8]";

    fn entry(severity: &str, said: &str) -> String {
        format!("{BEFORE} {severity}:  {said}\n")
    }

    fn fatal(said: &str) -> String {
        entry("FATAL", said)
    }

    fn found(log: &str, which: Refused) -> Refusals {
        refusals(log.lines().map(|line| line.as_bytes().to_vec()), which)
    }

    #[test]
    fn l10_the_last_reason_why_nothing_is_received_is_found_with_its_time() {
        let first = fatal("could not connect to the primary server: connection refused");
        let slot = "ERROR:  replication slot \"a\" does not exist";
        let next = fatal(&format!("could not start WAL streaming: {slot}"));
        let publisher = fatal("could not connect to the publisher: no");
        let started = entry("LOG", "started streaming WAL from primary at 0/3000000 on timeline 1");
        let gone =
            "ERROR:  requested WAL segment 000000010000000000000003 has already been removed";
        let removed = fatal(&format!("could not receive data from WAL stream: {gone}"));
        let receiver = fatal(
            "streaming replication receiver \"a\" could not connect to the primary server: no",
        );
        let other = "database system identifier differs between the primary and standby";
        let timeline = "highest timeline 1 of the primary is behind recovery timeline 2";
        // A client's words do not count.
        let forged = fatal(
            "no pg_hba.conf entry for host \"::1\", user \"could not connect to the primary server: x\", database \"a\"",
        );
        let quoted =
            entry("STATEMENT", "SELECT 'FATAL:  could not connect to the primary server: x'");
        for (log, why) in [
            (String::new(), None),
            (first.clone(), Some("connection refused")),
            (format!("{first}{next}"), Some(slot)),
            (format!("{next}{first}{publisher}"), Some("connection refused")),
            (format!("{first}\t{next}"), Some("connection refused")),
            (format!("{first}{started}"), None),
            (format!("{first}{started}{removed}"), Some(gone)),
            (format!("{started}{receiver}"), Some("no")),
            (fatal(other).replace("FATAL", "ERROR"), Some(other)),
            (fatal(timeline), Some(timeline)),
            (forged.clone(), None),
            (format!("{first}{forged}{quoted}"), Some("connection refused")),
        ] {
            let wanted = why.map(|why| format!("{BEFORE} {why}"));
            assert_eq!(found(&log, Refused::Standby).last, wanted, "{log}");
        }
    }

    #[test]
    fn l10_a_reason_that_names_a_subscription_is_that_ones_alone() {
        let of = |name: &str, why: &str| {
            fatal(&format!(
                "apply worker for subscription \"{name}\" could not connect to the publisher: {why}"
            ))
        };
        let log = format!(
            "{}{}{}{}",
            of("a", "one"),
            of("b", "two"),
            of("a", "three"),
            fatal("could not connect to the publisher: four")
        );
        let found = found(&log, Refused::Subscription);
        let with = |why: &str| format!("{BEFORE} {why}");
        let named = [("b".to_owned(), with("two")), ("a".to_owned(), with("three"))];
        assert_eq!((found.named.as_slice(), found.last), (&named[..], Some(with("four"))));
    }
}
