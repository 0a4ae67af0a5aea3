//! Material of the dev agent's, as it passes the checks.

use std::time::SystemTime;

use dev_agent::Svid;
use pgsvid_material::{Expectations, Material, pem};

/// An SVID as it passes the checks at a certain time.
#[must_use]
pub fn checked(svid: &Svid, now: SystemTime) -> Material {
    pem::decode_material(
        svid.chain_pem().as_bytes(),
        svid.key_pem().as_bytes(),
        svid.bundle_pem().as_bytes(),
        &Expectations::default(),
        now,
    )
    .unwrap()
}
