//! Identifies sets: their contents, and how their files are written.

use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, Digest, SHA256, digest};

use super::Settings;
use super::files::{Content, FileSpec};
use super::passwords::Passwords;
use crate::material::{Certificate, Material};

/// Part of every identifier, so that another way of computing them gives other identifiers.
const VERSION: &[u8] = b"pgsvid set 1";
/// The generation's name in rendered files, for the identifier: the real name differs each time.
const ANY_GENERATION: &str = "..v";

/// Identifies what a generation holds: two with the same identifier differ only in their names.
///
/// The private key is not part of it: a set whose key does not belong to its leaf is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetId(pub(super) Sum);

impl SetId {
    /// The identifier of a set. `authorities` are all that its bundle has. How many of them come from the agent, and how many
    /// of these belong to the trust domain, is part of the set.
    pub(super) fn of(
        settings: &Settings,
        material: &Material,
        authorities: &[&Certificate],
        (own, federated): (usize, usize),
        passwords: &Passwords,
    ) -> Self {
        let mut fields = Fields::new();
        fields.add(&settings.group.map(u32::to_be_bytes).unwrap_or_default());
        fields.number(usize::from(settings.group.is_some()));
        fields.all(&material.chain().collect::<Vec<_>>());
        fields.all(authorities);
        fields.number(own);
        fields.number(federated);
        let path = settings.readers_directory().join(ANY_GENERATION);
        for FileSpec { name, mode, content } in settings.files.iter() {
            fields.add(name.as_bytes());
            fields.add(&mode.to_be_bytes());
            fields.add(content.kind().as_bytes());
            match content {
                Content::Rendered(render) => fields.add(&render(&path)),
                Content::KeyStore { alias, .. } => fields.add(alias.as_bytes()),
                _ => {}
            }
            // Another password is another file. Its salts are random, so that its bytes show nothing.
            if let Some(Ok(password)) = content.password_file().map(|path| passwords.of(path)) {
                fields.add(&password.tag(material.leaf().der()));
            }
        }
        fields.id()
    }
}

/// Fields of any length, each preceded by its length: no two lists of fields give the same bytes.
struct Fields(Context);

impl Fields {
    fn new() -> Self {
        let mut fields = Self(Context::new(&SHA256));
        fields.add(VERSION);
        fields
    }

    fn add(&mut self, field: &[u8]) {
        self.number(field.len());
        self.0.update(field);
    }

    fn number(&mut self, number: usize) {
        self.0.update(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
    }

    fn all(&mut self, certificates: &[&Certificate]) {
        self.number(certificates.len());
        for certificate in certificates {
            self.add(certificate.der());
        }
    }

    fn id(self) -> SetId {
        SetId(Sum::from(self.0.finish()))
    }
}

/// A SHA-256 sum; as text, 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum([u8; 32]);

impl Sum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        digest(&SHA256, bytes).into()
    }
}

impl From<Digest> for Sum {
    fn from(digest: Digest) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest.as_ref());
        Self(sum)
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug)]
pub(super) struct NoSum;

impl FromStr for Sum {
    type Err = NoSum;

    fn from_str(text: &str) -> Result<Self, NoSum> {
        if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(NoSum);
        }
        let mut sum = [0; 32];
        for (byte, digits) in sum.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| NoSum)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NoSum)?;
        }
        Ok(Self(sum))
    }
}
