//! C02, C03: before and after the validity, to the second.

use std::time::{Duration, SystemTime};

use dev_agent::{Authority, Flaw, Svid};
use pgsvid::material::{CLOCK_SKEW, Expectations, Material, Rejection};
use pgsvid::timing;

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
fn c03_an_svid_is_refused_from_its_not_after_time_on() {
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

/// What no path needs may have expired, and of two paths the longer one counts.
#[test]
fn a65_the_end_is_that_of_the_path_that_is_needed() {
    let (ours, foreign) = (authority(true), Authority::new("other.org", false).unwrap());
    let svid = ours.issue(&workload()).unwrap();
    let [leaf, intermediate] = &svid.chain[..] else { panic!("leaf and intermediate") };
    let whole = |time: SystemTime| {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let (yesterday, soon) = (timing::now() - 86_400 * SECOND, whole(timing::now() + 60 * SECOND));
    let short = &ours.vouch_for(&ours, soon).unwrap();
    let expired = &ours.vouch_for(&ours, yesterday).unwrap();
    let cross = &foreign.vouch_for(&ours, soon).unwrap();
    let stray = &foreign.vouch_for(&foreign, yesterday).unwrap();
    for (chain, end) in [
        (vec![leaf, intermediate, expired, stray], svid.not_after),
        (vec![leaf, stray, cross, intermediate], svid.not_after),
        (vec![leaf, short, intermediate], svid.not_after),
        (vec![leaf, intermediate, short], svid.not_after),
        (vec![leaf, short, expired, stray], soon),
    ] {
        let mut offer = offer(&svid);
        offer.chain = chain.into_iter().flatten().copied().collect();
        let material = check(offer).unwrap();
        assert_eq!(material.not_after(), end);
        assert!(!material.is_expired(end - SECOND) && material.is_expired(end));
    }
}

#[test]
fn b02_the_root_that_is_needed_counts_for_the_end() {
    let ours = authority(false);
    let svid = ours.issue(&workload()).unwrap();
    let soon = timing::now() + 60 * SECOND;
    // Our own root, with an earlier end.
    let short = ours.vouch_for(&ours, soon).unwrap();
    let with = |bundle: &[&[u8]]| {
        let mut offer = offer(&svid);
        offer.bundle = bundle.concat();
        check(offer).unwrap()
    };
    assert!(with(&[&short]).not_after() <= soon);
    assert_eq!(with(&[&short, ours.root()]).not_after(), svid.not_after);
}

fn at(svid: &Svid, now: SystemTime) -> Result<Material, Rejection> {
    Material::check(offer(svid), &Expectations::default(), now)
}
