//! The result of the server's last reload, which only its log shows: if PostgreSQL has refused TLS files, values of TLS settings
//! or `pg_hba.conf`, `pg_reload_conf()` returns true all the same, `pg_file_settings` has no error, and a handshake only shows
//! the refusal if the served leaf is not the published one.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::log_prefix::{Prefix, Stamp, local};
use super::{LARGEST_LOCK, data_directory};
use crate::sql::{self, RoleRights};
use pgsvid_base::files;
use pgsvid_base::text::shown;

/// How much of the end of a log is read, in bytes. A client can write a few MiB into it at once: the part must be long enough to
/// still hold an earlier refusal.
pub(super) const MOST: u64 = 64 * 1024 * 1024;
/// The longest line that is read whole, in bytes. The postmaster's are shorter; of libpq's messages the beginning is enough.
pub(super) const LONGEST_LINE: u64 = 16 * 1024;
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
    /// Whether clients can write such lines, too: then nothing is known for certain. That is so of every log but `jsonlog`.
    pub is_forgeable: bool,
    /// The reason why PostgreSQL kept its earlier TLS settings and files, if it did; shortened and escaped, and empty if the
    /// log has none.
    pub tls: Option<String>,
    /// The other files that it went on without, such as `pg_hba.conf`; shortened and escaped.
    pub access: Vec<String>,
    /// Whether PostgreSQL would tell a refusal in English: in other languages pgsvid sees none.
    pub is_english: bool,
    /// Whether the log proves that PostgreSQL loaded all of its TLS settings and files at its last reload or start. A log that
    /// clients can write into never does. It says nothing about `access`.
    pub is_taken: bool,
}

/// When the server last loaded its files, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Load {
    epoch: i64,
    /// By the clock of `log_timezone`.
    local: i64,
}

/// A log's form.
#[derive(Debug)]
enum Form {
    /// Lines with `log_line_prefix` (`log_destination = stderr`). Clients can write any line: the libraries in a session write
    /// to standard error themselves, without a prefix. libpq prints a NOTICE of another server there (`dblink`,
    /// `postgres_fdw`). A prefix with names that clients choose (`%u`, `%d`) can contain a line feed as well.
    Text(Prefix),
    /// One object in a line (`log_destination = jsonlog`), which only PostgreSQL's logging collector writes, from messages
    /// that begin with zeros: what a library writes to standard error goes to another file. Control characters are escaped,
    /// so a line feed ends an entry (PostgreSQL: `syslogger.c`, `process_pipe_input`; `jsonlog.c`). A file of `csvlog` is no
    /// such proof, because a line feed may stand within an entry.
    Json,
}

/// What the postmaster has logged.
struct Entry {
    stamp: Option<Stamp>,
    severity: String,
    message: String,
}

/// The result of the last reload; `None` if no log can be found and read, or if the postmaster's lines cannot be distinguished
/// from those of sessions.
///
/// A line counts only if it begins as `log_line_prefix` says, with the process ID of the postmaster, and was written at the
/// last load of the configuration or after it. Older lines can stand at the end of a log if PostgreSQL writes to another file
/// by now.
#[must_use]
pub fn last_reload(socket: &sql::Settings, standing: &RoleRights) -> Option<Reloaded> {
    let epoch = micros(standing.loaded?)?;
    let load = Load { epoch, local: standing.logged? };
    let (data, pid) = server(socket)?;
    let (form, path) = match collected(&data, "jsonlog") {
        Some(path) => (Form::Json, path),
        None => {
            (Form::Text(Prefix::parse(standing.setting("log_line_prefix")?)?), text(&data, pid)?)
        }
    };
    let lines = files::last_lines(&path, MOST, LONGEST_LINE).ok()?;
    let (found, seen) = judge(lines, pid, &form, load);
    // The announcement of a reload precedes a change of the language; so the setting counts more.
    let is_english = match standing.setting("lc_messages") {
        Some(locale) if !locale.is_empty() => is_english(locale),
        _ => seen,
    };
    Some(Reloaded { log: path, is_english, is_taken: found.is_taken && is_english, ..found })
}

/// The server's data directory, and its postmaster's process ID.
pub(super) fn server(socket: &sql::Settings) -> Option<(PathBuf, u32)> {
    let data = data_directory(socket)?;
    let lock = files::text(&data.join("postmaster.pid"), LARGEST_LOCK).ok()?;
    let pid = lock.lines().next()?.parse().ok()?;
    Some((data, pid))
}

fn micros(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok()?.as_micros().try_into().ok()
}

/// The file that the collector writes in this form.
fn collected(data: &Path, form: &str) -> Option<PathBuf> {
    let current = files::text(&data.join("current_logfiles"), LARGEST_LOCK).ok()?;
    let path = current.lines().find_map(|line| line.strip_prefix(form)?.strip_prefix(' '))?;
    Some(data.join(path))
}

