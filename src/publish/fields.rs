//! A set as fields that are no files, such as those of a Kubernetes Secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::encode::{authorities, encode};
use super::error::Error;
use super::files::Content;
use super::passwords::Passwords;
use crate::material::{Certificate, Material};

/// Encodes sets. A store has random salts, so the bytes of the last one are kept: the same set then gives the same bytes. A key in
/// a store is encrypted.
#[derive(Default)]
pub struct Fields {
    stores: BTreeMap<Store, ([u8; 32], Zeroizing<Vec<u8>>)>,
}

/// Password file and alias of a store; a store of authorities has no alias.
type Store = (Option<PathBuf>, Option<String>);

impl Fields {
    /// The bytes of each content, in the same order. Blocks while it reads the passwords of stores; fails if one cannot be used.
    pub fn encode(
        &mut self,
        contents: &[&Content],
        material: &Material,
        extra_authorities: &[Certificate],
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, Error> {
        let passwords = Passwords::read(contents.iter().copied())?;
        let (authorities, _) = authorities(material, extra_authorities);
        let bytes =
            |content: &Content| encode(content, material, &authorities, &passwords, Path::new(""));
        let mut encoded = Vec::new();
        for content in contents {
            let Some(store) = store(content) else {
                encoded.push(bytes(content)?);
                continue;
            };
            let tag = match content.password_file() {
                Some(path) => passwords.of(path)?.tag(material.leaf().der()),
                None => [0; 32],
            };
            let of = identity(material, &authorities, &tag);
            let known = self.stores.get(&store).filter(|(known, _)| *known == of);
            let known = known.map(|(_, bytes)| bytes.clone());
            let store_bytes = match known {
                Some(known) => known,
                None => bytes(content)?,
            };
            self.stores.insert(store, (of, store_bytes.clone()));
            encoded.push(store_bytes);
        }
        Ok(encoded)
    }
}

/// Which store it is; `None` if it is none.
fn store(content: &Content) -> Option<Store> {
    match content {
        Content::KeyStore { password_file, alias } => {
            Some((Some(password_file.clone()), Some(alias.clone())))
        }
        Content::TrustStore { password_file } => Some((password_file.clone(), None)),
        _ => None,
    }
}

/// Identifies a set and a password.
fn identity(material: &Material, authorities: &[&Certificate], tag: &[u8; 32]) -> [u8; 32] {
    let mut all = tag.to_vec();
    for certificate in material.chain().chain(authorities.iter().copied()) {
        all.extend_from_slice(digest(&SHA256, certificate.der()).as_ref());
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, &all).as_ref());
    sum
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry};
    use test_support::checked;

    use super::*;
    use crate::timing;

    #[test]
    fn a_store_has_the_same_bytes_until_the_set_or_the_password_changes() {
        let place = tempfile::tempdir().unwrap();
        let password = place.path().join("password");
        let write = |text: &str| {
            let mut file = std::fs::File::create(&password).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        };
        write("one");
        let authority = Authority::new("example.org", false).unwrap();
        let material = || {
            checked(&authority.issue(&Entry::new("spiffe://example.org/a")).unwrap(), timing::now())
        };
        let key = Content::KeyStore { password_file: password.clone(), alias: "user".to_owned() };
        let trust = Content::TrustStore { password_file: None };
        let contents = [&Content::Chain, &key, &trust];
        let mut fields = Fields::default();
        let set = material();
        let first = fields.encode(&contents, &set, &[]).unwrap();
        assert_eq!(first, fields.encode(&contents, &set, &[]).unwrap());
        write("two");
        let second = fields.encode(&contents, &set, &[]).unwrap();
        assert!(first[0] == second[0] && first[1] != second[1] && first[2] == second[2]);
        let third = fields.encode(&contents, &material(), &[]).unwrap();
        assert!(third[0] != second[0] && third[1] != second[1]);
        std::fs::remove_file(&password).unwrap();
        assert!(fields.encode(&contents, &set, &[]).is_err());
    }
}
