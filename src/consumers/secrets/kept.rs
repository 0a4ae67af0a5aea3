//! Whether another replica keeps a Secret, judged by what is in it. Pure.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::settings::Target;
use crate::kubernetes::Secret;
use crate::material::{Certificate, Name, pem};
use crate::publish::Content;

/// A Secret is kept while its certificate has more than this part of its life left: the life is divided by it.
const LEFT: u32 = 4;

/// What a Secret lacks that somebody keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// It does not exist.
    Exists,
    /// It has not got this field.
    Field(String),
    /// This field holds no certificate.
    Certificate(String),
    /// The certificate in this field has another name.
    Name(String),
    /// The certificate in this field expires, or has expired, at this time.
    Life(String, SystemTime),
}

/// What a Secret lacks; `None` if it is kept. `name` is the name that the leaf in it should have.
pub(super) fn lack(
    target: &Target,
    live: Option<&Secret>,
    name: &Name,
    now: SystemTime,
) -> Option<Lack> {
    let Some(live) = live else { return Some(Lack::Exists) };
    let lacks = |key: &&String| live.data.get(*key).is_none_or(String::is_empty);
    if let Some(key) = target.fields.keys().find(lacks) {
        return Some(Lack::Field(key.clone()));
    }
    for (key, field) in &target.fields {
        let read: fn(&[u8]) -> Option<Certificate> = match field.content {
            Content::Chain | Content::Combined => {
                |bytes| pem::decode_certificates(bytes).ok()?.into_iter().next()
            }
            Content::ChainDer => Certificate::first,
            // What has a password is not opened.
            _ => continue,
        };
        let leaf = live.data.get(key).and_then(|text| decoded(text, field.base64));
        let Some(leaf) = leaf.and_then(|bytes| read(&bytes)) else {
            return Some(Lack::Certificate(key.clone()));
        };
        if !matches!(name, Name::Subject(_)) && !name.is_of(&leaf) {
            return Some(Lack::Name(key.clone()));
        }
        let life = leaf.not_after().duration_since(leaf.not_before()).unwrap_or_default();
        if leaf.not_after().duration_since(now).unwrap_or_default() <= life / LEFT {
            return Some(Lack::Life(key.clone(), leaf.not_after()));
        }
    }
    None
}

/// The bytes of a field, which may be in base64 `twice`.
pub(super) fn decoded(text: &str, twice: bool) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    if twice { STANDARD.decode(bytes).ok() } else { Some(bytes) }
}
