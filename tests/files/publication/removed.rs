//! A45: an authority that is no longer configured outlives neither a restart nor a `fetch`, whether there is an agent or not.

use dev_agent::{Authority, Entry, Stop};
use test_support::{LIMIT, Program};

use crate::publication::place::{PGSVID, Place, assert_published, read, said};
use test_support::Mark;

/// Runs `pgsvid COMMAND` with that configuration.
fn start(place: &Place, command: &str, configuration: &str) -> Program {
    let file = place.other.write("pgsvid.toml", configuration, 0o644).display().to_string();
    let mut arguments = place.arguments();
    command.clone_into(&mut arguments[0]);
    Program::spawn(PGSVID, [arguments, vec!["--config".to_owned(), file]].concat(), &[])
}

#[track_caller]
fn fetch(place: &Place, configuration: &str) -> String {
    let fetch = start(place, "fetch", configuration);
    assert!(fetch.wait_exit(LIMIT).success(), "{}", fetch.standard_error());
    fetch.standard_output()
}

fn bundle(place: &Place) -> String {
    read(&place.svids).into_iter().nth(2).unwrap()
}

/// What adds an authority to the bundle, and its text.
fn additions(place: &Place) -> [(String, String); 2] {
    let extra = Authority::new("corporate.example", false).unwrap().root_pem();
    let path = place.other.write("extra.pem", &extra, 0o644);
    let federated = place.agent.federate("other.org").unwrap().root_pem();
    [
        (format!("[files]\nextra_authorities = ['{}']\n", path.display()), extra),
        ("[files]\nfederated_bundles = true\n".to_owned(), federated),
    ]
}

#[test]
fn a45_fetch_does_not_keep_an_authority_that_is_no_longer_configured() {
    let place = Place::new();
    for (configuration, authority) in additions(&place) {
        place.agent.rotate().unwrap();
        let _ = std::fs::remove_file(place.svids.join("..data"));
        fetch(&place, &configuration);
        assert!(bundle(&place).contains(&authority), "{configuration}");
        // As long as it is configured, the set stays.
        let before = crate::publication::place::current(&place.svids);
        assert!(fetch(&place, &configuration).ends_with("(published earlier, and the newest)"));
        assert_eq!(crate::publication::place::current(&place.svids), before);
        let fetched = fetch(&place, "");
        assert!(!bundle(&place).contains(&authority), "{configuration}: {fetched}");
        assert_published(&place.svids, &place.agent.svid());
    }
}

#[test]
fn a45_run_without_an_agent_does_not_keep_an_authority_that_is_no_longer_configured() {
    let place = Place::new();
    let both = additions(&place);
    let files: Vec<_> = both.iter().map(|(lines, _)| lines.replace("[files]\n", "")).collect();
    fetch(&place, &format!("[files]\n{}", files.concat()));
    let svid = place.agent.svid();
    assert!(both.iter().all(|(_, authority)| bundle(&place).contains(authority)));
    place.agent.stop(Stop::Terminate);
    for (position, (configuration, authority)) in both.iter().enumerate() {
        let pgsvid = start(&place, "run", configuration);
        let (_, mark) = said(&pgsvid, Mark::default(), "set-adopted");
        if position == 0 {
            // The federated one goes, and what is configured stays.
            said(&pgsvid, mark, "published");
            assert_eq!(bundle(&place), format!("{}{authority}", svid.bundle_pem()));
        } else {
            said(&pgsvid, mark, "published");
            assert_published(&place.svids, &svid);
        }
    }
    // Without more than its own, the set counts as it is.
    let pgsvid = start(&place, "run", "");
    pgsvid.wait_for_text(LIMIT, "the set of an earlier run is still valid");
    place.agent.restart().unwrap();
    place.agent.set_entries([Entry::new(crate::publication::place::ID).dns("localhost")]).unwrap();
    assert!(pgsvid.is_running());
}