/// The log of lines: the collector's, or the postmaster's standard error.
pub(super) fn text(data: &Path, pid: u32) -> Option<PathBuf> {
    if data.join("current_logfiles").exists() {
        return collected(data, "stderr");
    }
    let path = std::fs::read_link(format!("/proc/{pid}/fd/2")).ok()?;
    path.is_absolute().then_some(path)
}

impl Form {
    /// What a line says, if the postmaster wrote it.
    fn entry(&self, line: &[u8], pid: u32) -> Option<Entry> {
        let line = String::from_utf8_lossy(line);
        match self {
            Self::Text(prefix) => {
                let (stamp, rest) = prefix.strip(&line, pid)?;
                let (severity, message) = rest.split_once(":  ").unwrap_or_default();
                Some(Entry { stamp, severity: severity.to_owned(), message: message.to_owned() })
            }
            Self::Json => {
                let entry: serde_json::Value = serde_json::from_str(&line).ok()?;
                let field = |name: &str| entry.get(name).and_then(serde_json::Value::as_str);
                let stamp = Stamp::Local(local(field("timestamp")?)?.0);
                (entry.get("pid")?.as_u64() == Some(pid.into())).then_some(())?;
                Some(Entry {
                    stamp: Some(stamp),
                    severity: field("error_severity")?.to_owned(),
                    message: field("message").unwrap_or_default().to_owned(),
                })
            }
        }
    }
}

/// Whether messages are in English by this locale.
fn is_english(locale: &str) -> bool {
    let language = locale.split(['_', '.', '-', '@']).next().unwrap_or_default();
    ["C", "POSIX", "en", "English"].contains(&language)
}

