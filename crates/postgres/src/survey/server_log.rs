//! The result of the server's last reload, which only its log shows: if PostgreSQL has refused TLS files, values of TLS settings
//! or `pg_hba.conf`, `pg_reload_conf()` returns true all the same, `pg_file_settings` has no error, and a handshake only shows
//! the refusal if the served leaf is not the published one.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::log_prefix::{Prefix, Stamp};
use super::{LARGEST_LOCK, data_directory};
use crate::sql::{self, Standing};
use pgsvid_base::files;
use pgsvid_base::text::shown;

/// How much of the end of a log is read, in bytes.
const MOST: u64 = 4 * 1024 * 1024;
/// The postmaster's messages, in English only (PostgreSQL: `postmaster.c`, `process_pm_reload_request`).
const ASKED: &str = "received SIGHUP, reloading configuration files";
const STARTED: &str = "database system is ready to accept";
/// The end of the message about a file, or about TLS, that PostgreSQL refused at a reload; the name stands before it.
const REFUSED: &str = " was not reloaded";
/// The name in the message about TLS.
const TLS: &str = "SSL configuration";
/// How many other files are named: there are two.
const MOST_FILES: usize = 2;
/// By how much a line may be older than the load that it belongs to, in microseconds: a reload is announced before it is made.
const ANNOUNCED: i64 = 2_000_000;
/// The same for a refusal, which is logged after the load. It is not zero because the time of the load is a session's, and a
/// session may load the configuration somewhat later than the postmaster.
const LATER: i64 = 100_000;

/// What the log says of the last reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The log.
    pub log: PathBuf,
    /// Whether clients can write such lines, too: then nothing is known for certain.
    pub is_forgeable: bool,
    /// The reason why PostgreSQL kept its earlier TLS settings and files, if it did; shortened and escaped, and empty if the
    /// log has none.
    pub tls: Option<String>,
    /// The other files that it went on without, such as `pg_hba.conf`; shortened and escaped.
    pub access: Vec<String>,
    /// Whether the log proves that PostgreSQL loaded all of its TLS settings and files at its last reload or start. It says
    /// nothing about `access`.
    pub is_taken: bool,
}

/// When the server last loaded its files, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Load {
    epoch: i64,
    /// By the clock of `log_timezone`.
    local: i64,
}

/// The result of the last reload; `None` if no log can be found and read, or if the postmaster's lines cannot be distinguished
/// from those of sessions.
///
/// A line counts only if it begins as `log_line_prefix` says, with the process ID of the postmaster, and was written at the
/// last load of the configuration or after it. Older lines can stand at the end of a log if PostgreSQL writes to another file
/// by now.
#[must_use]
pub fn last_reload(socket: &sql::Settings, standing: &Standing) -> Option<Reloaded> {
    let prefix = Prefix::parse(standing.setting("log_line_prefix")?)?;
    let epoch = micros(standing.loaded?)?;
    let load = Load { epoch, local: standing.logged? };
    let (path, pid) = log_of(socket)?;
    let log = files::end(&path, MOST).ok()?;
    Some(Reloaded { log: path, ..judge(&String::from_utf8_lossy(&log), pid, &prefix, load) })
}

/// What the server's log says last of a connection that the server opened itself and that was refused: `to` is `primary server` or
/// `publisher`. Shortened and escaped; `None` if it says nothing, or if no log can be found and read. Clients may be able to write
/// such a line.
#[must_use]
pub fn last_refusal(socket: &sql::Settings, to: &str) -> Option<String> {
    let (path, _) = log_of(socket)?;
    let log = files::end(&path, MOST).ok()?;
    refusal(&String::from_utf8_lossy(&log), to)
}

/// The messages are those of `walreceiver.c`, `worker.c` and `libpqwalreceiver.c`, in English only.
fn refusal(log: &str, to: &str) -> Option<String> {
    let refused =
        [format!("could not connect to the {to}: "), "could not start WAL streaming: ".to_owned()];
    // A line that continues a message begins with a tab.
    log.lines().rev().filter(|line| !line.starts_with('\t')).find_map(|line| {
        let (_, why) = refused.iter().find_map(|refused| line.split_once(refused))?;
        Some(shown(why))
    })
}

