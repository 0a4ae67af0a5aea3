//! Instances that come, go, are slow, and were faster than the hand-over.

use super::*;
use crate::material::Fingerprint;

const SECOND: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(120);

/// Time that passes, and what a look shows.
struct Watch {
    instances: Instances,
    begun: Instant,
}

impl Watch {
    fn new() -> Self {
        Self { instances: Instances::default(), begun: Instant::now() }
    }

    fn at(&self, seconds: u32) -> Instant {
        self.begun + SECOND * seconds
    }

    fn want(&mut self, leaf: &[u8], handed: HandedOver, now: u32) {
        self.instances.want(features(leaf), handed, self.at(now));
    }

    fn look(&mut self, now: u32, seen: &[(u8, Verdict)]) -> Vec<Change> {
        let seen = seen.iter().map(|(last, verdict)| {
            let answer = Answer::Nothing(String::new());
            (address(*last), Facts { address: String::new(), answer }, *verdict)
        });
        let (seen, now) = (seen.collect(), self.at(now));
        self.instances.note(seen, WITHIN, (now, SystemTime::UNIX_EPOCH))
    }

    fn behind(&self, last: u8, now: u32) -> Option<u64> {
        let (_, it) = self.instances.iter().find(|(it, _)| **it == address(last)).unwrap();
        it.behind_for(self.at(now)).map(|behind| behind.as_secs())
    }
}

