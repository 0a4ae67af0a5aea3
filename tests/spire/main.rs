//! With a real SPIRE: `scripts/test-spire` builds one and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

mod pages;
mod spire;

use std::time::Duration;

use spire::{Entry, Spire};
use test_support::{Directory, Mark, Pgsvid, Program, Reconnecting, Setup};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const DATABASE: &str = Setup::SPIFFE_ID;
const CLIENT: &str = "spiffe://example.org/ns/test/sa/dbclient";
/// The role, and the first DNS name of the client's identity, which SPIRE makes the common name.
const ROLE: &str = "dbclient";
/// SPIRE's agent asks its server every five seconds, renews at half of a life, and backs off in between.
const LIMIT: Duration = Duration::from_secs(90);

const ENTRIES: [Entry; 2] =
    [Entry { spiffe_id: DATABASE, dns: "localhost" }, Entry { spiffe_id: CLIENT, dns: ROLE }];

/// A PostgreSQL, and pgsvid on both sides of a connection, each with an identity of SPIRE's.
struct Both {
    setup: Setup,
    database: Pgsvid,
    client: Program,
    files: Directory,
}

impl Both {
    fn start(spire: &Spire) -> Self {
        let access = format!("hostssl all {ROLE} 127.0.0.1/32 cert");
        let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.hba(&access)).create();
        setup.configure(&format!("[svid]\nspiffe_id = '{DATABASE}'"));
        let endpoint = spire.endpoint();
        let database = setup.spawn_with(&["--endpoint", &endpoint]);
        setup.wait_published();
        setup.cluster.start();
        setup.cluster.sql("postgres", "postgres", &format!("CREATE ROLE {ROLE} LOGIN"));
        let files = Directory::new();
        let configuration = format!(
            "[workload_api]\nendpoint = '{endpoint}'\n[svid]\nspiffe_id = '{CLIENT}'\n\
             [files]\ndirectory = '{}'\n[files.service]\nname = 'db'\n[files.service.options]\nhost = 'localhost'\n\
             hostaddr = '127.0.0.1'\nport = '{}'\ndbname = 'postgres'\nuser = '{ROLE}'\n",
            files.path().display(),
            setup.cluster.port(),
        );
        let file = setup.other.write("client.toml", configuration, 0o644).display().to_string();
        let client =
            Program::spawn(PGSVID, ["run", "--config", &file, "--log-format", "json"], &[]);
        client.wait_for_event(LIMIT, |event| event["message"] == "published");
        let both = Self { setup, database, client, files };
        both.rotated(Mark::default());
        both
    }

    /// Waits until the database serves another SVID than before the mark; where that ends.
    #[track_caller]
    fn rotated(&self, mark: Mark) -> Mark {
        let (event, mark) =
            self.database.wait_for_event_after(mark, LIMIT, |event| event["message"] == "rotated");
        assert_eq!(event["verdict"], "current", "{event}");
        mark
    }

    /// psql that connects again and again with the client's identity.
    fn clients(&self) -> Reconnecting {
        let psql = test_support::Psql::new()
            .env("PGSERVICEFILE", self.files.join("pg_service.conf"))
            .env("PGSERVICE", "db");
        Reconnecting::start(psql)
    }

    /// Authorities that are published for the database.
    fn authorities(&self) -> usize {
        let bundle = std::fs::read_to_string(self.setup.files.join("svid_bundle.pem")).unwrap();
        bundle.matches("BEGIN CERTIFICATE").count()
    }
}

#[test]
fn both_sides_follow_every_renewal_and_a_change_of_authority_without_a_failed_connection() {
    let spire = Spire::start(&ENTRIES);
    let both = Both::start(&spire);
    let clients = both.clients();
    let mut mark = both.database.mark();
    for _ in 0..3 {
        mark = both.rotated(mark);
    }

    // As SPIRE's documentation on `localauthority` has it: prepare, wait, activate, taint, revoke.
    let old = spire.authority("active");
    spire.authority_command("prepare", None);
    let prepared = spire.authority("prepared");
    test_support::eventually(LIMIT, "both authorities are published", || both.authorities() == 2);
    both.client.wait_for_event(LIMIT, |event| event["message"] == "published");
    mark = both.rotated(both.database.mark());
    spire.authority_command("activate", Some(&prepared));
    // Tainted, the old one makes agents renew at once what it has signed.
    spire.authority_command("taint", Some(&old));
    mark = both.rotated(mark);
    mark = both.rotated(mark);
    spire.authority_command("revoke", Some(&old));
    test_support::eventually(LIMIT, "the old authority is gone", || both.authorities() == 1);
    both.rotated(mark);

    let counts = clients.stop();
    println!("psql while SPIRE renewed and changed its authority: {counts}");
    assert_eq!(counts.failed(), 0, "{counts}");
    assert!(counts.succeeded > 100, "{counts}");
}

#[test]
fn what_is_published_outlives_agent_server_and_entry() {
    let mut spire = Spire::start(&ENTRIES);
    let both = Both::start(&spire);
    let mark = both.database.mark();
    spire.stop_agent();
    both.database.wait_for_event_after(mark, LIMIT, |event| {
        event["message"] == "no connection to the agent; trying again"
    });
    let mark = both.database.mark();
    spire.start_agent();
    let mark = both.rotated(mark);

    // Both are for the same user: with one left, the agent would go on to speak to us.
    for entry in ENTRIES {
        spire.delete_entry(entry.spiffe_id);
    }
    let withdrawn = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|text| text.contains("has withdrawn the identity"))
    };
    let (_, mark) = both.database.wait_for_event_after(mark, LIMIT, withdrawn);
    assert!(both.setup.files.join("svid.pem").exists(), "what is published stays");
    spire.create_entry(&ENTRIES[0]);
    both.rotated(mark);
}
