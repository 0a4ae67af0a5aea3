//! The published leaf as a client certificate: a server takes it only if it knows the authority's key, not its name alone.
//!
//! With client certificates on (`ssl_ca_file`), OpenSSL validates whatever a client shows, before PostgreSQL reads a line of
//! `pg_hba.conf`. So a server that has loaded another authority of the same name refuses our leaf, and one that has loaded the
//! published bundle takes it. Nothing is logged in to, and no slot is taken.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::AlertDescription;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroize as _;

use pgsvid_material::{Certificate, Material, Usage, verify_path};

/// A leaf with its key, to be shown to a server that asks for a client certificate.
#[derive(Debug, Clone)]
pub struct Client(pub(super) Arc<CertifiedKey>);

impl Client {
    /// The material's leaf; `None` if no server need take it: it may not be a client's, or is not valid at `now`.
    #[must_use]
    pub fn of(material: &Material, now: SystemTime) -> Option<Self> {
        let leaf = material.leaf();
        let intermediates: Vec<Certificate> = material.chain().skip(1).cloned().collect();
        let authorities: Vec<Certificate> = material.authorities().cloned().collect();
        // The server has the same clock, as a rule, and allows for no skew.
        if now < leaf.not_before() {
            return None;
        }
        verify_path(leaf, &intermediates, &authorities, Usage::Client, now).ok()?;
        let chain =
            material.chain().map(|link| CertificateDer::from(link.der().to_vec())).collect();
        let key = PrivatePkcs8KeyDer::from(material.key().expose());
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(key)).ok()?;
        Some(Self(Arc::new(CertifiedKey::new(chain, key))))
    }
}

/// Overwrites what signing has left on the stack below the caller: ring keeps the key's number there while it computes, and an
/// idle process would keep it for as long.
pub fn wipe_stack() {
    wipe(STACK / PAGE);
}

/// More than a handshake takes, in bytes.
const STACK: usize = 256 * 1024;
const PAGE: usize = 8 * 1024;

#[inline(never)]
fn wipe(pages: usize) {
    let mut page = [0_u8; PAGE];
    page.zeroize();
    if pages > 0 {
        wipe(pages - 1);
    }
    // Keeps the page where it is until here.
    std::hint::black_box(&page);
}

/// What a server made of the leaf that was shown to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// Nothing was shown: the server asked for no certificate, or there was none to show.
    NotShown,
    /// It was taken.
    Taken,
    /// It was refused, with this alert.
    Refused(AlertDescription),
    /// The server ended the connection without a word, or did not end it.
    Unknown,
}

impl Reception {
    /// Whether the server's authorities must be others than the published ones: these take the leaf, which was looked at
    /// before it was shown (OpenSSL: `ssl_x509err2alert`). A server with revocation lists may have its own reasons, and
    /// answers as one that lacks the authority if it lacks the authority's list.
    #[must_use]
    pub fn denies_the_authorities(self, revocation: bool) -> bool {
        match self {
            Self::Refused(alert) => !revocation || alert == AlertDescription::DecryptError,
            Self::NotShown | Self::Taken | Self::Unknown => false,
        }
    }
}

/// How much of the authorities that a server has loaded was proven: from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Nothing: the server asks for no client certificate.
    Nothing,
    /// The names of all.
    Names,
    /// The key of the one that has signed the leaf, and the names of all.
    Key,
}

impl Proof {
    /// Its name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Names => "names",
            Self::Nothing => "nothing",
        }
    }
}
