//! Authorities of other trust domains: those that fit into a handshake, and do not hide other certificates from OpenSSL.

use std::collections::HashSet;

use super::certificate::{Certificate, Fingerprint};
use super::checks::{LARGEST_BUNDLE, MOST_NAMES, NoRoom};
use super::rivals::{Obstacle, proofs_of_one};
use super::{Material, rivals};

/// The space that the published authorities take so far, and which they are. Kept between calls, because trust domains are
/// added one by one, and there may be thousands.
#[derive(Clone)]
pub(super) struct NameBudget {
    known: HashSet<Fingerprint>,
    /// Digests of the names.
    names: HashSet<Fingerprint>,
    /// Bytes that the names take in a handshake.
    size: usize,
}

impl NameBudget {
    fn of<'a>(published: impl Iterator<Item = &'a Certificate>) -> Self {
        let mut room = Self { known: HashSet::new(), names: HashSet::new(), size: 0 };
        for found in published {
            room.known.insert(found.fingerprint());
            if room.names.insert(Fingerprint::of(found.subject())) {
                room.size += found.subject().len() + 2;
            }
        }
        room
    }

    /// Adds the certificates that are not published yet, if there is room for all of them, and returns these.
    fn take(&mut self, mut found: Vec<Certificate>) -> Result<Vec<Certificate>, NoRoom> {
        let mut known = HashSet::new();
        found.retain(|found| {
            let fingerprint = found.fingerprint();
            !self.known.contains(&fingerprint) && known.insert(fingerprint)
        });
        let mut names = HashSet::new();
        let mut size = self.size;
        for found in &found {
            let name = Fingerprint::of(found.subject());
            if !self.names.contains(&name) && names.insert(name) {
                size += found.subject().len() + 2;
            }
        }
        if self.known.len() + known.len() > LARGEST_BUNDLE || size > MOST_NAMES {
            return Err(NoRoom);
        }
        self.known.extend(known);
        self.names.extend(names);
        self.size = size;
        Ok(found)
    }
}

/// Adds the authorities of another trust domain to the material. Returns those that OpenSSL could mistake for others, which
/// are not added.
pub(super) fn federate(
    material: &mut Material,
    found: Vec<Certificate>,
) -> Result<Vec<(Certificate, Obstacle)>, NoRoom> {
    let signatures = proofs_of_one();
    let (mut left_out, mut free) = (Vec::new(), Vec::new());
    for found in found {
        match obstacle_to(material, &found, &signatures) {
            Some(obstacle) => left_out.push((found, obstacle)),
            None => free.push(found),
        }
    }
    let mut room = material.room.take().unwrap_or_else(|| NameBudget::of(material.authorities()));
    let free = room.take(free);
    // The slot is empty: it was taken out.
    let _ = material.room.set(room);
    for found in free? {
        material.federated_index.add(material.federated.len(), &found);
        material.federated.push(found);
    }
    Ok(left_out)
}

pub(super) fn obstacle_to(
    material: &Material,
    foreign: &Certificate,
    signatures: &super::openssl::Signatures,
) -> Option<Obstacle> {
    let above = || material.intermediates.iter().chain(&material.authorities);
    let names = || rivals::Names::of(&material.leaf, above());
    if material.names.get_or_init(names).are_claimed_by(foreign) {
        return Some(Obstacle::Ours);
    }
    material.federated_index.obstacle_to(foreign, &material.federated, signatures)
}
