//! Whether three files are one set: whether their contents can be used, and belong together. Pure.

use std::time::SystemTime;

use super::layout::Contents;
use super::{Settings, Trouble};
use crate::material::pem::{self, Part, Unusable};
use crate::material::reading::{self, Item, Unreadable};
use crate::material::{Material, Rejection};

/// The material of three files, or why they are not a set. `now` is the wall-clock time that validity is judged by.
pub fn judge(
    settings: &Settings,
    contents: &Contents,
    now: SystemTime,
) -> Result<Material, Trouble> {
    let [chain, key, bundle] = contents;
    pem::read_material(chain, key, bundle, &settings.expectations, now).map_err(|unusable| {
        match unusable {
            Unusable::Malformed { part, .. } => malformed(settings, part, contents),
            Unusable::Rejected(rejection) => rejected(settings, rejection),
        }
    })
}

fn malformed(settings: &Settings, part: Part, contents: &Contents) -> Trouble {
    let [certificate, private_key, bundle] = settings.paths.all();
    let [chain, key, authorities] = contents;
    let (path, bytes) = match part {
        Part::Chain => (certificate, chain),
        Part::Key => (private_key, key),
        Part::Bundle => (bundle, authorities),
    };
    let path = path.to_owned();
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
