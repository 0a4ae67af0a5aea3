//! What the server's log says of its last reload: nothing else does. `pg_reload_conf()` is true and `pg_file_settings` has no error
//! where PostgreSQL has refused files or words of TLS, and a handshake shows it only where the leaf is another.

use std::path::{Path, PathBuf};

use super::{LARGEST_LOCK, data_directory};
use crate::sql;
use pgsvid_base::files;
use pgsvid_base::text::shown;

/// How much of the end of a log is read, in bytes.
const MOST: u64 = 4 * 1024 * 1024;
/// What the postmaster says, in English alone (PostgreSQL: `postmaster.c`, `process_pm_reload_request`).
const ASKED: &str = "received SIGHUP, reloading configuration files";
const REFUSED: &str = "SSL configuration was not reloaded";
const STARTED: &str = "database system is ready to accept";

/// What came of the last reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// PostgreSQL refused what concerns TLS, and went on with what it had; with its reason, shortened and escaped.
    Refused(String),
    /// It said nothing of the kind, or has started since.
    Taken,
}

/// What the log says of the last reload; `None` if no log can be found and read, or if it says nothing of reloads in English. A
/// line counts only if the number of the postmaster's process stands in it in brackets, as `log_line_prefix` has it by default:
/// statements and messages of sessions stand in the log, too.
#[must_use]
pub fn last_reload(socket: &sql::Settings) -> Option<Reload> {
    let data = data_directory(socket)?;
    let pid: u32 = files::text(&data.join("postmaster.pid"), LARGEST_LOCK)
        .ok()?
        .lines()
        .next()?
        .parse()
        .ok()?;
    let log = files::end(&place(&data, pid)?, MOST).ok()?;
    judge(&String::from_utf8_lossy(&log), pid)
}

/// The file of the log: the collector's, or what the postmaster has for its standard error.
fn place(data: &Path, pid: u32) -> Option<PathBuf> {
    if let Ok(current) = files::text(&data.join("current_logfiles"), LARGEST_LOCK) {
        let named = current.lines().find_map(|line| line.strip_prefix("stderr "));
        return named.map(|path| data.join(path));
    }
    let path = std::fs::read_link(format!("/proc/{pid}/fd/2")).ok()?;
    path.is_absolute().then_some(path)
}

fn judge(log: &str, pid: u32) -> Option<Reload> {
    let of_postmaster = |line: &&str| {
        let bracket = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        bracket.is_some_and(|(number, _)| number == pid.to_string()) && !line.starts_with('\t')
    };
    let mut last = None;
    let mut before = "";
    for line in log.lines().filter(of_postmaster) {
        let said = line.split_once(":  ").map_or("", |(_, said)| said);
        if said == ASKED || said.starts_with(STARTED) {
            last = Some(Reload::Taken);
        } else if said == REFUSED && last.is_some() {
            last = Some(Reload::Refused(shown(before)));
        }
        if !line.contains("DETAIL:") && !line.contains("HINT:") {
            before = said;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b15_only_the_postmasters_own_lines_after_the_last_reload_count() {
        let line =
            |pid: u32, text: &str| format!("2026-11-29 13:50:15.251 UTC [{pid}] LOG:  {text}\n");
        let (asked, refused, started) = (
            line(7, ASKED),
            line(7, REFUSED),
            line(7, "database system is ready to accept connections"),
        );
        let reason = line(7, "could not set the cipher list (no valid ciphers available)");
        let hint = "2026-11-29 13:50:15.251 UTC [7] HINT:  Ensure that each name is right.\n";
        let told = || {
            Reload::Refused("could not set the cipher list (no valid ciphers available)".to_owned())
        };
        for (log, found) in [
            (String::new(), None),
            (line(7, "checkpoint complete"), None),
            (format!("{asked}{reason}{refused}"), Some(told())),
            (format!("{asked}{reason}{hint}{refused}"), Some(told())),
            (format!("{asked}{reason}{refused}{asked}"), Some(Reload::Taken)),
            (format!("{asked}{reason}{refused}{started}"), Some(Reload::Taken)),
            // Said by sessions.
            (format!("{asked}{}{}", line(8, REFUSED), line(8, ASKED)), Some(Reload::Taken)),
            (format!("{asked}{reason}{refused}{}\t{asked}", line(8, ASKED)), Some(told())),
            // Nobody knows what was before.
            (refused.clone(), None),
        ] {
            assert_eq!(judge(&log, 7), found, "{log}");
        }
    }
}
