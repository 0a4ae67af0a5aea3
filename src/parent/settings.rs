//! How `exec` starts its application, as the daemon sends it to the parent: once, in bytes that need little code to read.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

/// Most bytes of the settings.
const LARGEST: usize = 32 * 1024;

/// How the application is notified about a new set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRotation {
    /// Nothing: it reads the files at each connection.
    Nothing,
    /// It gets the signal with this number.
    Signal(i32),
    /// It is ended, and started again.
    Restart,
}

/// How the application is started and told about new sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// At which of pgsvid's own arguments the application begins; the program's name is at 0.
    pub begins: u16,
    /// How long to wait for the first set.
    pub timeout: Duration,
    /// How it is notified about a new set.
    pub on_rotation: OnRotation,
    /// How long it may take to end after SIGTERM, before it is killed.
    pub grace: Duration,
    /// The variables that it gets in addition to those of pgsvid; without a value, one that it does not inherit.
    pub environment: Vec<(String, Option<OsString>)>,
}

/// The bytes are no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSettings;

impl Settings {
    /// As they go over the channel: their length in bytes as a `u32`, then the fields. Numbers are little-endian.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (kind, signal) = match self.on_rotation {
            OnRotation::Nothing => (0, 0),
            OnRotation::Signal(signal) => (1, signal),
            OnRotation::Restart => (2, 0),
        };
        let mut body = self.begins.to_le_bytes().to_vec();
        body.extend(milliseconds(self.timeout).to_le_bytes());
        body.push(kind);
        body.extend(i32::to_le_bytes(signal));
        body.extend(milliseconds(self.grace).to_le_bytes());
        for (name, value) in &self.environment {
            body.push(u8::from(value.is_some()));
            let value = value.as_ref().map(|value| value.as_bytes());
            for text in [Some(name.as_bytes()), value].into_iter().flatten() {
                body.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
                body.extend(text);
            }
        }
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        [&length.to_le_bytes()[..], &body].concat()
    }

    /// Reads settings from the beginning of these bytes, and returns how many of them they take; `Ok(None)` if they are
    /// incomplete. Fails if the bytes are no settings.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, NoSettings> {
        let Some((head, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(NoSettings);
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let settings = fields(body).ok_or(NoSettings)?;
        Ok(Some((settings, head.len() + length)))
    }
}

fn fields(mut body: &[u8]) -> Option<Settings> {
    let begins = u16::from_le_bytes(take(&mut body)?);
    let timeout = u32::from_le_bytes(take(&mut body)?);
    let [kind] = take(&mut body)?;
    let signal = i32::from_le_bytes(take(&mut body)?);
    let grace = u32::from_le_bytes(take(&mut body)?);
    let on_rotation = match kind {
        0 => OnRotation::Nothing,
        1 => OnRotation::Signal(signal),
        2 => OnRotation::Restart,
        _ => return None,
    };
    let mut environment = Vec::new();
    while !body.is_empty() {
        let [has_value] = take(&mut body)?;
        let name = String::from_utf8(text(&mut body)?.to_vec()).ok()?;
        let value = match has_value {
            0 => None,
            1 => Some(OsString::from_vec(text(&mut body)?.to_vec())),
            _ => return None,
        };
        environment.push((name, value));
    }
    let after = |milliseconds: u32| Duration::from_millis(milliseconds.into());
    let (timeout, grace) = (after(timeout), after(grace));
    Some(Settings { begins, timeout, on_rotation, grace, environment })
}

fn take<const LENGTH: usize>(body: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (first, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*first)
}

fn text<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_le_bytes(take(body)?);
    let (text, rest) = body.split_at_checked(length.into())?;
    *body = rest;
    Some(text)
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_arrive_as_they_were_sent_and_only_whole() {
        for on_rotation in [OnRotation::Nothing, OnRotation::Signal(10), OnRotation::Restart] {
            let value = OsString::from_vec(vec![b'/', 0xff]);
            let settings = Settings {
                begins: 4,
                timeout: Duration::from_secs(60),
                on_rotation,
                grace: Duration::from_millis(1500),
                environment: vec![
                    ("PGSERVICEFILE".to_owned(), Some(value)),
                    ("PGSSLKEY".to_owned(), Some(OsString::new())),
                    ("PGSERVICE".to_owned(), None),
                ],
            };
            let bytes = settings.bytes();
            for length in 0..bytes.len() {
                assert_eq!(Settings::read(&bytes[..length]), Ok(None));
            }
            let more = [bytes.clone(), vec![b'r']].concat();
            assert_eq!(Settings::read(&more), Ok(Some((settings, bytes.len()))));
        }
    }

    #[test]
    fn bytes_that_are_no_settings_are_refused() {
        assert_eq!(Settings::read(&u32::MAX.to_le_bytes()), Err(NoSettings));
        assert_eq!(Settings::read(&[&3u32.to_le_bytes()[..], &[0; 3]].concat()), Err(NoSettings));
        let unknown = [&[0, 0, 0, 0, 0, 0, 3][..], &[0; 8]].concat();
        assert_eq!(Settings::read(&[&15u32.to_le_bytes()[..], &unknown].concat()), Err(NoSettings));
    }
}