fn features(leaf: &[u8]) -> Features {
    (Fingerprint::of(leaf), Vec::new(), BTreeSet::new())
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

use Verdict::{Current, StillOld, Unreachable};

fn proven(last: u8, seconds: Option<u32>) -> Change {
    Change::Proven(address(last), seconds.map(|seconds| SECOND * seconds))
}

#[test]
fn y01_each_instance_has_a_delay_of_its_own_and_the_one_that_stays_old_is_behind() {
    let mut watch = Watch::new();
    watch.want(b"1", HandedOver::Earlier, 0);
    assert_eq!(watch.look(0, &[(1, Current), (2, Current)]), [proven(1, None), proven(2, None)]);
    watch.want(b"2", HandedOver::At(watch.at(100)), 100);
    assert_eq!(watch.look(100, &[(1, StillOld), (2, StillOld)]), []);
    assert_eq!(watch.look(103, &[(1, Current), (2, StillOld)]), [proven(1, Some(3))]);
    assert_eq!(watch.look(130, &[(1, Current), (2, StillOld)]), []);
    assert_eq!((watch.behind(1, 130), watch.behind(2, 130)), (None, Some(30)));
    assert_eq!(watch.instances.worst().unwrap().verdict, StillOld);
    assert_eq!(watch.look(131, &[(1, Current), (2, Current)]), [proven(2, Some(31))]);
}

#[test]
fn y02_an_instance_that_comes_later_has_its_own_time_and_one_that_goes_is_forgotten() {
    let mut watch = Watch::new();
    watch.want(b"1", HandedOver::At(watch.at(0)), 0);
    watch.look(1, &[(1, Current)]);
    // A new pod has the set at once, or a moment later; neither took an hour.
    let changes = watch.look(3600, &[(1, Current), (2, Current), (3, StillOld)]);
    assert_eq!(changes, [proven(2, None)]);
    assert_eq!(watch.behind(3, 3610), Some(10));
    let changes = watch.look(3605, &[(2, Current), (3, Current)]);
    assert_eq!(changes, [proven(3, Some(5)), Change::Gone(address(1))]);
    assert_eq!(watch.instances.addresses(), [address(2), address(3)]);
}

#[test]
fn y07_what_is_served_before_the_hand_over_counts_once() {
    let mut watch = Watch::new();
    watch.want(b"0", HandedOver::Earlier, 0);
    watch.look(0, &[(1, Current)]);
    watch.want(b"1", HandedOver::NotYet, 10);
    assert_eq!(watch.look(10, &[(1, StillOld)]), []);
    assert_eq!(watch.behind(1, 1000), None, "nothing was handed over");
    assert_eq!(watch.look(11, &[(1, Current)]), [proven(1, None)]);
    watch.want(b"1", HandedOver::At(watch.at(12)), 13);
    assert_eq!(watch.look(13, &[(1, Current)]), []);
    // The same set is published again.
    watch.want(b"1", HandedOver::At(watch.at(50)), 50);
    assert_eq!(watch.look(51, &[(1, Current)]), []);
}

#[test]
fn an_instance_that_falls_back_is_behind_from_that_moment() {
    let mut watch = Watch::new();
    watch.want(b"1", HandedOver::At(watch.at(0)), 0);
    watch.look(1, &[(1, StillOld)]);
    watch.look(2, &[(1, Current)]);
    watch.look(500, &[(1, Unreachable)]);
    assert_eq!(watch.behind(1, 501), Some(1));
    // That it serves the set again was no new delivery.
    assert_eq!(watch.look(502, &[(1, Current)]), []);
}

#[test]
fn authorities_that_change_without_another_leaf_have_no_delay() {
    let mut watch = Watch::new();
    watch.want(b"1", HandedOver::At(watch.at(0)), 0);
    watch.look(1, &[(1, Current)]);
    let mut more = features(b"1");
    more.2.insert(vec![1]);
    watch.instances.want(more, HandedOver::At(watch.at(10)), watch.at(10));
    assert_eq!(watch.look(11, &[(1, Current)]), [proven(1, None)]);
}

#[test]
fn y15_while_another_replica_writes_nothing_is_compared_with_the_own_leaf() {
    use Verdict::{Expired, Foreign, OldAuthorities, Standby};
    for seen in [Current, OldAuthorities, StillOld, Foreign] {
        assert_eq!(by_another(seen), Standby);
    }
    assert_eq!(by_another(Expired), Expired);
    let mut watch = Watch::new();
    watch.want(b"1", HandedOver::At(watch.at(0)), 0);
    watch.look(1, &[(1, Current), (2, Current)]);
    // The Lease is lost: nothing is behind, however long it lasts, and also after a rotation of its own.
    watch.want(b"1", HandedOver::ByAnother(watch.at(10)), 10);
    assert_eq!(watch.look(11, &[(1, Standby), (2, Standby)]), []);
    watch.want(b"2", HandedOver::ByAnother(watch.at(10)), 5000);
    assert_eq!(watch.look(5000, &[(1, Standby), (2, Unreachable)]), []);
    assert_eq!((watch.behind(1, 5000), watch.behind(2, 5030)), (None, Some(30)));
    assert_eq!(watch.instances.worst().unwrap().verdict, Unreachable);
    watch.want(b"3", HandedOver::ByAnother(watch.at(10)), 5040);
    watch.look(5040, &[(1, Standby), (2, Unreachable)]);
    assert_eq!(watch.behind(2, 5040), Some(40));
    // It holds the Lease again: the time counts from then on.
    watch.want(b"3", HandedOver::At(watch.at(6000)), 6000);
    watch.look(6001, &[(1, StillOld), (2, StillOld)]);
    assert_eq!(watch.behind(1, 6002), Some(2));
    assert_eq!(
        watch.look(6007, &[(1, Current), (2, Current)]),
        [proven(1, Some(7)), proven(2, Some(7))]
    );
}

#[test]
fn y16_several_servers_behind_one_address_are_no_instance_that_is_current() {
    let mut watch = Watch::new();
    watch.want(b"1", HandedOver::At(watch.at(0)), 0);
    watch.look(0, &[(1, StillOld)]);
    watch.look(2, &[(1, Current)]);
    assert_eq!(watch.instances.verdict(), Some(Current), "every server may have loaded the set");
    watch.look(4, &[(1, StillOld)]);
    assert!(watch.instances.mixed().is_none(), "it may be one server with earlier files");
    for now in (6..200).step_by(2) {
        watch.look(now, &[(1, if now % 4 == 0 { StillOld } else { Current })]);
        let mixed = watch.instances.mixed().unwrap();
        assert_eq!((mixed.address, mixed.verdict), (address(1), StillOld));
        assert_eq!(watch.instances.verdict(), Some(StillOld));
    }
    assert_eq!(watch.instances.stale_for(), Some(SECOND * 196));
    // The last of them loads the set: it counts when no look has shown another one for as long as `within`.
    watch.look(196 + 119, &[(1, Current)]);
    assert_eq!(watch.instances.verdict(), Some(StillOld));
    watch.look(196 + 120, &[(1, Current)]);
    assert_eq!((watch.instances.verdict(), watch.instances.stale_for()), (Some(Current), None));
    // One that appears with an earlier set is another server, and nothing that was seen before.
    watch.look(330, &[(1, Current), (2, StillOld)]);
    watch.look(331, &[(1, Current), (2, Current)]);
    assert_eq!(watch.instances.verdict(), Some(Current));
}

#[test]
fn y17_a_name_with_another_address_at_each_probe_does_not_start_over_each_time() {
    let mut watch = Watch::new();
    watch.want(b"1", HandedOver::At(watch.at(0)), 0);
    for now in (0..=130).step_by(10) {
        watch.look(now, &[(u8::try_from(now / 10).unwrap(), StillOld)]);
    }
    assert_eq!(watch.behind(13, 130), Some(0));
    assert_eq!(watch.instances.stale_for(), Some(SECOND * 130));
    // Looks that are far from each other show it, too.
    watch.look(500, &[(14, StillOld)]);
    assert_eq!(watch.instances.stale_for(), Some(SECOND * 500));
    // Another set has its own time.
    watch.want(b"2", HandedOver::At(watch.at(540)), 540);
    watch.look(540, &[(1, StillOld)]);
    assert_eq!(watch.instances.stale_for(), Some(Duration::ZERO));
    // A server that does not answer serves nothing else.
    watch.want(b"3", HandedOver::At(watch.at(600)), 600);
    watch.look(600, &[(1, Unreachable)]);
    assert_eq!(watch.instances.stale_for(), None);
}

#[test]
fn y03_a_name_without_an_address_is_empty_since_the_first_such_look() {
    let mut watch = Watch::new();
    watch.want(b"1", HandedOver::At(watch.at(0)), 0);
    watch.look(5, &[]);
    watch.look(20, &[]);
    let empty = |watch: &Watch, now| watch.instances.empty_for(watch.at(now));
    assert_eq!(empty(&watch, 35), Some(SECOND * 30));
    watch.look(40, &[(1, Current)]);
    assert_eq!(empty(&watch, 50), None);
}

#[test]
fn y10_of_a_flood_of_addresses_the_known_ones_stay() {
    let mut watch = Watch::new();
    watch.look(0, &[(200, Current)]);
    let flood: BTreeSet<IpAddr> = (0..=255).map(address).collect();
    let chosen = watch.instances.choose(flood);
    assert_eq!((chosen.len(), watch.instances.left_out), (MOST, 256 - MOST));
    assert_eq!(chosen[..3], [address(200), address(0), address(1)]);
    assert_eq!(watch.instances.choose([address(1)].into()), [address(1)]);
    assert_eq!(watch.instances.left_out, 0);
}
