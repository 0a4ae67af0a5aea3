//! What a leaf may be used for: servers, clients, or both (OpenSSL: `check_purpose_ssl_server`, `check_purpose_ssl_client`).
//!
//! PostgreSQL loads a leaf that is not for servers, and serves it. Clients with `sslmode=verify-ca` or `verify-full` refuse
//! it.

use super::certificate::Certificate;
use super::openssl::{Facts, Purpose, Which, fits_purpose};

/// The certificate that forbids a use by its extended key usage, its keyUsage, or Netscape's certificate type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForbiddenBy {
    /// The leaf itself.
    Leaf,
    /// An authority above it: a use that its extended key usage lacks is forbidden to the certificates below it.
    Authority,
}

impl ForbiddenBy {
    /// The same for the certificate that OpenSSL refuses.
    #[must_use]
    pub fn of(which: &Which) -> Self {
        match which {
            Which::Leaf => Self::Leaf,
            Which::Authority { .. } => Self::Authority,
        }
    }
}

/// The uses that a leaf does not allow; `None` for an allowed use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AllowedUses {
    /// What forbids the use by a server.
    pub servers: Option<ForbiddenBy>,
    /// What forbids the use by a client.
    pub clients: Option<ForbiddenBy>,
}

impl AllowedUses {
    /// Judges a leaf alone. OpenSSL ignores `anyExtendedKeyUsage`. A leaf without the extension is for both uses.
    #[must_use]
    pub fn of_leaf(leaf: &Certificate) -> Self {
        Facts::of(leaf).map(|leaf| Self::of_path(&[&leaf])).unwrap_or_default()
    }

    /// Judges a leaf with the authorities above it.
    pub(super) fn of_path(path: &[&Facts<'_>]) -> Self {
        let hindered = |purpose| {
            let at = path
                .iter()
                .enumerate()
                .position(|(at, found)| !fits_purpose(found, purpose, at > 0));
            at.map(|at| if at == 0 { ForbiddenBy::Leaf } else { ForbiddenBy::Authority })
        };
        Self { servers: hindered(Purpose::Server), clients: hindered(Purpose::Client) }
    }

    /// Whether it forbids nothing that `other` allows.
    pub(super) fn is_as_good_as(self, other: Self) -> bool {
        (self.servers.is_none() || other.servers.is_some())
            && (self.clients.is_none() || other.clients.is_some())
    }

    /// `servers and clients`
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match (self.servers, self.clients) {
            (None, None) => "servers and clients",
            (None, Some(_)) => "servers alone",
            (Some(_), None) => "clients alone",
            (Some(_), Some(_)) => "neither servers nor clients",
        }
    }
}

/// Who uses a leaf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Users {
    /// A server shows it.
    pub servers: bool,
    /// A client shows it.
    pub clients: bool,
}
