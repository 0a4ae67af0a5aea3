//! Whether another replica keeps a Secret, judged by what is in it. Pure.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::settings::Target;
use crate::kubernetes::Secret;
use crate::material::{Certificate, LeafName, pem};
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
    name: &LeafName,
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
        if !matches!(name, LeafName::Subject(_)) && !name.matches(&leaf) {
            return Some(Lack::Name(key.clone()));
        }
        let whole = leaf.not_after().duration_since(leaf.not_before()).unwrap_or_default();
        if leaf.not_after().duration_since(now).unwrap_or_default() <= whole / LEFT {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::super::settings::Field;
    use super::*;

    /// A chain in base64, valid for the years 2020 to 2023.
    fn chain(name: &str) -> String {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2024, 1, 1);
        let key = KeyPair::generate().unwrap();
        STANDARD.encode(parameters.self_signed(&key).unwrap().pem())
    }

    #[test]
    fn v13_a_secret_is_kept_while_its_certificate_has_more_than_a_quarter_of_its_life_left() {
        let field = |content| Field { content, base64: false };
        let fields = [("a", Content::Bundle), ("b", Content::Chain)];
        let target = Target {
            namespace: "db".to_owned(),
            name: "server".to_owned(),
            kind: "Opaque".to_owned(),
            create: true,
            labels: [].into(),
            annotations: [].into(),
            owner: None,
            fields: fields.map(|(key, it)| (key.to_owned(), field(it))).into(),
        };
        let secret = |data: &[(&str, &str)]| Secret {
            data: data.iter().map(|(key, it)| ((*key).to_owned(), (*it).to_owned())).collect(),
            ..Secret::default()
        };
        let name = LeafName::Dns(vec!["db".to_owned()]);
        let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        // 1 January 2020 is day 18262, and 31 December 2022 day 19357.
        let (early, late, end) = (day(18_263), day(19_358), day(19_723));
        let good = secret(&[("a", "eA=="), ("b", &chain("db"))]);
        assert_eq!(lack(&target, Some(&good), &name, early), None);
        assert_eq!(lack(&target, Some(&good), &name, late - Duration::from_secs(86_400)), None);
        let over = Some(Lack::Life("b".to_owned(), end));
        for now in [late, end, day(30_000)] {
            assert_eq!(lack(&target, Some(&good), &name, now), over);
        }
        let key = |key: &str| key.to_owned();
        for (live, wanted) in [
            (None, Lack::Exists),
            (Some(secret(&[("b", &chain("db"))])), Lack::Field(key("a"))),
            (Some(secret(&[("a", "eA=="), ("b", "")])), Lack::Field(key("b"))),
            (Some(secret(&[("a", "eA=="), ("b", "eA==")])), Lack::Certificate(key("b"))),
            (Some(secret(&[("a", "eA=="), ("b", &chain("x"))])), Lack::Name(key("b"))),
        ] {
            assert_eq!(lack(&target, live.as_ref(), &name, early), Some(wanted));
        }
    }
}
