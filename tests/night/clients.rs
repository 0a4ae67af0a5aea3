//! Faults that a client sees.

use std::fs;
use std::time::Duration;

use dev_agent::{Entry, Stop};
use serde_json::Value;
use test_support::{LIMIT, Setup};

use crate::night::Night;
use crate::table::{Fault, Remedy, USUAL, Word};
use crate::walk::walk;

pub(crate) const FAULTS: &[&Fault] = &[&CLIENT_EXPIRED];

/// pgsvid beside the client publishes files and nothing else; PostgreSQL's own files are valid.
const CLIENT_EXPIRED: Fault = Fault {
    id: "N56",
    name: "the client's certificate has expired",
    make: |night| {
        night.stop();
        night.sql("CREATE ROLE localhost LOGIN");
        let lines = "local postgres pgsvid peer map=pgsvid\nhostssl all all 127.0.0.1/32 cert";
        night.setup.cluster.set_hba(lines);
        night.reload();
        let directory = night.setup.other.subdirectory("client").display().to_string();
        night.options = vec!["--directory".to_owned(), directory];
        night.without = &["--postgres", "--port"];
        let short = Entry::new(Setup::SPIFFE_ID).dns("localhost").ttl(Duration::from_secs(3));
        night.setup.agent.set_entries([short]).unwrap();
        night.start();
        night.pgsvid().event("published");
        night.setup.agent.stop(Stop::Terminate);
        night.pgsvid().wait_for_event(LIMIT, |line| {
            line["event"] == "certificate-expires" && night.typed().1 == 1
        });
        let said = connect(night).unwrap_err();
        assert!(said.contains("sslv3 alert certificate expired"), "{said}");
    },
    log: Some(("ERROR", "certificate-expires")),
    word: Word::NotReady,
    verdict: "",
    target: &["published-certificate-expired"],
    check: Some(("failure", "agent-not-listening")),
    failures: 2,
    remedy: Remedy::Done(|night: &mut Night, _: &Value| {
        night.setup.agent.restart().unwrap();
        let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost");
        night.setup.agent.set_entries([entry]).unwrap();
    }),
    ..USUAL
};

/// psql with what is published for the client; what it says if it is not let in.
fn connect(night: &Night) -> Result<String, String> {
    let directory = night.setup.other.join("client");
    // The server's files are those of before: the client trusts them.
    let trusted = fs::canonicalize(night.setup.files.join("svid_bundle.pem")).unwrap();
    let more = format!("sslrootcert={}", trusted.display());
    let psql = night.setup.cluster.client(&directory, "localhost", &more);
    let output = psql.script("SELECT 1").run();
    if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) }
}

#[test]
fn n56_the_certificate_of_a_client_has_expired() {
    let night = walk(&CLIENT_EXPIRED);
    assert_eq!(connect(&night).as_deref(), Ok("1"));
}
