//! `pgsvid exec`: an application beside the daemon, as children of the same parent.

mod clean;
mod first_process;
mod killed;
mod rotations;
mod signals;
mod statuses;
mod terminal;
mod variables;

use dev_agent::{DevAgent, Entry};
use test_support::{Directory, LIMIT, Mark, Process, Program, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const SPIFFE_ID: &str = "spiffe://example.org/ns/test/sa/app";

/// An agent that renews only on request, and the configuration of a client.
struct Exec {
    agent: DevAgent,
    files: Directory,
    other: Directory,
}

impl Exec {
    fn new() -> Self {
        let (files, other) = (Directory::new(), Directory::new());
        let agent = DevAgent::builder(other.join("agent.sock"))
            .entry(Entry::new(SPIFFE_ID).dns("app"))
            .automatic(false)
            .start()
            .unwrap();
        let exec = Self { agent, files, other };
        exec.configure("");
        exec
    }

    /// Replaces the configuration; these tables follow that of the service file.
    fn configure(&self, tables: &str) {
        let toml = format!(
            "[workload_api]\nendpoint = '{}'\n[files]\ndirectory = '{}'\n[log]\nformat = 'json'\n\
             [[files.service]]\nname = 'products'\noptions = {{ host = 'db' }}\n{tables}",
            self.agent.endpoint(),
            self.files.path().display()
        );
        self.other.write("pgsvid.toml", toml, 0o644);
    }

    /// The arguments of pgsvid for this application.
    fn arguments(&self, flags: &[&str], application: &[&str]) -> Vec<String> {
        let file = self.other.join("pgsvid.toml").display().to_string();
        let own = ["exec", "--config", &file];
        let all = own.iter().chain(flags).chain(&["--"]).chain(application);
        all.map(|word| (*word).to_owned()).collect()
    }

    /// Starts it with these flags and this application.
    #[track_caller]
    fn start(&self, flags: &[&str], application: &[&str]) -> Program {
        self.start_with(flags, application, &[])
    }

    /// The same with these variables.
    #[track_caller]
    fn start_with(
        &self,
        flags: &[&str],
        application: &[&str],
        variables: &[(&str, &str)],
    ) -> Program {
        // Whatever the tests' own caller ignores: what ignores a signal at its start ignores it for ever.
        let given = ["--default-signal".to_owned(), PGSVID.to_owned()].into_iter();
        let all = given.chain(self.arguments(flags, application));
        Program::spawn("/usr/bin/env", all, variables)
    }
}

/// An event of the log.
#[track_caller]
fn event(program: &Program, name: &str) -> serde_json::Value {
    event_after(program, Mark::default(), name).0
}

#[track_caller]
fn event_after(program: &Program, mark: Mark, name: &str) -> (serde_json::Value, Mark) {
    program.wait_for_event_after(mark, LIMIT, |event| event["event"] == name)
}

/// How often the log has an event.
fn count(program: &Program, name: &str) -> usize {
    let name = format!("\"event\":\"{name}\"");
    program.lines().iter().filter(|line| line.contains(&name)).count()
}

/// The daemon. The process that becomes the application is pgsvid, too, for a moment.
#[track_caller]
fn daemon(program: &Program) -> Process {
    let parent = Process(program.pid());
    eventually(LIMIT, "there is the daemon alone", || parent.same_children().len() == 1);
    program.daemon()
}

/// The application, once the daemon has logged its start.
#[track_caller]
fn application(program: &Program) -> Process {
    Process(event(program, "application-started")["pid"].as_u64().unwrap().try_into().unwrap())
}
