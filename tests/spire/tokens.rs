//! T01, T05, T08: tokens and the JWT bundle of a real SPIRE.

use test_support::{Account, Directory, Mark, Program, eventually};

use crate::spire::{Entry, Spire};
use crate::{LIMIT, PGSVID};

const ID: &str = "spiffe://example.org/ns/test/sa/tokens";

#[test]
fn t05_a_token_of_spire_is_verified_and_its_agent_accepts_it() {
    let spire = Spire::start(&[Entry { spiffe_id: ID, dns: "tokens" }]);
    let (files, other) = (Directory::new(), Directory::new());
    let configuration = format!(
        "[workload_api]\nendpoint = '{0}'\n[files]\ndirectory = '{1}'\n[log]\nformat = 'json'\n\
         [[jwt]]\naudience = 'one'\nextra_audiences = ['two']\nfile = '{1}/token'\n\
         [jwt_bundle]\nfile = '{1}/keys.json'\n",
        spire.endpoint(),
        files.path().display()
    );
    let file = other.write("pgsvid.toml", configuration, 0o644).display().to_string();
    let pgsvid = Program::spawn_as(Account::server(), PGSVID, ["run", "--config", &file], &[]);
    // Verified, or the event would be another one.
    let (_, mark) = pgsvid
        .wait_for_event_after(Mark::default(), LIMIT, |event| event["event"] == "token-written");
    let token = std::fs::read_to_string(files.join("token")).unwrap();
    for audience in ["one", "two"] {
        let arguments = ["api", "validate", "jwt", "-audience", audience, "-svid", &token];
        let said =
            spire.workload_asks(&[&arguments[..], &["-socketPath", &spire.socket()]].concat());
        assert!(said.as_ref().is_ok_and(|said| said.contains(ID)), "{said:?}");
    }
    eventually(LIMIT, "the keys are there", || {
        std::fs::read_to_string(files.join("keys.json")).is_ok_and(|text| text.contains("\"kid\""))
    });
    // Tokens live as long as the entry says: SVIDs of 40 s, and tokens of five minutes.
    assert_eq!(pgsvid.lines_after(mark).iter().filter(|it| it.contains("token-failed")).count(), 0);
}
