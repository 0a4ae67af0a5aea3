//! An SVID that has been issued, with its key and bundle.

use std::fmt;
use std::time::SystemTime;

use pem_rfc7468::LineEnding;
use pgsvid_proto::X509svid;

/// An X.509-SVID as a workload gets it. All certificates and the key are in ASN.1 DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Svid {
    /// The SPIFFE ID that the message names; the leaf's may differ if a flaw says so.
    pub spiffe_id: String,
    /// The hint; empty means none.
    pub hint: String,
    /// Leaf, then intermediates.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key in PKCS#8.
    pub key: Vec<u8>,
    /// The roots that the workload is told to trust.
    pub bundle: Vec<Vec<u8>>,
    /// The leaf's serial number, big-endian.
    pub serial: [u8; 16],
    /// When the leaf's validity begins.
    pub not_before: SystemTime,
    /// When the leaf's validity ends.
    pub not_after: SystemTime,
}

impl Svid {
    /// The leaf in DER.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], Vec::as_slice)
    }

    /// The serial number in lower-case hex, as `openssl x509 -serial` has it but for the case.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        hex(&self.serial)
    }

    /// Leaf and intermediates in PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        certificates_pem(&self.chain)
    }

    /// The key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// The roots in PEM.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        certificates_pem(&self.bundle)
    }

    /// The SVID as the Workload API carries it.
    #[must_use]
    pub fn to_message(&self) -> X509svid {
        X509svid {
            spiffe_id: self.spiffe_id.clone(),
            x509_svid: self.chain.concat(),
            x509_svid_key: self.key.clone(),
            bundle: self.bundle.concat(),
            hint: self.hint.clone(),
        }
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("spiffe_id", &self.spiffe_id)
            .field("hint", &self.hint)
            .field("serial", &self.serial_hex())
            .field("chain", &self.chain.len())
            .field("bundle", &self.bundle.len())
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Certificates in PEM, one after the other.
pub(crate) fn certificates_pem(ders: &[Vec<u8>]) -> String {
    ders.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    let digit = |nibble| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(digits).map(digit).collect()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    // It fails on a malformed label only, and ours are literals.
    pem_rfc7468::encode_string(label, LineEnding::LF, der).unwrap_or_default()
}
