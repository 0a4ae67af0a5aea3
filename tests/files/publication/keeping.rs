//! P25: how long a generation stays.

use std::time::Duration;

use dev_agent::Entry;
use pgsvid::timing;
use test_support::{LIMIT, eventually};

use crate::publication::place::{
    ID, Library, Place, assert_published, current, material, names, published,
};

#[test]
fn p25_with_a_service_file_a_generation_stays_until_its_leaf_has_expired() {
    let mut library = Library::new();
    library.settings.keep_until_expiry = true;
    let mut publisher = library.open();
    let now = timing::now();
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let mut generations = Vec::new();
    for life in [4, 1, 3, 2, 1] {
        let entry = Entry::new(ID).dns("localhost").ttl(hours(life));
        let svid = library.authority.issue(&entry).unwrap();
        generations.push(publisher.publish(&material(&svid), &[]).unwrap().generation);
        publisher.sweep(timing::now());
    }
    let mut left = |after: Duration| {
        publisher.sweep(now + after + Duration::from_secs(60));
        let left = names(library.path(), "..v");
        let place = |name| generations.iter().position(|generation| *generation == name).unwrap();
        left.into_iter().map(place).collect::<Vec<_>>()
    };
    assert_eq!(left(hours(0)), [0, 1, 2, 3, 4]);
    assert_eq!(left(hours(1)), [0, 2, 3, 4]);
    assert_eq!(left(hours(3)), [0, 3, 4]);
    // The current one and the one before stay in any case: they may be all that there is.
    assert_eq!(left(hours(100)), [3, 4]);
}

#[test]
fn p25_no_more_generations_stay_than_configured() {
    for most in [2, 3, 5] {
        let mut library = Library::new();
        library.settings.keep_until_expiry = true;
        library.settings.keep_at_most = most;
        let mut publisher = library.open();
        let mut generations = Vec::new();
        for _ in 0..7 {
            generations.push(library.publish(&mut publisher).1);
            publisher.sweep(timing::now());
            let newest = generations.iter().rev().take(most).rev().cloned().collect::<Vec<_>>();
            assert_eq!(names(library.path(), "..v"), newest);
        }
    }
}

#[test]
fn without_a_service_file_a_generation_stays_for_a_minute_after_it_was_replaced() {
    let library = Library::new();
    let mut publisher = library.open();
    let generations: Vec<_> = (0..4).map(|_| library.publish(&mut publisher).1).collect();
    publisher.sweep(timing::now() + Duration::from_secs(50));
    assert_eq!(names(library.path(), "..v"), generations);
    publisher.sweep(timing::now() + Duration::from_secs(62));
    assert_eq!(names(library.path(), "..v"), generations[2..]);
}

#[test]
fn p25_the_daemon_sweeps_what_has_expired_and_what_is_too_much() {
    let place = Place::new();
    let service = "[files.service]\nfile = 'pg_service.conf'\nname = 'products'\n";
    let pgsvid = place.run_with(&format!("[files]\nkeep_at_most = 4\n{service}"));
    published(&pgsvid, 1);
    for generation in 2..=6 {
        place.agent.rotate().unwrap();
        published(&pgsvid, generation);
    }
    eventually(LIMIT, "four generations stay", || names(&place.svids, "..v").len() == 4);

    let brief = Entry::new(ID).dns("localhost").ttl(Duration::from_secs(2));
    place.agent.set_entries([brief]).unwrap();
    published(&pgsvid, 7);
    let expiring = current(&place.svids);
    let expires = place.agent.svid().not_after;
    place.agent.set_entries([Entry::new(ID).dns("localhost")]).unwrap();
    published(&pgsvid, 8);
    eventually(LIMIT, "the brief leaf expires", || timing::now() > expires);
    assert!(place.svids.join(&expiring).exists());
    for generation in 9..=10 {
        place.agent.rotate().unwrap();
        published(&pgsvid, generation);
    }
    eventually(LIMIT, "its generation is removed", || !place.svids.join(&expiring).exists());
    eventually(LIMIT, "four others stay", || names(&place.svids, "..v").len() == 4);
    assert_published(&place.svids, &place.agent.svid());
}
