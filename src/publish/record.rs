//! What a generation records about itself: which set it is, where its authorities come from, and what was written.
//!
//! A bundle alone does not show which of its authorities come from the agent, and which only from the configuration; the latter
//! must not stay once they are removed from the configuration. And files alone do not show whether they have changed.

use std::collections::BTreeMap;

use rustix::fs::Stat;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::directory::{Directory, RECORD};
use super::kept::{self, Unreadable};
use super::ownership::Owners;
use super::set_id::{SetId, Sum};
use crate::material::Expectations;

/// The record for a set that others could have written: it is invalid, so that the set does not count.
pub(super) const NOT_OURS: &[u8] = b"not ours\n";

/// The contents of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Which set it is, by the configuration with which it was written.
    pub(super) set: SetId,
    /// How many of the bundle's first certificates belong to the trust domain.
    pub(super) own: usize,
    /// How many after them belong to federated trust domains. The others come from the configuration's own files.
    pub(super) federated: usize,
    /// SHA-256 of each file, by its name.
    pub(super) files: BTreeMap<String, Sum>,
    /// What the files do not show; `None` in a record that an earlier version has written.
    pub(super) more: Option<More>,
}

/// What neither certificates nor files show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct More {
    /// The hint that came with the SVID; empty if it came without one.
    pub(super) hint: String,
    /// The kind of each file's content, by the file's name: [`super::files::Content::kind`].
    pub(super) kinds: BTreeMap<String, String>,
}

impl Record {
    /// The record of these files.
    pub(super) fn of<'a>(
        set: SetId,
        (own, federated): (usize, usize),
        files: impl Iterator<Item = (&'a String, &'a [u8])>,
        more: More,
    ) -> Self {
        let files = files.map(|(name, bytes)| (name.clone(), Sum::of(bytes))).collect();
        Self { set, own, federated, files, more: Some(more) }
    }

    /// The text of the record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { set, own, federated, files, more } = self;
        let SetId(set) = set;
        let head = format!("set {set}\nown {own}\nfederated {federated}\n");
        let lines = files.iter().map(|(name, sum)| format!("file {sum} {name}\n"));
        let more = more.as_ref().and_then(|more| serde_json::to_string(more).ok());
        let more = more.map(|more| format!("more {more}\n"));
        std::iter::once(head).chain(more).chain(lines).collect::<String>().into_bytes()
    }

    /// Whether the set came with the configured hint, as far as that is recorded.
    pub(super) fn has_hint(&self, expectations: &Expectations) -> bool {
        let known = self.more.as_ref().map(|more| &more.hint);
        expectations.hint.as_ref().is_none_or(|wanted| known.is_none_or(|known| known == wanted))
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(text).ok()?.lines().peekable();
        let mut next = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let set = SetId(next("set")?.parse().ok()?);
        let own = next("own")?.parse().ok()?;
        let federated = next("federated")?.parse().ok()?;
        let more = lines.next_if(|line| line.starts_with("more "));
        let more = match more.and_then(|line| line.strip_prefix("more ")) {
            Some(more) => Some(serde_json::from_str(more).ok()?),
            None => None,
        };
        let file = |line: &str| {
            let (sum, name) = line.strip_prefix("file ")?.split_once(' ')?;
            Some((name.to_owned(), sum.parse().ok()?))
        };
        let files = lines.map(file).collect::<Option<_>>()?;
        Some(Self { set, own, federated, files, more })
    }
}

/// A record that was read.
pub(super) struct Found {
    pub(super) record: Record,
    /// Its bytes and attributes.
    pub(super) file: (Zeroizing<Vec<u8>>, Stat),
}

/// Reads the record; `None` if there is none. Fails if it cannot be read, or is invalid.
pub(super) fn read(directory: &Directory, generation: &str) -> Result<Option<Found>, Unreadable> {
    let names = [RECORD.to_owned()];
    let mut kept = match kept::load(directory, generation, &names, Owners::ours()) {
        Err(Unreadable::Failed(Errno::NOENT)) => return Ok(None),
        kept => kept?,
    };
    let file = kept.contents.remove(RECORD).ok_or(Errno::NOENT)?;
    let record = Record::decode(&file.0).ok_or(Errno::BADMSG)?;
    Ok(Some(Found { record, file }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a45_a_record_is_read_back_as_written_and_a_malformed_one_is_refused() {
        let set = SetId("0123456789abcdef".repeat(4).parse().unwrap());
        let files = BTreeMap::from([
            ("svid.pem".to_owned(), Sum::of(b"leaf")),
            ("a name with blanks".to_owned(), Sum::of(b"")),
        ]);
        let kinds = BTreeMap::from([("svid.pem".to_owned(), "chain".to_owned())]);
        let more = More { hint: "a\nb".to_owned(), kinds };
        let record = Record { set, own: 2, federated: 17, files, more: Some(more) };
        let encoded = record.encode();
        // As earlier versions write it.
        let earlier = Record { more: None, ..Record::decode(&encoded).unwrap() };
        assert_eq!(Record::decode(&earlier.encode()), Some(earlier));
        let text = std::str::from_utf8(&encoded).unwrap();
        assert!(text.starts_with("set 0123456789abcdef0123"), "{text}");
        assert_eq!(Record::decode(&encoded), Some(record));
        let not_ours = std::str::from_utf8(NOT_OURS).unwrap();
        for wrong in [
            not_ours.to_owned(),
            String::new(),
            text.replace("own 2", "own x"),
            text.replace("own 2", "own -1"),
            text.replace("own 2\n", ""),
            text.replace("set 0", "set +"),
            text.replace("set 0", "set "),
            text.replace("file ", "file x"),
            text.replace("file ", "files "),
            text.replace("more {", "more "),
            format!("{text}\n"),
        ] {
            assert_eq!(Record::decode(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
