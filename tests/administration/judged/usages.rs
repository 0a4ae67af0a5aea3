//! F28: SVIDs that are not for servers, or not for clients. PostgreSQL serves the first, and refuses the second.

use dev_agent::{Entry, Flaw};
use serde_json::Value;
use test_support::{Account, LIMIT, Program, Setup, eventually};

use crate::judged::{PGSVID, admin, check, found, one};

const HBA: &str = "hostssl all localhost 127.0.0.1/32 cert";
const SERVERS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENTS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 2];
const ANY: [u64; 5] = [2, 5, 29, 37, 0];

fn entry(purposes: &[&[u64]]) -> Entry {
    let purposes = purposes.iter().map(|purpose| purpose.to_vec()).collect();
    Entry::new(Setup::SPIFFE_ID).dns("localhost").with(Flaw::ExtendedKeyUsage(purposes))
}

fn with(purposes: &[&[u64]]) -> Setup {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.hba(HBA)).create();
    setup.agent.set_entries([entry(purposes)]).unwrap();
    setup
}

/// What psql says when it logs in with the published certificate, and trusts the published authorities.
fn psql(setup: &Setup) -> Result<(), String> {
    if admin(setup, "SELECT count(*) FROM pg_roles WHERE rolname = 'localhost'") == "0" {
        admin(setup, "CREATE ROLE localhost LOGIN");
    }
    let run = setup.cluster.client(setup.files.path(), "localhost", "").script("SELECT 1").run();
    if run.status.success() { Ok(()) } else { Err(run.stderr) }
}

#[test]
fn f28_a_servers_svid_that_is_for_clients_alone_is_reported_when_it_is_fetched_and_by_check() {
    let setup = with(&[&CLIENTS]);
    let pgsvid = setup.start();
    let told = pgsvid.event("identity-warning");
    assert_eq!((&told["code"], &told["level"]), (&"svid-not-for-servers".into(), &"WARN".into()));
    // PostgreSQL serves it, and a client that looks does not take it.
    assert!(psql(&setup).unwrap_err().contains("certificate verify failed"));
    let report = check(&setup, &["--as-client", "localhost"]);
    one(&report, "ok", "verdict-current");
    assert_eq!(found(&report, "failure", "svid-not-for-servers").len(), 2, "{report:#}");
    assert!(found(&report, "failure", "served-certificate-chain").is_empty(), "{report:#}");

    let address = setup.cluster.address();
    let bundle = setup.files.join("svid_bundle.pem").display().to_string();
    let arguments = ["probe", &address, "--bundle", &bundle, "--format", "json"];
    let program = Program::spawn(PGSVID, arguments, &[]);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(1));
    let report: Value = serde_json::from_str(&program.standard_output()).unwrap();
    one(&report, "failure", "svid-not-for-servers");
    assert_eq!(report["chain"][0]["good_for"], "clients alone", "{report:#}");

    // What the remedy says: both, or none.
    for purposes in [&[&SERVERS[..], &CLIENTS][..], &[]] {
        setup.agent.set_entries([entry(purposes)]).unwrap();
        setup.agent.rotate().unwrap();
        eventually(LIMIT, "clients get in", || psql(&setup).is_ok());
        let report = check(&setup, &["--as-client", "localhost"]);
        assert_eq!(report["summary"]["failure"], 0, "{report:#}");
    }
    assert_eq!(pgsvid.events("identity-warning").len(), 1, "it is told once");
}

#[test]
fn f28_a_clients_svid_that_is_for_servers_alone_is_named_and_not_the_servers_authorities() {
    let setup = with(&[&SERVERS]);
    let pgsvid = setup.start();
    assert!(psql(&setup).unwrap_err().contains("unsupported certificate"));
    // Where a server takes part, the SVID is the server's.
    let report = check(&setup, &[]);
    assert_eq!(report["summary"]["failure"], 0, "{report:#}");
    assert_eq!(pgsvid.events("identity-warning").len(), 0);
    let report = check(&setup, &["--as-client", "localhost"]);
    one(&report, "failure", "svid-not-for-clients");
    assert!(found(&report, "failure", "login-certificate-refused").is_empty(), "{report:#}");

    // A client's own check.
    let arguments: Vec<String> = setup
        .arguments()
        .chunks(2)
        .filter(|pair| ["--endpoint", "--directory"].contains(&pair[0].as_str()))
        .flatten()
        .cloned()
        .collect();
    let all = ["check", "--format", "json"].into_iter().chain(arguments.iter().map(String::as_str));
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(1));
    let report: Value = serde_json::from_str(&program.standard_output()).unwrap();
    one(&report, "failure", "svid-not-for-clients");
}

/// OpenSSL counts it for nothing.
#[test]
fn f28_any_extended_key_usage_counts_neither_for_servers_nor_for_clients() {
    let setup = with(&[&ANY]);
    let pgsvid = setup.spawn();
    let told = pgsvid.event("message-rejected");
    assert!(told["reason"].to_string().contains("neither for servers nor for clients"), "{told:#}");
    assert!(!setup.files.join("svid.pem").exists());
    let report = check(&setup, &[]);
    let fix = one(&report, "failure", "svid-not-signed-by-bundle")["fix"].to_string();
    assert!(fix.contains("serverAuth and clientAuth"), "{fix}");
}
