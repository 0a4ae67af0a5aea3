//! The published leaf as a client certificate: a server accepts it only if it knows the authority's key, not only its name.
//!
//! With client certificates on (`ssl_ca_file`), OpenSSL validates every client certificate before PostgreSQL reads
//! `pg_hba.conf`. So a server that has loaded another authority of the same name refuses the leaf, and one that has loaded
//! the published bundle accepts it. This needs no login and no connection slot.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::AlertDescription;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroize as _;

use pgsvid_material::{Certificate, Material, Usage, verify_path};

/// A leaf with its key, to show to a server that asks for a client certificate.
#[derive(Debug, Clone)]
pub struct Client(pub(super) Arc<CertifiedKey>);

impl Client {
    /// The material's leaf; `None` if a server may refuse it anyway: it is not for clients, or is not valid at `now`.
    #[must_use]
    pub fn of(material: &Material, now: SystemTime) -> Option<Self> {
        let leaf = material.leaf();
        let intermediates: Vec<Certificate> = material.chain().skip(1).cloned().collect();
        let authorities: Vec<Certificate> = material.authorities().cloned().collect();
        // The server usually has the same clock, and allows no clock difference.
        if now < leaf.not_before() {
            return None;
        }
        verify_path(leaf, &intermediates, &authorities, Usage::Client, now).ok()?;
        Self::unchecked(material)
    }

    /// The material's leaf, for a login, which shows what the server thinks of it; `None` if its key cannot be used.
    #[must_use]
    pub fn unchecked(material: &Material) -> Option<Self> {
        let chain =
            material.chain().map(|link| CertificateDer::from(link.der().to_vec())).collect();
        let key = PrivatePkcs8KeyDer::from(material.key().expose());
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(key)).ok()?;
        Some(Self(Arc::new(CertifiedKey::new(chain, key))))
    }

    /// The chain with its key, for a handshake.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }
}

/// Overwrites what signing has left on the stack below the caller. ring keeps the key's scalar there while it computes, and
/// an idle process would keep it indefinitely.
pub fn wipe_stack() {
    wipe(STACK / PAGE);
}

/// More stack than a handshake uses, in bytes.
const STACK: usize = 256 * 1024;
const PAGE: usize = 8 * 1024;

#[inline(never)]
fn wipe(pages: usize) {
    let mut page = [0_u8; PAGE];
    page.zeroize();
    if pages > 0 {
        wipe(pages - 1);
    }
    // Keeps the page allocated until here.
    std::hint::black_box(&page);
}

/// OpenSSL's alert over TLS 1.2 for a client's key on none of the curves in `ssl_ecdh_curve` ("wrong curve":
/// `tls12_check_peer_sigalg`).
pub const WRONG_CURVE: AlertDescription = AlertDescription::IllegalParameter;

/// A server's answer to the leaf that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// Nothing was shown: the server did not ask for a certificate, or there was none to show.
    NotShown,
    /// It was accepted.
    Taken,
    /// It was refused, with this alert.
    Refused(AlertDescription),
    /// The connection ended without an alert and without `close_notify`, or the server did not close it in time.
    Unknown,
}

impl Reception {
    /// Whether the refusal proves that the server has other authorities: the published ones accept the leaf, which was
    /// checked before it was shown (OpenSSL: `ssl_x509err2alert`). A server with revocation lists may have other reasons, and
    /// its alert for a missing list is the same as for a missing authority. A server that refuses the key's curve has already
    /// accepted the authorities.
    #[must_use]
    pub fn denies_the_authorities(self, revocation: bool) -> bool {
        match self {
            Self::Refused(WRONG_CURVE) | Self::NotShown | Self::Taken | Self::Unknown => false,
            Self::Refused(alert) => !revocation || alert == AlertDescription::DecryptError,
        }
    }
}

/// How much of the server's loaded authorities was proven, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Nothing: the server does not ask for a client certificate, or names no authority and has not accepted the leaf.
    Nothing,
    /// The key of the authority that signed the leaf, and no other authority: the server names none (PgBouncer 1.18).
    Issuer,
    /// The names of all authorities, and no key.
    Names,
    /// The key of the authority that signed the leaf, and the names of all authorities.
    Key,
}

impl Proof {
    /// Its name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Names => "names",
            Self::Issuer => "issuer",
            Self::Nothing => "nothing",
        }
    }
}
