//! The modes of a private key that PostgreSQL accepts (`be-secure-common.c`), and libpq (`fe-secure-openssl.c`): they have
//! the same rule.

use std::fmt;

/// The permissions that a private key may have, by its owner. It displays as the mode to set, in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMode {
    /// A key of root: its group may read it, too (0640).
    Root,
    /// A key of any other user: only that user may read it (0600).
    Other,
}

impl KeyMode {
    /// For a key of this user.
    #[must_use]
    pub fn of(owner: u32) -> Self {
        if owner == 0 { Self::Root } else { Self::Other }
    }

    /// Whether a key with these mode bits is accepted. The owner's own permissions do not matter.
    #[must_use]
    pub fn accepts(self, mode: u32) -> bool {
        let allowed = match self {
            Self::Root => 0o740,
            Self::Other => 0o700,
        };
        mode & 0o777 & !allowed == 0
    }
}

impl fmt::Display for KeyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "0640",
            Self::Other => "0600",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_key_may_be_read_by_its_group_and_no_other_key_by_anybody() {
        for (mode, roots, others) in [
            (0o600, true, true),
            (0o700, true, true),
            (0o640, true, false),
            (0o660, false, false),
            (0o650, false, false),
            (0o604, false, false),
            (0o601, false, false),
        ] {
            assert_eq!(KeyMode::of(0).accepts(0o100_000 | mode), roots, "{mode:o}");
            assert_eq!(KeyMode::of(999).accepts(0o100_000 | mode), others, "{mode:o}");
        }
        for owner in [0, 999] {
            let mode = KeyMode::of(owner).to_string();
            assert!(KeyMode::of(owner).accepts(u32::from_str_radix(&mode, 8).unwrap()));
        }
    }
}
