//! A98: a removed authority is still published or loaded, and another one has its name: `check` did not see it.

use dev_agent::{Entry, KeyIdentifier};
use test_support::{Account, Directory, LIMIT, Program, Setup};

use crate::attacks::PGSVID;
use crate::attacks::endless::texts;
use crate::attacks::planted_texts::report;

/// What `pgsvid fetch` publishes, which reloads nothing.
fn fetch(setup: &Setup) {
    let arguments = setup.arguments();
    let all = ["fetch", "--timeout", "20s"].into_iter().chain(arguments.iter().map(String::as_str));
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    assert!(program.wait_exit(LIMIT).success(), "{}", program.standard_error());
}

#[test]
fn a98_authorities_that_are_not_the_agents_and_those_that_a_handshake_does_not_show_are_reported() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    let twin = setup.agent.authority().twin(KeyIdentifier::OfItsKey).unwrap();
    let file = setup.other.write("twin.pem", twin.root_pem(), 0o644);
    let with_twin = format!("[files]\nextra_authorities = ['{}']", file.display());
    setup.configure(&with_twin);
    let pgsvid = setup.start();
    assert!(pgsvid.terminate(LIMIT).success());
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE app LOGIN");
    let lets_in = || {
        let svid = twin.issue(&Entry::new("spiffe://example.org/rogue").dns("app")).unwrap();
        let directory = Directory::new();
        directory.write("svid.pem", svid.chain_pem(), 0o644);
        directory.write("svid_key.pem", svid.key_pem(), 0o600);
        directory.write("svid_bundle.pem", setup.agent.svid().bundle_pem(), 0o644);
        let client = setup.cluster.client(directory.path(), "app", "");
        client.script("SELECT current_user").run().stdout == "app"
    };
    let said = |severity: &str| texts(&report(Account::server(), &setup, &[]), severity);
    let (more, names) = ("has 1 more authority than the agent's", "which authorities of the name");
    assert!(lets_in());
    assert!(!said("warning").contains(more), "{}", said("warning"));
    assert!(said("skipped").contains(names), "{}", said("skipped"));
    // Nobody has published the set without it.
    setup.configure("");
    assert!(lets_in());
    assert!(said("warning").contains(more), "{}", said("warning"));

    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    assert!(pgsvid.terminate(LIMIT).success());
    assert!(!lets_in());
    let (warnings, skipped) = (said("warning"), said("skipped"));
    assert!(!warnings.contains(more) && !skipped.contains(names), "{warnings} {skipped}");
    let unloaded = "whether PostgreSQL has loaded the authorities of this set";
    assert!(!skipped.contains(unloaded), "{skipped}");
    assert!(said("ok").contains("it has loaded the authority that signed it"));

    // What is published, and not loaded: a handshake shows the same leaf, and the same name.
    setup.configure(&with_twin);
    fetch(&setup);
    assert!(!lets_in());
    assert!(said("skipped").contains(unloaded), "{}", said("skipped"));
}
