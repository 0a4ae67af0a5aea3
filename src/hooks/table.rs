//! The hooks, as the daemon sends them to its parent: once, as bytes that the parent keeps and compares, but does not parse.

use std::time::Duration;

use super::Hook;

/// How many hooks there may be.
pub const MOST: usize = 16;
/// Largest hook, in bytes: an order must fit into a socket's buffer.
const LARGEST: usize = 16 * 1024;
/// Length of the head before each hook, in bytes: the length of the hook in bytes and its time-out in milliseconds, each a
/// `u32` in little-endian order.
const HEAD: usize = 8;

/// The hooks that the parent keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table(pub Vec<Entry>);

/// One hook of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How long it may take.
    pub timeout: Duration,
    /// The hook as JSON, for the process that carries it out.
    pub bytes: Vec<u8>,
}

/// A hook has too long a command.
#[derive(Debug, thiserror::Error)]
#[error("the hook {0} is larger than 16 KiB; put what it does into a script")]
pub struct TooLarge(String);

/// The bytes are not a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTable;

impl Table {
    /// The table of these hooks.
    pub fn new(hooks: &[Hook]) -> Result<Self, TooLarge> {
        let entry = |hook: &Hook| {
            let bytes = serde_json::to_vec(hook).unwrap_or_default();
            if bytes.is_empty() || bytes.len() > LARGEST {
                return Err(TooLarge(hook.name.clone()));
            }
            Ok(Entry { timeout: hook.timeout, bytes })
        };
        hooks.iter().take(MOST).map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// The bytes to send over the channel.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(self.0.len()).unwrap_or_default()];
        for Entry { timeout, bytes: entry } in &self.0 {
            bytes.extend(u32::try_from(entry.len()).unwrap_or_default().to_le_bytes());
            bytes.extend(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend(entry);
        }
        bytes
    }

    /// Reads a table from the beginning of these bytes, and returns how many of them it takes; `Ok(None)` if the table is
    /// incomplete. Fails if the bytes are not a table.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, NoTable> {
        let Some(count) = bytes.first() else { return Ok(None) };
        if usize::from(*count) > MOST {
            return Err(NoTable);
        }
        let (mut table, mut at) = (Self::default(), 1);
        for _ in 0..*count {
            let Some(head) = bytes.get(at..at + HEAD) else { return Ok(None) };
            let number = |part: &[u8]| part.try_into().map_or(u32::MAX, u32::from_le_bytes);
            let (length, timeout) = head.split_at(HEAD / 2);
            let length = usize::try_from(number(length)).unwrap_or(usize::MAX);
            if length > LARGEST {
                return Err(NoTable);
            }
            at += HEAD;
            let Some(entry) = bytes.get(at..at + length) else { return Ok(None) };
            let timeout = Duration::from_millis(number(timeout).into());
            table.0.push(Entry { timeout, bytes: entry.to_vec() });
            at += length;
        }
        Ok(Some((table, at)))
    }

    /// For each hook of another table, the index of the same hook in this table; 255 if this table does not have it.
    #[must_use]
    pub fn indexes_of(&self, other: &Self) -> [u8; MOST] {
        let mut indexes = [u8::MAX; MOST];
        for (index, entry) in indexes.iter_mut().zip(&other.0) {
            let same = self.0.iter().position(|known| known == entry);
            *index = same.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX);
        }
        indexes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seconds: u64, bytes: &[u8]) -> Entry {
        Entry { timeout: Duration::from_secs(seconds), bytes: bytes.to_vec() }
    }

    #[test]
    fn a_table_arrives_as_it_was_sent_and_only_whole() {
        for entries in [vec![], vec![entry(1, b"a")], vec![entry(1, b""), entry(3600, b"bcd")]] {
            let table = Table(entries);
            let bytes = table.bytes();
            for length in 0..bytes.len() {
                assert_eq!(Table::read(&bytes[..length]), Ok(None));
            }
            let more = [bytes.clone(), vec![b'r']].concat();
            assert_eq!(Table::read(&more), Ok(Some((table, bytes.len()))));
        }
    }

    #[test]
    fn what_would_be_too_large_is_refused_before_it_has_come() {
        assert_eq!(Table::read(&[17]), Err(NoTable));
        let large = u32::try_from(LARGEST + 1).unwrap().to_le_bytes();
        assert_eq!(Table::read(&[&[1][..], &large, &[0; 4]].concat()), Err(NoTable));
    }

    #[test]
    fn h12_each_hook_of_a_changed_table_is_found_by_all_that_it_is() {
        let fixed = Table(vec![entry(1, b"a"), entry(1, b"b")]);
        let changed = Table(vec![entry(1, b"b"), entry(2, b"a"), entry(1, b"c"), entry(1, b"a")]);
        assert_eq!(fixed.indexes_of(&changed)[..5], [1, 255, 255, 0, 255]);
    }
}
