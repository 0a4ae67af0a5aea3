//! The password of a store.

use std::fmt;

use zeroize::Zeroizing;

use super::crypto::Derivation;
use super::{Prf, ROUNDS};

/// Longest password, in bytes.
pub const LONGEST_PASSWORD: usize = 1024;

/// A password: 1 to [`LONGEST_PASSWORD`] printable ASCII characters. `Debug` does not show it.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

/// Why a text is no password. The text follows "FILE: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// No characters.
    #[error("it is empty")]
    Empty,
    /// More than [`LONGEST_PASSWORD`].
    #[error("it has more than {LONGEST_PASSWORD} characters")]
    Long,
    /// A line break that does not end the file.
    #[error("it has more than one line")]
    Lines,
    /// Java's readers accept no others (`PBEKey`).
    #[error("it has characters other than printable ASCII, which Java does not read in a password")]
    Characters,
}

impl Password {
    /// Takes the contents of a password file: one line, whose end may be a line break.
    pub fn parse(text: &[u8]) -> Result<Self, BadPassword> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line {
            [] => Err(BadPassword::Empty),
            line if line.len() > LONGEST_PASSWORD => Err(BadPassword::Long),
            line if line.iter().any(|it| matches!(it, b'\n' | b'\r')) => Err(BadPassword::Lines),
            line if !line.iter().all(|it| matches!(it, b' '..=b'~')) => {
                Err(BadPassword::Characters)
            }
            line => Ok(Self(Zeroizing::new(line.to_vec()))),
        }
    }

    /// A hash that identifies the password. Guessing the password from it costs as much as from a store.
    #[must_use]
    pub fn tag(&self, salt: &[u8]) -> [u8; 32] {
        *Derivation { salt, rounds: ROUNDS, prf: Prf::Sha256 }.key(self)
    }

    /// The bytes that PBES2 derives a key from.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a `BMPString` with a zero at its end, for the MAC (RFC 7292, appendix B.1).
    pub(super) fn wide(&self) -> Zeroizing<Vec<u8>> {
        let mut wide = Zeroizing::new(Vec::with_capacity(2 * self.0.len() + 2));
        for character in self.0.iter() {
            wide.extend([0, *character]);
        }
        wide.extend([0, 0]);
        wide
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}
