//! Both sides: a PostgreSQL whose pgsvid reloads it, and the files of a client.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dev_agent::{Entry, Svid};
use test_support::{Directory, LIMIT, Mark, Pgsvid, Program, Setup, eventually};

use super::phases::Bring;
use super::programs::Way;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const CLIENT_ID: &str = "spiffe://example.org/ns/test/sa/app";
/// The client's DNS name, and so its CN, and so its role.
pub(super) const ROLE: &str = "app";
/// The service file that names the key in DER.
pub(super) const SERVICE_FILE_DER: &str = "pg_service_der.conf";
/// Of the key stores.
pub(super) const PASSWORD: &str = "secret";

/// An agent, a PostgreSQL, and its pgsvid.
pub(super) struct Sides {
    pub(super) setup: Setup,
    server: Pgsvid,
    searched: Searched,
}

fn client_entry() -> Entry {
    Entry::new(CLIENT_ID).dns(ROLE)
}

/// Where a client's files are, and the port that it connects to.
pub(super) struct Readers {
    pub(super) files: PathBuf,
    pub(super) port: u16,
}

impl Sides {
    /// With leaves that live so long.
    pub(super) fn start(ttl: Duration) -> Self {
        let setup = Setup::builder(PGSVID)
            .agent(|agent| agent.intermediate(true).ttl(ttl).entry(Entry::new(CLIENT_ID).dns(ROLE)))
            .cluster(|cluster| {
                cluster.hba("hostssl postgres app 127.0.0.1/32 cert").conf("log_connections = on")
            })
            .create();
        let server = setup.start();
        setup.cluster.sql("postgres", "postgres", "CREATE ROLE app LOGIN");
        Self { setup, server, searched: Searched::default() }
    }

    /// The client's newest SVID.
    pub(super) fn client_svid(&self) -> Svid {
        self.setup.agent.svids().swap_remove(1)
    }

    /// Lets leaves live for an hour from now on.
    pub(super) fn lengthen_lives(&self) {
        let ttl = Duration::from_secs(3600);
        let server = Entry::new(Setup::SPIFFE_ID).dns("localhost");
        let entries = [server, client_entry()].map(|entry| entry.ttl(ttl));
        self.setup.agent.set_entries(entries).unwrap();
    }

    /// Waits until PostgreSQL serves the newest SVID.
    #[track_caller]
    pub(super) fn wait_served(&self) {
        self.searched.wait_for(&self.server, "rotated", &self.setup.agent.svids()[0]);
    }

    /// How many sessions of the client PostgreSQL has let in over TLS, since the mark of its log.
    pub(super) fn logins_since(&self, mark: usize) -> u64 {
        let log = self.setup.cluster.log_since(mark);
        let is_login = |line: &&str| {
            line.contains(&format!("connection authorized: user={ROLE} "))
                && line.contains("SSL enabled")
        };
        log.lines().filter(is_login).count().try_into().unwrap()
    }

    /// Waits for so many more logins.
    #[track_caller]
    pub(super) fn wait_logins(&self, more: u64) {
        let mark = self.setup.cluster.log_mark();
        eventually(LIMIT, "the pool opens connections", || self.logins_since(mark) >= more);
    }

    /// A pgsvid that publishes for the client, and has done so once.
    pub(super) fn publisher(&self, way: &Way) -> Publisher {
        let files = Directory::new();
        let port = self.setup.cluster.port();
        let options = format!(
            "options = {{ host = 'localhost', port = {port}, dbname = 'postgres', user = '{ROLE}' }}"
        );
        let stores = if way.reads_store() {
            let password =
                self.setup.other.write("password", PASSWORD, 0o600).display().to_string();
            format!(
                "[[files.extra]]\nname = 'svid.p12'\ncontent = 'pkcs12'\npassword_file = '{password}'\n\
                 [[files.extra]]\nname = 'trust.p12'\ncontent = 'truststore'\npassword_file = '{password}'\n"
            )
        } else {
            String::new()
        };
        let configuration = format!(
            "[workload_api]\nendpoint = '{}'\n[svid]\nspiffe_id = '{CLIENT_ID}'\n\
             [files]\ndirectory = '{files}'\n{stores}\
             [[files.extra]]\nname = 'svid_key.pk8'\ncontent = 'der-key'\n\
             [[files.service]]\nname = 'products'\n{options}\n\
             [[files.service]]\nname = 'products'\nfile = '{SERVICE_FILE_DER}'\nprivate_key = 'svid_key.pk8'\n{options}\n",
            self.setup.agent.endpoint(),
        );
        let file =
            self.setup.other.write("client.toml", configuration, 0o644).display().to_string();
        let pgsvid =
            Program::spawn(PGSVID, ["run", "--config", &file, "--log-format", "json"], &[]);
        eventually(LIMIT, "all files are published", || files.join(SERVICE_FILE_DER).exists());
        let (searched, kept) = Default::default();
        let publisher = Publisher { pgsvid, searched, files, kept };
        publisher.bring(&self.client_svid());
        publisher
    }

    /// What a client of the files in that directory needs.
    pub(super) fn readers(&self, files: &Path) -> Readers {
        Readers { files: files.to_owned(), port: self.setup.cluster.port() }
    }
}

/// The client's pgsvid.
pub(super) struct Publisher {
    pgsvid: Program,
    searched: Searched,
    files: Directory,
    kept: RefCell<Vec<PathBuf>>,
}

impl Bring for Publisher {
    fn files(&self) -> &Path {
        self.files.path()
    }

    fn bring(&self, svid: &Svid) {
        self.searched.wait_for(&self.pgsvid, "published", svid);
    }

    fn keep(&self, _: &Svid) {
        let generation = fs::read_link(self.files.join("..data")).unwrap();
        self.kept.borrow_mut().push(generation);
    }

    fn end(&self) {
        self.pgsvid.terminate(LIMIT);
    }

    /// As pgsvid does it, but at once: its generations stay, and it does not write and sync new ones first.
    fn swap(&self, number: usize) {
        let kept = self.kept.borrow();
        let next = self.files.join("..data_next");
        symlink(&kept[number % kept.len()], &next).unwrap();
        fs::rename(next, self.files.join("..data")).unwrap();
    }
}

/// Up to where a program's log was searched last.
#[derive(Default)]
struct Searched(Cell<Mark>);

impl Searched {
    /// Waits until the program has logged this event about the SVID, after what was searched.
    #[track_caller]
    fn wait_for(&self, program: &Program, name: &str, svid: &Svid) {
        let serial = svid.serial[..3].iter().map(|byte| format!("{byte:02x}"));
        let serial = serial.collect::<Vec<_>>().join(":");
        let (_, end) = program.wait_for_event_after(self.0.get(), LIMIT, |event| {
            event["event"] == name && event["serial"] == serial
        });
        self.0.set(end);
    }
}
