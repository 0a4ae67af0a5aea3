//! Both sides: a database whose pgsvid reloads it, and a client whose pgsvid publishes for libpq.

use std::path::{Path, PathBuf};

use dev_agent::Entry;
use serde_json::Value;
use test_support::{Directory, LIMIT, Mark, Pgsvid, Program, Psql, Setup};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const CLIENT_ID: &str = "spiffe://example.org/ns/test/sa/app";
/// The client's DNS name, and so its CN, and so its role.
pub(crate) const ROLE: &str = "app";

pub(crate) struct Both {
    pub(crate) setup: Setup,
    server: Pgsvid,
    client: Program,
    /// Where the client's files are published.
    pub(crate) files: Directory,
    generation: u64,
}

impl Both {
    /// Everything runs; `files` is what the client's configuration adds to `[files]`.
    pub(crate) fn start(files: &str) -> Self {
        Self::start_with(files, "")
    }

    /// The same with a line of `postgresql.conf`.
    pub(crate) fn start_with(files: &str, conf: &str) -> Self {
        Self::start_for(conf, |agent| agent, |setup, directory| client(setup, directory, files))
    }

    /// With an intermediate, and a client whose configuration continues after `files.directory` with these tables.
    pub(crate) fn start_with_tables(tables: impl FnOnce(&Setup) -> String) -> Self {
        let with_intermediate = |agent: dev_agent::Builder| agent.intermediate(true);
        Self::start_for("", with_intermediate, |setup, directory| {
            client_with(setup, directory, &tables(setup))
        })
    }

    fn start_for(
        conf: &str,
        change: impl FnOnce(dev_agent::Builder) -> dev_agent::Builder,
        client: impl FnOnce(&Setup, &Directory) -> Program,
    ) -> Self {
        let setup = Setup::builder(PGSVID)
            .agent(|agent| change(agent.entry(Entry::new(CLIENT_ID).dns(ROLE))))
            .cluster(|cluster| cluster.hba("hostssl postgres app 127.0.0.1/32 cert").conf(conf))
            .create();
        let server = setup.start();
        setup.cluster.sql("postgres", "postgres", "CREATE ROLE app LOGIN");
        let directory = Directory::new();
        let client = client(&setup, &directory);
        Self { setup, server, client, files: directory, generation: 1 }
    }

    /// The pgsvid of the database.
    pub(crate) fn server(&self) -> &Program {
        &self.server
    }

    /// That of the client.
    pub(crate) fn client(&self) -> &Program {
        &self.client
    }

    /// Waits until both sides have done what the agent's last message asks for.
    #[track_caller]
    pub(crate) fn settled(&mut self) {
        self.generation += 1;
        self.server.current(self.generation);
        published(&self.client, self.generation);
    }

    /// Waits until both sides have the SVIDs that are in force, after however many messages.
    #[track_caller]
    pub(crate) fn settled_on_newest(&self) {
        let svids = self.setup.agent.svids();
        for (program, message, svid) in
            [(&*self.server, "rotated", &svids[0]), (&self.client, "published", &svids[1])]
        {
            let serial = svid.serial[..3].iter().map(|byte| format!("{byte:02x}"));
            let serial = serial.collect::<Vec<_>>().join(":");
            program.wait_for_event(LIMIT, |event| {
                event["message"] == message && event["serial"] == serial
            });
        }
    }

    /// Rotates both sides once.
    #[track_caller]
    pub(crate) fn rotate(&mut self) {
        self.setup.agent.rotate().unwrap();
        self.settled();
    }

    /// psql through the published service file.
    pub(crate) fn psql(&self) -> Psql {
        psql(&self.files.join("pg_service.conf"))
    }

    /// psql with three files of fixed names.
    pub(crate) fn psql_by_names(&self, [certificate, key, bundle]: &[PathBuf; 3]) -> Psql {
        options(&self.setup)
            .iter()
            .fold(Psql::new(), |psql, (variable, _, value)| psql.env(variable, value))
            .env("PGSSLCERT", certificate)
            .env("PGSSLKEY", key)
            .env("PGSSLROOTCERT", bundle)
    }
}

/// psql through that service file.
pub(crate) fn psql(service_file: &Path) -> Psql {
    Psql::new().env("PGSERVICEFILE", service_file).env("PGSERVICE", "products")
}

/// How the client reaches the server: libpq's variable, its keyword, the value.
pub(crate) fn options(setup: &Setup) -> [(&'static str, &'static str, String); 6] {
    [
        ("PGHOST", "host", "localhost".to_owned()),
        ("PGHOSTADDR", "hostaddr", "127.0.0.1".to_owned()),
        ("PGPORT", "port", setup.cluster.port().to_string()),
        ("PGDATABASE", "dbname", "postgres".to_owned()),
        ("PGUSER", "user", ROLE.to_owned()),
        ("PGSSLMODE", "sslmode", "verify-full".to_owned()),
    ]
}

/// A pgsvid that publishes for the client, and has done so once.
fn client(setup: &Setup, directory: &Directory, files: &str) -> Program {
    let options = options(setup).map(|(_, keyword, value)| format!("{keyword} = '{value}'"));
    let options = options.join("\n");
    let tables = format!(
        "{files}\n[files.service]\nfile = 'pg_service.conf'\nname = 'products'\n\
         [files.service.options]\n{options}"
    );
    client_with(setup, directory, &tables)
}

/// The same with all that follows `files.directory`.
fn client_with(setup: &Setup, directory: &Directory, tables: &str) -> Program {
    let configuration = format!(
        "[workload_api]\nendpoint = '{}'\n[svid]\nspiffe_id = '{CLIENT_ID}'\n\
         [files]\ndirectory = '{}'\n{tables}",
        setup.agent.endpoint(),
        directory.path().display(),
    );
    let file = setup.other.write("client.toml", configuration, 0o644).display().to_string();
    let arguments = ["run", "--config", &file, "--log-format", "json"];
    let pgsvid = Program::spawn(PGSVID, arguments, &[]);
    published(&pgsvid, 1);
    pgsvid
}

/// Waits until the client's pgsvid has published this set.
#[track_caller]
pub(crate) fn published(pgsvid: &Program, generation: u64) -> Value {
    let (event, _) = pgsvid.wait_for_event_after(Mark::default(), LIMIT, |event| {
        event["event"] == "published" && event["generation"] == generation
    });
    event
}

/// The three files in a directory.
pub(crate) fn files_in(directory: &Path) -> [PathBuf; 3] {
    ["svid.pem", "svid_key.pem", "svid_bundle.pem"].map(|name| directory.join(name))
}
