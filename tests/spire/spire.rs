//! SPIRE's server and agent, from the programs in `$SPIRE_BIN`.

use std::process::Command;
use std::time::Duration;

use test_support::{Account, Directory, Program, SpireServer, eventually, free_address};

/// Life of an SVID, in seconds: short, to see many renewals.
const LIFE: &str = "40";
const LIMIT: Duration = Duration::from_secs(60);

/// An identity for every process of [`Account::server`].
pub(crate) struct Entry {
    pub(crate) spiffe_id: &'static str,
    pub(crate) dns: &'static str,
}

pub(crate) struct Spire {
    server: SpireServer,
    parent: String,
    // Ended before what they work on is removed.
    agent: Option<Program>,
    _running: Program,
    directory: Directory,
}

impl Spire {
    /// A server and its agent, with these entries.
    pub(crate) fn start(entries: &[Entry]) -> Self {
        let directory = Directory::new();
        let asked = SpireServer::at(&directory.join("server.sock"));
        let (here, port) = (directory.path().display().to_string(), free_address().port());
        let plugins = "NodeAttestor \"join_token\" { plugin_data {} }";
        let server = format!(
            "server {{\n bind_address = \"127.0.0.1\"\n bind_port = \"{port}\"\n trust_domain = \"example.org\"\n\
             socket_path = \"{here}/server.sock\"\n data_dir = \"{here}\"\n}}\n\
             plugins {{\n {plugins}\n KeyManager \"memory\" {{ plugin_data {{}} }}\n\
             DataStore \"sql\" {{ plugin_data {{ database_type = \"sqlite3\"\n connection_string = \"{here}/db\" }} }}\n}}\n"
        );
        let file = directory.write("server.conf", server, 0o644);
        let running =
            run(asked.bin(), "spire-server", &["run", "-config", &file.display().to_string()]);
        running.wait_for_text(LIMIT, "Starting Server APIs");
        let mut spire = Self {
            server: asked,
            parent: String::new(),
            agent: None,
            _running: running,
            directory,
        };
        eventually(LIMIT, "the server is healthy", || spire.ask(&["healthcheck"]).is_ok());
        let parent = "spiffe://example.org/agent";
        let token =
            spire.server.answer(&["token", "generate", "-spiffeID", parent, "-output", "json"]);
        parent.clone_into(&mut spire.parent);
        let token = token["value"].as_str().expect("a token").to_owned();
        let agent = format!(
            "agent {{\n data_dir = \"{here}/agent\"\n server_address = \"127.0.0.1\"\n server_port = \"{port}\"\n\
             socket_path = \"{here}/api.sock\"\n trust_domain = \"example.org\"\n insecure_bootstrap = true\n\
             join_token = \"{token}\"\n}}\n\
             plugins {{\n {plugins}\n KeyManager \"disk\" {{ plugin_data {{ directory = \"{here}/agent\" }} }}\n\
             WorkloadAttestor \"unix\" {{ plugin_data {{}} }}\n}}\n"
        );
        spire.directory.write("agent.conf", agent, 0o644);
        spire.directory.subdirectory("agent");
        spire.start_agent();
        for entry in entries {
            spire.create_entry(entry);
        }
        spire
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket())
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> String {
        self.directory.join("api.sock").display().to_string()
    }

    /// The agent's own ID, below which entries are.
    pub(crate) fn parent(&self) -> &str {
        &self.parent
    }

    pub(crate) fn start_agent(&mut self) {
        let file = self.directory.join("agent.conf").display().to_string();
        let agent = run(self.server.bin(), "spire-agent", &["run", "-config", &file]);
        agent.wait_for_text(LIMIT, "Starting Workload and SDS APIs");
        self.agent = Some(agent);
    }

    pub(crate) fn stop_agent(&mut self) {
        self.agent = None;
    }

    pub(crate) fn create_entry(&self, entry: &Entry) {
        let selector = format!("unix:uid:{}", Account::server().uid());
        let Entry { spiffe_id, dns } = entry;
        self.server.answer(&[
            "entry",
            "create",
            "-parentID",
            &self.parent,
            "-spiffeID",
            spiffe_id,
            "-selector",
            &selector,
            "-dns",
            dns,
            "-x509SVIDTTL",
            LIFE,
            "-output",
            "json",
        ]);
    }

    pub(crate) fn delete_entry(&self, spiffe_id: &str) {
        let shown =
            self.server.answer(&["entry", "show", "-spiffeID", spiffe_id, "-output", "json"]);
        let id = shown["entries"][0]["id"].as_str().expect("an entry").to_owned();
        self.server.answer(&["entry", "delete", "-entryID", &id, "-output", "json"]);
    }

    /// What the server's own program asks it.
    pub(crate) fn server(&self) -> &SpireServer {
        &self.server
    }

    /// What `spire-server` answers, or says on standard error.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        self.server.ask(arguments)
    }

    /// Runs a command as it is printed, in a shell that finds `spire-server`, which finds its server.
    pub(crate) fn paste(&self, command: &str) -> Result<String, String> {
        let (bin, here) = (self.server.bin().display(), self.directory.path().display());
        let wrapper =
            format!("#!/bin/sh\nexec {bin}/spire-server \"$@\" -socketPath {here}/server.sock\n");
        self.directory.write("spire-server", wrapper, 0o755);
        let path = self.directory.path();
        let path = format!("PATH={}:$PATH; {command}", path.display());
        let output = Command::new("/bin/bash").args(["-c", &path]).output().expect("runs bash");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What `spire-agent` shows to the database's user, or says on standard error.
    pub(crate) fn workload_asks(&self, arguments: &[&str]) -> Result<String, String> {
        let agent = self.server.bin().join("spire-agent");
        let program = Program::spawn_as(Account::server(), agent, arguments.iter().copied(), &[]);
        if program.wait_exit(LIMIT).success() {
            Ok(program.standard_output())
        } else {
            Err(program.standard_error())
        }
    }
}

/// As the user who runs the tests: an agent tells workloads apart by what only their own user, or root, may read.
fn run(bin: &std::path::Path, name: &str, arguments: &[&str]) -> Program {
    Program::spawn_as(Account::current(), bin.join(name), arguments.iter().copied(), &[])
}
