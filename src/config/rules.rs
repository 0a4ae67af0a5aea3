//! The rules for single values. Each error says what is wrong and what would be right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::material::{SpiffeId, TrustDomain, workload_id};

/// Longest time that anything waits: a moment farther away may be none that the clock can tell.
pub const LONGEST: Duration = Duration::from_secs(366 * 86_400);

pub(super) fn absolute(path: &Path) -> Result<&Path, String> {
    if !path.is_absolute() {
        return Err(format!("{} is relative; write an absolute path", path.display()));
    }
    if path.to_str().is_none_or(|text| text.chars().any(char::is_control)) {
        return Err("it holds a control character, or is not UTF-8".to_owned());
    }
    Ok(path)
}

pub(super) fn socket_directory(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err(
            "pgsvid reloads over PostgreSQL's Unix socket; give the directory of that socket, such as \
             /var/run/postgresql"
                .to_owned(),
        );
    }
    if text.rsplit('/').next().is_some_and(|last| last.starts_with(".s.PGSQL.")) {
        return Err("give the directory of the socket, and its number as postgres.port".to_owned());
    }
    absolute(Path::new(text)).map(Path::to_owned)
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err("it is no port; write a number from 1 to 65535".to_owned()),
    }
}

pub(super) fn file_name(name: &str) -> Result<&str, String> {
    if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
        return Err(format!("{name:?} is no file name; leave directories out"));
    }
    if name.starts_with("..") || name == "." {
        return Err(format!("{name:?} begins with two dots, as pgsvid's own entries do"));
    }
    Ok(name)
}

/// PostgreSQL takes a key of its own uid without any bit for group and others, and root's with 0640 at most
/// (`be-secure-common.c`). libpq has the same rule for clients.
pub(super) fn key_mode(text: Option<&str>, group: bool) -> Result<u32, String> {
    let (default, most, why) = if group {
        (0o640, 0o640, "0640 at most, for a key of root's with files.group set")
    } else {
        (0o600, 0o600, "0600 at most; with files.group, and as root, 0640")
    };
    let mode = mode(text, default)?;
    if mode & !most != 0 {
        return Err(format!("PostgreSQL would refuse a key with mode {mode:04o}: it takes {why}"));
    }
    if mode & 0o400 == 0 {
        return Err(format!("its owner could not read a key with mode {mode:04o}; write 0600"));
    }
    if group && mode & 0o040 == 0 {
        return Err(format!("files.group could not read a key with mode {mode:04o}; write 0640"));
    }
    Ok(mode)
}

pub(super) fn certificate_mode(text: Option<&str>) -> Result<u32, String> {
    let mode = mode(text, 0o644)?;
    if mode & !0o644 != 0 || mode & 0o400 == 0 {
        return Err(format!("mode {mode:04o} is not between 0400 and 0644; write 0644"));
    }
    Ok(mode)
}

fn mode(text: Option<&str>, default: u32) -> Result<u32, String> {
    let Some(text) = text else { return Ok(default) };
    match u32::from_str_radix(text, 8) {
        Ok(mode) if (3..=4).contains(&text.len()) && mode <= 0o7777 => Ok(mode),
        _ => Err(format!("{text:?} is no mode; write it in octal and in quotes, \"0600\"")),
    }
}

/// A group's number, or its name in /etc/group.
pub(super) fn group(text: &str) -> Result<u32, String> {
    number_of(text, "group", "/etc/group")
}

/// A user's number, or its name in /etc/passwd.
pub(super) fn user(text: &str) -> Result<u32, String> {
    number_of(text, "user", "/etc/passwd")
}

/// A number, or a name in such a file. Other name services are not asked.
fn number_of(text: &str, kind: &str, file: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        // chown takes this one for "leave it as it is".
        return if number == u32::MAX { Err(format!("{number} is no {kind}")) } else { Ok(number) };
    }
    let entries = std::fs::read_to_string(file).unwrap_or_default();
    entries
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(text)).then(|| fields.nth(1)?.parse().ok()).flatten()
        })
        .ok_or_else(|| format!("there is no {kind} {text} in {file}; write its number"))
}

pub(super) fn spiffe_id(text: &str) -> Result<SpiffeId, String> {
    workload_id(text).map_err(|error| format!("{error}; write spiffe://<trust domain>/<path>"))
}

pub(super) fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::new(text).map_err(|error| format!("{error}; write a name such as example.org"))
}

/// A time between re-verifications: at least a second.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let duration = pause(text)?;
    if duration < Duration::from_secs(1) {
        return Err(format!("{text:?} is shorter than a second"));
    }
    Ok(duration)
}

/// A time that may be zero.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is no duration ({error}); write 30s, 5m or 1h"))?;
    if duration > LONGEST {
        return Err(format!("{text:?} is longer than a year"));
    }
    Ok(duration)
}

/// Longest name of a consumer, in characters.
const LONGEST_NAME: usize = 63;

/// The name of a consumer: it stands in the log, in metrics and in commands.
pub(super) fn name(text: &str) -> Result<(), String> {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | '/');
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(is_plain) {
        return Err(format!(
            "{text:?} is no name: write 1 to {LONGEST_NAME} letters, digits, and any of - _ . /"
        ));
    }
    Ok(())
}
