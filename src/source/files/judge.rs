//! Whether three files are one set: whether their contents can be used, and belong together. Pure.

use std::path::PathBuf;
use std::time::SystemTime;

use super::layout::Contents;
use super::{Settings, Trouble};
use crate::finding::{Code, Finding};
use crate::material::in_place;
use crate::material::pem::{self, Malformed, Part, Unusable};
use crate::material::reading::{self, Item, Unreadable};
use crate::material::{Material, Rejection};

/// The material of three files, or why they are not a set. `now` is the wall-clock time that validity is judged by.
pub fn judge(
    settings: &Settings,
    contents: &Contents,
    now: SystemTime,
) -> Result<Material, Trouble> {
    let [chain, key, bundle] = contents;
    let material = pem::read_material(chain, key, bundle, &settings.expectations, now);
    let loads = || {
        if settings.in_place { in_place::other_blocks(key, bundle).map(drop) } else { Ok(()) }
    };
    material.and_then(|material| loads().map(|()| material)).map_err(|unusable| match unusable {
        Unusable::Malformed { part, cause: cause @ Malformed::Block { .. } } => {
            Trouble::Content { path: path_of(settings, part), what: cause.to_string() }
        }
        Unusable::Malformed { part, .. } => malformed(settings, part, contents),
        Unusable::Rejected(rejection) => rejected(settings, rejection),
    })
}

/// The number of revocation lists that PostgreSQL and libpq load with the authorities of an accepted set.
#[must_use]
pub fn revocation_lists(settings: &Settings, contents: &Contents) -> usize {
    let [_, key, bundle] = contents;
    if settings.in_place { in_place::other_blocks(key, bundle).unwrap_or(0) } else { 0 }
}

/// The warning about revocation lists in the bundle.
#[must_use]
pub fn unasked_lists(settings: &Settings, lists: usize) -> Option<Finding> {
    let bundle = settings.paths.bundle.display();
    let text = format!(
        "{bundle} holds revocation lists ({lists}): PostgreSQL and libpq load them with the authorities, and use them only if another list is \
         configured (ssl_crl_file, sslcrl)"
    );
    let fix = "let its writer leave the lists out; if certificates are to be revoked, write them to the file of ssl_crl_file";
    (lists > 0).then(|| Finding::warning(Code::CertificatesRevocationLists, text).fix(fix))
}

fn path_of(settings: &Settings, part: Part) -> PathBuf {
    let [certificate, private_key, bundle] = settings.paths.all();
    match part {
        Part::Chain => certificate,
        Part::Key => private_key,
        Part::Bundle => bundle,
    }
    .to_owned()
}

fn malformed(settings: &Settings, part: Part, contents: &Contents) -> Trouble {
    let [chain, key, authorities] = contents;
    let bytes = match part {
        Part::Chain => chain,
        Part::Key => key,
        Part::Bundle => authorities,
    };
    let path = path_of(settings, part);
    let items = reading::read(bytes);
    let is_wanted = |item: &Item| matches!(item, Item::Key { .. }) == (part == Part::Key);
    let is_pem = bytes.windows(5).any(|window| window == b"-----");
    if !is_pem && items.iter().flatten().any(is_wanted) {
        return Trouble::Der { path, part };
    }
    let wrong = items.into_iter().find_map(Result::err);
    match wrong {
        Some(Unreadable::Foreign(kind)) => Trouble::Foreign { path, kind },
        Some(Unreadable::Empty) => Trouble::Content { path, what: "it is empty".to_owned() },
        Some(wrong) => Trouble::Content { path, what: wrong.to_string() },
        None if part == Part::Key => {
            Trouble::Content { path, what: "it holds no private key".to_owned() }
        }
        None => Trouble::Content { path, what: "it holds no certificate".to_owned() },
    }
}

fn rejected(settings: &Settings, rejection: Rejection) -> Trouble {
    let paths = &settings.paths;
    let (certificate, private_key) = (paths.certificate.clone(), paths.private_key.clone());
    match rejection {
        Rejection::KeyMismatch => Trouble::Pair { certificate, private_key },
        Rejection::Expired(at) => Trouble::Expired { certificate, at },
        Rejection::NotYetValid(from) => Trouble::NotYetValid { from },
        Rejection::NoRoot(_) | Rejection::Unsigned(_) => Trouble::Unsigned {
            certificate,
            bundle: paths.bundle.clone(),
            why: rejection.to_string(),
        },
        Rejection::Key(_) => Trouble::Content { path: private_key, what: rejection.to_string() },
        Rejection::Bundle(_) | Rejection::TooManyNames { .. } => {
            Trouble::Content { path: paths.bundle.clone(), what: rejection.to_string() }
        }
        rejection => Trouble::Content { path: certificate, what: rejection.to_string() },
    }
}
