//! The dev agent's material, after the checks.

use std::time::SystemTime;

use dev_agent::Svid;
use pgsvid_material::{Expectations, Material, pem};

/// An SVID that has passed the checks at this time.
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
