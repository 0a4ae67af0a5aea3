//! C02, C03: before and after the time, to the second.

use std::time::{Duration, SystemTime};

use dev_agent::{Flaw, Svid};
use pgsvid::material::{CLOCK_SKEW, Expectations, Material, Rejection};

use crate::material::offers::{assert_reason, assert_refused, authority, check, offer, workload};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn c02_before_its_time_it_is_refused_but_for_the_clock_skew() {
    let svid = authority(true).issue(&workload()).unwrap();
    let earliest = svid.not_before - CLOCK_SKEW;
    assert!(at(&svid, earliest).is_ok());
    let rejection = at(&svid, earliest - SECOND).unwrap_err();
    assert!(matches!(rejection, Rejection::NotYetValid(from) if from == svid.not_before));
    assert_refused(&Flaw::NotYetValid(Duration::from_secs(300)), "the SVID is valid only from 20");
    let soon = workload().with(Flaw::NotYetValid(Duration::from_secs(30)));
    assert!(check(offer(&authority(false).issue(&soon).unwrap())).is_ok());
}

#[test]
fn c03_from_its_end_on_it_is_refused() {
    let svid = authority(true).issue(&workload()).unwrap();
    assert!(at(&svid, svid.not_after - SECOND).is_ok());
    for late in [svid.not_after, svid.not_after + SECOND] {
        assert_reason(at(&svid, late), "the SVID expired at 20");
    }
    assert_refused(&Flaw::Expired(SECOND), "the SVID expired at 20");
    let material = at(&svid, svid.not_before).unwrap();
    assert!(!material.is_expired(svid.not_after - SECOND) && material.is_expired(svid.not_after));
}

#[test]
fn c03_a_life_that_ended_before_1970_is_refused_like_any_other() {
    let ages = Duration::from_secs(70 * 366 * 86_400);
    assert_refused(&Flaw::Expired(ages), "the SVID expired at 1970-01-01T00:00:00Z");
}

#[test]
fn c03_without_a_root_that_is_valid_now_it_is_refused() {
    // The authority lives for a day; what it has issued begins after that.
    let late = workload().with(Flaw::NotYetValid(Duration::from_secs(2 * 86_400)));
    for intermediate in [false, true] {
        let svid = authority(intermediate).issue(&late).unwrap();
        assert_reason(at(&svid, svid.not_before + SECOND), "no root of the bundle is valid now");

        // A root that is valid, but another's, does not help.
        let mut offer = offer(&svid);
        offer.bundle.extend_from_slice(authority(false).root());
        let later = svid.not_before + SECOND;
        assert!(Material::check(offer, &Expectations::default(), later).is_err());
    }
}

fn at(svid: &Svid, now: SystemTime) -> Result<Material, Rejection> {
    Material::check(offer(svid), &Expectations::default(), now)
}
