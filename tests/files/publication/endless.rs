//! B80: the files of `files.extra_authorities` change without end.

use std::time::Duration;

use dev_agent::Authority;
use test_support::{LIMIT, eventually};
use tokio::time::Instant;

use crate::publication::place::{Place, published, read};

#[test]
fn b80_the_sixth_change_of_extra_authorities_in_a_row_waits_and_an_identity_does_not() {
    let place = Place::new();
    let write = |number: u32| {
        let authority = Authority::new(&format!("corporate{number}.example"), false).unwrap();
        let path = place.other.write("extra.pem", authority.root_pem(), 0o644);
        (path, authority.root_pem())
    };
    let (path, _) = write(0);
    let pgsvid = place.run_with(&format!("[files]\nextra_authorities = ['{}']\n", path.display()));
    published(&pgsvid, 1);
    let bundle = || read(&place.svids).into_iter().nth(2).unwrap();
    for number in 1..6 {
        let (_, authority) = write(number);
        eventually(LIMIT, "the change is published", || bundle().contains(&authority));
    }
    let begun = Instant::now();
    let (_, last) = write(6);
    place.agent.rotate().unwrap();
    published(&pgsvid, 7);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(!bundle().contains(&last));
    eventually(LIMIT, "the last change is published", || bundle().contains(&last));
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
    let told = pgsvid.lines();
    let told = told.iter().filter(|line| line.contains("extra-authorities-without-end"));
    assert_eq!(told.count(), 1);
    assert!(pgsvid.terminate(LIMIT).success());
}
