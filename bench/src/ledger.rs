//! Which rotation something belongs to: what was pushed is written down, and what is seen later is looked up.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use dev_agent::{Authority, Svid};
use pgsvid::material::{Certificate, pem};
use pgsvid::verify::Served;

use crate::competitors::NAMES;

/// The leaf, the key and the newest authority of each rotation.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    rotations: usize,
    rotation_of: HashMap<Vec<u8>, usize>,
}

/// What three files, or a handshake, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// All of one rotation.
    Whole,
    /// Parts of more than one.
    Mixed,
    /// Not even readable: cut off, empty, or not there.
    Torn,
}

impl Ledger {
    /// Gives the SVID another authority in its bundle, so that each rotation has a bundle of its own, and writes it down.
    pub(crate) fn enter(&self, svid: &mut Svid) {
        let authority = Authority::new("example.org", false).expect("makes an authority");
        svid.bundle.push(authority.root().to_vec());
        let certificate = |der| Certificate::parse(der).expect("is a certificate");
        let subject = certificate(authority.root()).subject().to_vec();
        let key = certificate(svid.leaf()).public_key().to_vec();
        let mut book = self.0.lock().expect("nobody panics");
        book.rotations += 1;
        let rotation = book.rotations;
        for part in [svid.leaf().to_vec(), key, subject] {
            book.rotation_of.insert(part, rotation);
        }
    }

    /// Reads certificate, key and bundle, one file after the other, as libpq and PostgreSQL do.
    pub(crate) fn read(&self, [certificate, key, bundle]: &[PathBuf; 3]) -> Set {
        let parts = || {
            let leaf =
                pem::decode_certificates(&fs::read(certificate).ok()?).ok()?.into_iter().next()?;
            let key = pem::public_key_of(&fs::read(key).ok()?).ok()?;
            let authorities = pem::decode_certificates(&fs::read(bundle).ok()?).ok()?;
            let names: Vec<_> =
                authorities.iter().map(|authority| authority.subject().to_vec()).collect();
            Some((leaf, key, names))
        };
        let Some((leaf, key, names)) = parts() else { return Set::Torn };
        self.judge(&[leaf.der(), &key], &names)
    }

    /// What a server shows.
    pub(crate) fn served(&self, served: &Served) -> Set {
        self.judge(&[served.leaf.der()], served.authorities.as_deref().unwrap_or_default())
    }

    fn judge(&self, parts: &[&[u8]], names: &[Vec<u8>]) -> Set {
        let book = self.0.lock().expect("nobody panics");
        let newest = names.iter().filter_map(|name| book.rotation_of.get(name)).max();
        let mut all = parts.iter().map(|part| book.rotation_of.get(*part)).chain([newest]);
        let first = all.next().flatten();
        match first {
            Some(first) if all.clone().all(|other| other == Some(first)) => Set::Whole,
            Some(_) if all.all(|other| other.is_some()) => Set::Mixed,
            _ => Set::Torn,
        }
    }
}

/// Certificate, key and bundle by the names that stay.
pub(crate) fn stable_names(directory: &Path) -> [PathBuf; 3] {
    NAMES.map(|name| directory.join(name))
}

/// Certificate, key and bundle as a service file names them.
pub(crate) fn named_by(service_file: &Path) -> Option<[PathBuf; 3]> {
    let text = fs::read_to_string(service_file).ok()?;
    let path = |keyword: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(keyword)?.strip_prefix('='))
            .map(PathBuf::from)
    };
    Some([path("sslcert")?, path("sslkey")?, path("sslrootcert")?])
}
