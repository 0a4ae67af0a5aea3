//! With a real SPIRE: `scripts/test-spire` builds one and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

mod entries;
mod pages;
mod spire;
mod tokens;

use std::time::Duration;

use serde_json::Value;
use spire::{Entry, Spire};
use test_support::{Directory, Mark, Pgsvid, Program, Psql, Reconnecting, Setup, eventually};

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
    // Ended before what they work on is removed.
    database: Pgsvid,
    client: Program,
    files: Directory,
    setup: Setup,
}

/// Authorities in a published bundle.
fn authorities(files: &Directory) -> usize {
    let bundle = std::fs::read_to_string(files.join("svid_bundle.pem")).unwrap();
    bundle.matches("BEGIN CERTIFICATE").count()
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
        client.wait_for_event(LIMIT, |event| event["event"] == "published");
        let both = Self { database, client, files, setup };
        both.rotated(Mark::default());
        both
    }

    /// Waits until the database serves another SVID than before the mark; where that ends.
    #[track_caller]
    fn rotated(&self, mark: Mark) -> Mark {
        let (event, mark) =
            self.database.wait_for_event_after(mark, LIMIT, |event| event["event"] == "rotated");
        assert_eq!(event["verdict"], "current", "{event}");
        mark
    }

    /// psql with the client's identity.
    fn psql(&self) -> Psql {
        let service_file = self.files.join("pg_service.conf");
        Psql::new().env("PGSERVICEFILE", service_file).env("PGSERVICE", "db")
    }

    /// Waits until so many authorities are published on both sides.
    #[track_caller]
    fn wait_for_authorities(&self, count: usize) {
        eventually(LIMIT, format_args!("{count} authorities on both sides"), || {
            [&self.setup.files, &self.files].iter().all(|files| authorities(files) == count)
        });
    }

    /// Waits until both sides have another leaf than before the marks.
    #[track_caller]
    fn renewed(&self, [database, client]: [Mark; 2]) -> [Mark; 2] {
        let database = self.rotated(database);
        let published = |event: &Value| event["event"] == "published";
        [database, self.client.wait_for_event_after(client, LIMIT, published).1]
    }

    fn marks(&self) -> [Mark; 2] {
        [self.database.mark(), self.client.mark()]
    }

    /// One connection with what is published, on both sides.
    #[track_caller]
    fn connect(&self) {
        let output = self.psql().script("SELECT 1").run();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn both_sides_follow_every_renewal_and_a_change_of_authority_without_a_failed_connection() {
    let spire = Spire::start(&ENTRIES);
    let both = Both::start(&spire);
    let clients = Reconnecting::start(both.psql());
    let mut marks = both.marks();
    for _ in 0..3 {
        marks = both.renewed(marks);
    }

    // As SPIRE's documentation on `localauthority` has it: prepare, wait, activate, taint, wait, revoke, wait.
    let old = spire.server().authority("active");
    spire.server().authority_command("prepare", None);
    let prepared = spire.server().authority("prepared");
    both.wait_for_authorities(2);
    spire.server().authority_command("activate", Some(&prepared));
    let marks = both.marks();
    // Tainted, the old one makes agents renew what it has signed.
    spire.server().authority_command("taint", Some(&old));
    // The first renewal may have been under way.
    let marks = both.renewed(both.renewed(marks));
    spire.server().authority_command("revoke", Some(&old));
    both.wait_for_authorities(1);
    both.renewed(marks);

    let counts = clients.stop();
    println!("psql while SPIRE renewed and changed its authority: {counts}");
    assert_eq!(counts.failed(), 0, "{counts}");
    assert!(counts.succeeded > 100, "{counts}");
}

#[test]
fn what_is_published_outlives_agent_and_entry() {
    let mut spire = Spire::start(&ENTRIES);
    let both = Both::start(&spire);
    let mark = both.database.mark();
    spire.stop_agent();
    both.database.wait_for_event_after(mark, LIMIT, |event| event["event"] == "agent-disconnected");
    both.connect();
    let mark = both.database.mark();
    spire.start_agent();
    let mark = both.rotated(mark);

    // Both are for the same user: with one left, the agent would go on to speak to us.
    for entry in ENTRIES {
        spire.delete_entry(entry.spiffe_id);
    }
    let withdrawn = |event: &Value| {
        event["message"].as_str().is_some_and(|text| text.contains("has withdrawn the identity"))
    };
    let (_, mark) = both.database.wait_for_event_after(mark, LIMIT, withdrawn);
    both.connect();
    spire.create_entry(&ENTRIES[0]);
    both.rotated(mark);
}
