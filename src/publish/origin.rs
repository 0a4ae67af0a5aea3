//! Where the authorities of a generation come from, kept beside its bundle: a bundle alone does not tell an authority of the
//! agent's from one that only the configuration has put there, which must not outlive that.

use rustix::fs::Stat;
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::directory::{Directory, RECORD};
use super::kept::{self, Unreadable};
use super::ownership::Owners;

/// The record of a set that others could have written: it is none, so that the set does not count.
pub(super) const NOT_OURS: &[u8] = b"not ours\n";

/// How many of the bundle's first certificates are the trust domain's own, how many after them those of federated trust
/// domains. The others are from the configuration's own files.
pub(super) struct Origin {
    pub(super) own: usize,
    pub(super) federated: usize,
    pub(super) file: (Zeroizing<Vec<u8>>, Stat),
}

pub(super) fn record(own: usize, federated: usize) -> Vec<u8> {
    format!("own {own}\nfederated {federated}\n").into_bytes()
}

/// What was recorded; `None` if there is no record. Fails if it cannot be read, or is none.
pub(super) fn read(directory: &Directory, generation: &str) -> Result<Option<Origin>, Unreadable> {
    let names = [RECORD.to_owned()];
    let mut kept = match kept::load(directory, generation, &names, Owners::ours()) {
        Err(Unreadable::Failed(Errno::NOENT)) => return Ok(None),
        kept => kept?,
    };
    let file = kept.contents.remove(RECORD).ok_or(Errno::NOENT)?;
    let (own, federated) = parse(&file.0).ok_or(Errno::BADMSG)?;
    Ok(Some(Origin { own, federated, file }))
}

fn parse(text: &[u8]) -> Option<(usize, usize)> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    let mut number = |name| lines.next()?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    Some((number("own")?, number("federated")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a45_what_is_recorded_is_read_and_nothing_else_is() {
        assert_eq!(parse(&record(2, 17)), Some((2, 17)));
        let not_ours = std::str::from_utf8(NOT_OURS).unwrap();
        for text in [
            not_ours,
            "",
            "own 1",
            "own 1\nfederated x",
            "federated 1\nown 1\n",
            "own -1\nfederated 0",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
