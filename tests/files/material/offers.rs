//! Offers made from SVIDs, and the results of their checks.

use dev_agent::{Authority, Entry, Flaw, Svid};
use pgsvid::material::{Expectations, Material, Offer, Rejection};
use pgsvid::timing;
use zeroize::Zeroizing;

pub(crate) const ID: &str = "spiffe://example.org/ns/apps/sa/db";

pub(crate) fn workload() -> Entry {
    Entry::new(ID).dns("db.example.org")
}

pub(crate) fn authority(intermediate: bool) -> Authority {
    Authority::new("example.org", intermediate).unwrap()
}

pub(crate) fn offer(svid: &Svid) -> Offer {
    Offer {
        spiffe_id: Some(svid.spiffe_id.clone()),
        hint: svid.hint.clone(),
        chain: svid.chain.concat(),
        key: Zeroizing::new(svid.key.clone()),
        bundle: svid.bundle.concat(),
    }
}

pub(crate) fn check(offer: Offer) -> Result<Material, Rejection> {
    Material::check(offer, &Expectations::default(), timing::now())
}

/// What is said of an SVID with this flaw, with and without an intermediate.
#[track_caller]
pub(crate) fn assert_refused(flaw: &Flaw, reason: &str) {
    for intermediate in [false, true] {
        let svid = authority(intermediate).issue(&workload().with(flaw.clone())).unwrap();
        assert_reason(check(offer(&svid)), reason);
    }
}

#[track_caller]
pub(crate) fn assert_reason(checked: Result<Material, Rejection>, reason: &str) {
    let text = checked.expect_err("is refused").to_string();
    assert!(text.contains(reason), "{text}");
    // One line of a log.
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
}