/// The server's log, and its postmaster's process ID.
fn log_of(socket: &sql::Settings) -> Option<(PathBuf, u32)> {
    let data = data_directory(socket)?;
    let lock = files::text(&data.join("postmaster.pid"), LARGEST_LOCK).ok()?;
    let pid = lock.lines().next()?.parse().ok()?;
    Some((place(&data, pid)?, pid))
}

fn micros(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok()?.as_micros().try_into().ok()
}

/// The log file: the collector's, or the postmaster's standard error.
fn place(data: &Path, pid: u32) -> Option<PathBuf> {
    if let Ok(current) = files::text(&data.join("current_logfiles"), LARGEST_LOCK) {
        let named = current.lines().find_map(|line| line.strip_prefix("stderr "));
        return named.map(|path| data.join(path));
    }
    let path = std::fs::read_link(format!("/proc/{pid}/fd/2")).ok()?;
    path.is_absolute().then_some(path)
}

/// Judges the end of a log. If clients can write such lines, a line about a new reload does not clear an earlier refusal,
/// because a client may have written it.
fn judge(log: &str, pid: u32, prefix: &Prefix, load: Load) -> Reloaded {
    let mut found = Reloaded { is_forgeable: prefix.is_forgeable, ..Reloaded::default() };
    let mut before = "";
    for line in log.split('\n') {
        let Some((stamp, rest)) = prefix.strip(line, pid) else { continue };
        let is_since = |before: i64| match stamp {
            Some(Stamp::Local(micros)) => micros >= load.local - before,
            Some(Stamp::Epoch(micros)) => micros >= load.epoch - before,
            // The line has no time, so its age is unknown.
            None => true,
        };
        let (severity, message) = rest.split_once(":  ").unwrap_or_default();
        if !is_since(ANNOUNCED) || matches!(severity, "DETAIL" | "HINT") {
            continue;
        }
        let refused =
            message.strip_suffix(REFUSED).filter(|_| severity == "LOG" && is_since(LATER));
        if severity == "LOG" && (message == ASKED || message.starts_with(STARTED)) {
            if !prefix.is_forgeable {
                (found.tls, found.is_taken) = (None, stamp.is_some());
                found.access.clear();
            }
        } else if refused == Some(TLS) {
            found.tls = Some(shown(before));
        } else if let Some(file) = refused.map(shown)
            && found.access.len() < MOST_FILES
            && !found.access.contains(&file)
        {
            found.access.push(file);
        }
        before = message;
    }
    found.is_taken &= found.tls.is_none();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: &str = "%m [%p] ";
    const DEBIANS: &str = "%m [%p] %q%u@%d ";
    const REASON: &str = "could not set the cipher list (no valid ciphers available)";
    const REFUSED: &str = "SSL configuration was not reloaded";
    const HBA: &str = "/etc/pg_hba.conf was not reloaded";
    const READY: &str = "database system is ready to accept connections";
    /// 2026-11-29 13:50:15 in the log's clock, which is an hour ahead of UTC.
    const LOAD: Load = Load { epoch: 1_795_956_615_000_000, local: 1_795_960_215_000_000 };

    fn line(time: &str, pid: u32, said: &str) -> String {
        format!("2026-11-29 13:{time} CET [{pid}] LOG:  {said}\n")
    }

    fn of(pid: u32, said: &str) -> String {
        line("50:15.251", pid, said)
    }

    fn found(prefix: &str, log: &str) -> Reloaded {
        judge(log, 7, &Prefix::parse(prefix).unwrap(), LOAD)
    }

    #[test]
    fn b15_only_the_postmasters_own_lines_after_the_last_reload_count() {
        let (asked, refused, started) = (of(7, ASKED), of(7, REFUSED), of(7, READY));
        let reason = of(7, REASON);
        let hint = "2026-11-29 13:50:15.251 CET [7] HINT:  Ensure that each name is right.\n";
        for (log, tls, is_taken) in [
            (String::new(), None, false),
            (of(7, "checkpoint complete"), None, false),
            (format!("{asked}{reason}{refused}"), Some(REASON), false),
            (format!("{asked}{reason}{hint}{refused}"), Some(REASON), false),
            (format!("{asked}{reason}{refused}{asked}"), None, true),
            (format!("{asked}{reason}{refused}{started}"), None, true),
            // Sessions have written these lines.
            (format!("{asked}{}{}", of(8, REFUSED), of(8, ASKED)), None, true),
            (format!("{asked}{reason}{refused}{}\t{asked}", of(8, ASKED)), Some(REASON), false),
            // The lines before it are no longer in the log.
            (refused.clone(), Some(""), false),
        ] {
            let found = found(SAFE, &log);
            assert_eq!((found.tls.as_deref(), found.is_taken), (tls, is_taken), "{log}");
        }
    }

    #[test]
    fn b58_where_names_stand_in_the_prefix_no_line_takes_a_refusal_back() {
        let (asked, refused) = (of(7, ASKED), of(7, REFUSED));
        let reason = of(7, REASON);
        for (log, tls) in [
            (asked.clone(), None),
            (format!("{asked}{reason}{refused}{asked}"), Some(REASON)),
            // A name with a line feed in it.
            (
                format!("{asked}{reason}{refused}2026-11-29 13:50:15 CET [8] \n{asked}"),
                Some(REASON),
            ),
            (format!("{refused}{}", of(7, READY)), Some("")),
            // It belongs to an earlier load.
            (format!("{}{asked}", line("50:14.000", 7, REFUSED)), None),
        ] {
            let found = found(DEBIANS, &log);
            assert_eq!((found.tls.as_deref(), found.is_taken), (tls, false), "{log}");
            assert!(found.is_forgeable);
        }
    }

    #[test]
    fn b58_lines_of_an_earlier_load_say_nothing_of_the_last_one() {
        let asked = line("49:59.000", 7, ASKED);
        assert!(!found(SAFE, &asked).is_taken);
        assert!(found(SAFE, &line("50:14.900", 7, ASKED)).is_taken);
        assert!(!found("[%p] ", &format!("[7] LOG:  {ASKED}\n")).is_taken, "of unknown age");
        assert_eq!(found("[%p] ", &format!("[7] LOG:  {REFUSED}\n")).tls.as_deref(), Some(""));
        let world = format!("1795956615.100 7 LOG:  {ASKED}\n");
        assert!(found("%n %p ", &world).is_taken);
    }

    #[test]
    fn l10_the_last_reason_why_nothing_is_received_is_found() {
        let line = |said: &str| format!("2026-11-29 13:50:15.251 CET [8] FATAL:  {said}\n");
        let first = line("could not connect to the primary server: connection refused");
        let next =
            line("could not start WAL streaming: ERROR:  replication slot \"a\" does not exist");
        let publisher = line("could not connect to the publisher: no");
        for (log, found) in [
            (String::new(), None),
            (first.clone(), Some("connection refused")),
            (format!("{first}{next}"), Some("ERROR:  replication slot \"a\" does not exist")),
            (format!("{next}{first}{publisher}"), Some("connection refused")),
            (format!("{first}\t{next}"), Some("connection refused")),
        ] {
            assert_eq!(refusal(&log, "primary server").as_deref(), found, "{log}");
        }
    }

    #[test]
    fn b59_access_files_that_were_not_loaded_are_found() {
        let (asked, hba) = (of(7, ASKED), of(7, HBA));
        for (prefix, log, files) in [
            (SAFE, format!("{asked}{hba}"), &["/etc/pg_hba.conf"][..]),
            (SAFE, format!("{asked}{hba}{asked}"), &[]),
            (SAFE, format!("{asked}{}", of(8, HBA)), &[]),
            (DEBIANS, format!("{asked}{hba}{hba}{asked}"), &["/etc/pg_hba.conf"]),
        ] {
            let found = found(prefix, &log);
            assert_eq!(found.access, files, "{log}");
            assert_eq!(found.tls, None, "{log}");
        }
    }
}