/// Judges the end of a log, and says whether the last load was announced in English. If clients can write such lines, a line about a new reload does not clear an earlier refusal,
/// because a client may have written it.
fn judge(
    lines: impl Iterator<Item = Vec<u8>>,
    pid: u32,
    form: &Form,
    load: Load,
) -> (Reloaded, bool) {
    let is_forgeable = matches!(form, Form::Text(_));
    let mut found = Reloaded { is_forgeable, ..Reloaded::default() };
    let mut before = String::new();
    let mut seen = false;
    for Entry { stamp, severity, message } in lines.filter_map(|line| form.entry(&line, pid)) {
        let is_since = |before: i64| match stamp {
            Some(Stamp::Local(micros)) => micros >= load.local - before,
            Some(Stamp::Epoch(micros)) => micros >= load.epoch - before,
            // The line has no time, so its age is unknown.
            None => true,
        };
        if !is_since(ANNOUNCED) || matches!(severity.as_str(), "DETAIL" | "HINT") {
            continue;
        }
        let is_log = severity == "LOG";
        let refused = message.strip_suffix(REFUSED).filter(|_| is_log && is_since(LATER));
        if is_log && (message == ASKED || message.starts_with(STARTED)) {
            seen = true;
            if !is_forgeable {
                (found.tls, found.is_taken) = (None, true);
                found.access.clear();
            }
        } else if refused == Some(TLS) {
            found.tls = Some(shown(&before));
        } else if let Some(file) = refused.map(shown)
            && found.access.len() < MOST_FILES
            && !found.access.contains(&file)
        {
            found.access.push(file);
        }
        before = message;
    }
    found.is_taken &= found.tls.is_none();
    (found, seen)
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

    /// As PostgreSQL 15 writes it.
    fn entry(time: &str, pid: u32, said: &str) -> String {
        let said = serde_json::Value::from(said);
        format!(
            "{{\"timestamp\":\"2026-11-29 13:{time} CET\",\"pid\":{pid},\"session_id\":\"6567.5\",\"line_num\":5,\
             \"error_severity\":\"LOG\",\"message\":{said},\"backend_type\":\"postmaster\",\"query_id\":0}}\n"
        )
    }

    fn lines(log: &str) -> impl Iterator<Item = Vec<u8>> {
        log.split('\n').map(|line| line.as_bytes().to_owned())
    }

    fn found(prefix: &str, log: &str) -> Reloaded {
        judge(lines(log), 7, &Form::Text(Prefix::parse(prefix).unwrap()), LOAD).0
    }

    fn in_json(log: &str) -> Reloaded {
        judge(lines(log), 7, &Form::Json, LOAD).0
    }

    #[test]
    fn b15_only_the_postmasters_own_lines_after_the_last_reload_count() {
        let of = |pid, said| entry("50:15.251", pid, said);
        let (asked, refused, started) = (of(7, ASKED), of(7, REFUSED), of(7, READY));
        let reason = of(7, REASON);
        for (log, tls, is_taken) in [
            (String::new(), None, false),
            (of(7, "checkpoint complete"), None, false),
            (format!("{asked}{reason}{refused}"), Some(REASON), false),
            (format!("{asked}{reason}{refused}{asked}"), None, true),
            (format!("{asked}{reason}{refused}{started}"), None, true),
            // Sessions have written these lines.
            (format!("{asked}{}{}", of(8, REFUSED), of(8, ASKED)), None, true),
            (format!("{asked}{reason}{refused}{}", of(8, ASKED)), Some(REASON), false),
            (
                format!("{asked}{reason}{refused}{}", of(8, &format!("x\n{asked}"))),
                Some(REASON),
                false,
            ),
            // The lines before it are no longer in the log, or the first one lacks its beginning.
            (refused.clone(), Some(""), false),
            (format!("{}{refused}", &asked[9..]), Some(""), false),
        ] {
            let found = in_json(&log);
            assert_eq!((found.tls.as_deref(), found.is_taken), (tls, is_taken), "{log}");
            assert!(!found.is_forgeable);
        }
    }

    #[test]
    fn b95_no_line_of_a_log_that_others_can_write_to_takes_a_refusal_back() {
        let (asked, refused) = (of(7, ASKED), of(7, REFUSED));
        let reason = of(7, REASON);
        let hint = "2026-11-29 13:50:15.251 CET [7] HINT:  Ensure that each name is right.\n";
        for prefix in [SAFE, DEBIANS] {
            for (log, tls) in [
                (asked.clone(), None),
                (format!("{asked}{reason}{refused}{asked}"), Some(REASON)),
                (format!("{asked}{reason}{hint}{refused}"), Some(REASON)),
                // A name with a line feed in it.
                (
                    format!("{asked}{reason}{refused}2026-11-29 13:50:15 CET [8] \n{asked}"),
                    Some(REASON),
                ),
                (format!("{refused}{}", of(7, READY)), Some("")),
                (format!("{asked}{}{}", of(8, REFUSED), of(8, ASKED)), None),
                // It belongs to an earlier load.
                (format!("{}{asked}", line("50:14.000", 7, REFUSED)), None),
            ] {
                let found = found(prefix, &log);
                assert_eq!((found.tls.as_deref(), found.is_taken), (tls, false), "{log}");
                assert!(found.is_forgeable);
            }
        }
    }

    #[test]
    fn b58_lines_of_an_earlier_load_say_nothing_of_the_last_one() {
        assert!(!in_json(&entry("49:59.000", 7, ASKED)).is_taken);
        assert!(in_json(&entry("50:14.900", 7, ASKED)).is_taken);
        let of_unknown_age = format!("[7] LOG:  {REFUSED}\n");
        assert_eq!(found("[%p] ", &of_unknown_age).tls.as_deref(), Some(""));
        let at = |seconds: u32| format!("{seconds}.100 7 LOG:  {REFUSED}\n");
        assert_eq!(found("%n %p ", &at(1_795_956_615)).tls.as_deref(), Some(""));
        assert_eq!(found("%n %p ", &at(1_795_956_610)).tls, None);
    }

    #[test]
    fn b137_other_languages_than_english_are_distinguished() {
        for (locale, wanted) in [
            ("C", true),
            ("C.UTF-8", true),
            ("POSIX", true),
            ("en_GB.UTF-8", true),
            ("en-US", true),
            ("English_United States.1252", true),
            ("de_DE.UTF-8", false),
            ("Czech", false),
            ("eo", false),
        ] {
            assert_eq!(is_english(locale), wanted, "{locale}");
        }
        let seen = |log: &str| judge(lines(log), 7, &Form::Json, LOAD).1;
        assert!(seen(&entry("50:15.251", 7, ASKED)));
        assert!(!seen(&entry(
            "50:15.251",
            7,
            "SIGHUP empfangen, Konfigurationsdateien werden neu geladen"
        )));
    }

    #[test]
    fn b59_access_files_that_were_not_loaded_are_found() {
        let (asked, hba) = (of(7, ASKED), of(7, HBA));
        for (log, files) in [
            (format!("{asked}{hba}"), &["/etc/pg_hba.conf"][..]),
            (format!("{asked}{}", of(8, HBA)), &[]),
            (format!("{asked}{hba}{hba}{asked}"), &["/etc/pg_hba.conf"]),
        ] {
            let found = found(SAFE, &log);
            assert_eq!(found.access, files, "{log}");
            assert_eq!(found.tls, None, "{log}");
        }
        let of = |said| entry("50:15.251", 7, said);
        assert_eq!(in_json(&format!("{}{}", of(ASKED), of(HBA))).access, ["/etc/pg_hba.conf"]);
        assert!(in_json(&format!("{}{}", of(HBA), of(ASKED))).access.is_empty());
    }
}
