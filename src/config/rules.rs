//! The rules for single values. Each error says what is wrong and what would be right.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::material::{SpiffeId, TrustDomain, workload_id};

/// Longest time that anything waits: the clock may not be able to represent a later time.
pub const LONGEST: Duration = Duration::from_secs(366 * 86_400);

pub(super) fn absolute(path: &Path) -> Result<&Path, String> {
    if !path.is_absolute() {
        let named = path.display().to_string();
        return Err(format!("{named:?} is relative; write an absolute path"));
    }
    if path.to_str().is_none_or(|text| text.chars().any(char::is_control)) {
        return Err("it holds a control character, or is not UTF-8".to_owned());
    }
    Ok(path)
}

/// The directory of a socket. `port` is the key that has the socket's number.
pub(super) fn socket_directory(text: &str, port: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err(
            "pgsvid reloads over the server's Unix socket; give the directory of that socket, such as \
             /var/run/postgresql"
                .to_owned(),
        );
    }
    if text.rsplit('/').next().is_some_and(|last| last.starts_with(".s.PGSQL.")) {
        return Err(format!("give the directory of the socket, and its number as {port}"));
    }
    absolute(Path::new(text)).map(Path::to_owned)
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err("it is not a port; write a number from 1 to 65535".to_owned()),
    }
}

pub(super) fn file_name(name: &str) -> Result<&str, String> {
    if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
        return Err(format!("{name:?} is not a file name; leave directories out"));
    }
    if name.starts_with("..") || name == "." {
        return Err(format!(
            "{name:?} is not allowed: pgsvid's own entries begin with two dots, and one dot is the directory itself"
        ));
    }
    Ok(name)
}

/// The mode of the published key. It is never wider than what PostgreSQL and libpq accept (`crate::key_mode`): a group may read
/// only a key of root's.
pub(super) fn key_mode(text: Option<&str>, group: bool) -> Result<u32, String> {
    let (default, why) = if group {
        (0o640, "0640 at most, for a key of root's with files.group set")
    } else {
        (0o600, "0600 at most; with files.group, and as root, 0640")
    };
    let mode = mode(text, default)?;
    if mode & !default != 0 {
        return Err(format!(
            "PostgreSQL would refuse a key with mode {mode:04o}: it accepts {why}"
        ));
    }
    if mode & 0o400 == 0 {
        return Err(format!("its owner could not read a key with mode {mode:04o}; write 0600"));
    }
    if group && mode & 0o040 == 0 {
        return Err(format!("files.group could not read a key with mode {mode:04o}; write 0640"));
    }
    Ok(mode)
}

/// The mode of a file with a token: anyone who can read it is the workload until the token expires.
pub(super) fn token_mode(text: Option<&str>, group: bool) -> Result<u32, String> {
    let mode = mode(text, if group { 0o640 } else { 0o600 })?;
    if mode & !0o640 != 0 {
        return Err(format!(
            "with mode {mode:04o} others could use or replace the token; write 0600, or 0640 for readers of the file's group"
        ));
    }
    if mode & 0o400 == 0 {
        return Err(format!("its owner could not read a token with mode {mode:04o}; write 0600"));
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
        _ => Err(format!("{text:?} is not a mode; write it in octal and in quotes, \"0600\"")),
    }
}

/// A group's ID, or its name in /etc/group.
pub(super) fn group(text: &str) -> Result<u32, String> {
    number_of(text, "group", "/etc/group")
}

/// A user's ID, or its name in /etc/passwd.
pub(super) fn user(text: &str) -> Result<u32, String> {
    number_of(text, "user", "/etc/passwd")
}

/// A number, or a name in such a file. Other name services are not used.
fn number_of(text: &str, kind: &str, file: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        // chown reads this value as "leave unchanged".
        return if number == u32::MAX {
            Err(format!("{number} is not a {kind}"))
        } else {
            Ok(number)
        };
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

/// Longest DNS name as text, in bytes: its 255 octets on the wire (RFC 1035, section 2.3.4) include two more length octets.
const LONGEST_HOST: usize = 253;

/// Names separated by commas, in the form that clients use: a DNS name, or an address.
pub(super) fn host_names(text: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let name = host_name(name)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn host_name(name: &str) -> Result<String, String> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if name.contains('*') {
        return Err(format!(
            "{name:?} is a pattern; write the names that clients connect to, which a pattern in the SVID may stand for"
        ));
    }
    if name.ends_with('.') {
        return Err(format!(
            "{name:?} ends in a dot, which no name in a certificate does; leave it out"
        ));
    }
    let is_label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(plain)
    };
    if name.len() > LONGEST_HOST || !name.split('.').all(is_label) {
        return Err(format!("{name:?} is not a DNS name; write names such as db.example.org"));
    }
    Ok(name.to_owned())
}

/// A duration from a second to [`LONGEST`], such as the interval between verifications or the time limit of a hook.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let duration = pause(text)?;
    if duration < Duration::from_secs(1) {
        return Err(format!("{text:?} is shorter than a second"));
    }
    Ok(duration)
}

/// A duration that may be zero.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is not a duration ({error}); write 30s, 5m or 1h"))?;
    if duration > LONGEST {
        return Err(format!("{text:?} is longer than a year"));
    }
    Ok(duration)
}

/// Longest name of a consumer, in characters.
const LONGEST_NAME: usize = 63;

/// The name of a consumer, which is used in the log, in metrics and in commands.
pub(super) fn name(text: &str) -> Result<(), String> {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | '/');
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(is_plain) {
        return Err(format!(
            "{text:?} is not a name: write 1 to {LONGEST_NAME} letters, digits, and any of - _ . /"
        ));
    }
    Ok(())
}
