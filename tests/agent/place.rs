//! A directory with an agent's socket and a published directory, and queries about them.

use std::path::PathBuf;
use std::time::Duration;

use dev_agent::{Builder, DevAgent, Entry, Stop, Svid};
use serde_json::Value;
use test_support::{Directory, Mark, Program, eventually};

/// Generous: two cores may be busy with much else.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The workload of most tests.
pub(crate) const ID: &str = "spiffe://example.org/ns/apps/sa/db";

pub(crate) struct Place {
    directory: Directory,
    pub(crate) svids: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let svids = directory.subdirectory("svids");
        Self { directory, svids }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// Creates another directory beside the published one, for the same user.
    pub(crate) fn subdirectory(&self, name: &str) -> PathBuf {
        self.directory.subdirectory(name)
    }

    /// An agent that issues [`ID`], and renews it only when told to.
    pub(crate) fn agent(&self) -> Builder {
        self.agent_without_entries().entry(workload())
    }

    pub(crate) fn agent_without_entries(&self) -> Builder {
        DevAgent::builder(self.socket()).automatic(false)
    }

    /// `pgsvid run`, with every line that it has to say, as JSON.
    pub(crate) fn run(&self, more: &[&str]) -> Program {
        let endpoint = format!("unix://{}", self.socket().display());
        let svids = self.svids.display().to_string();
        let variables = [
            ("PGSVID_ENDPOINT", endpoint.as_str()),
            ("PGSVID_DIRECTORY", svids.as_str()),
            ("PGSVID_LOG_FORMAT", "json"),
            ("PGSVID_LOG_LEVEL", "debug"),
        ];
        // Flags go before variables.
        let arguments = ["run"].iter().chain(more);
        Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &variables)
    }

    /// `pgsvid run` with a configuration file.
    pub(crate) fn run_with(&self, configuration: &str) -> Program {
        let file = self.directory.write("pgsvid.toml", configuration, 0o644);
        self.run(&["--config", &file.display().to_string()])
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.svids.join(name)).unwrap_or_default()
    }

    /// Whether the three files are exactly this SVID.
    pub(crate) fn holds(&self, svid: &Svid) -> bool {
        self.read("svid.pem") == svid.chain_pem()
            && self.read("svid_key.pem") == svid.key_pem()
            && self.read("svid_bundle.pem") == svid.bundle_pem()
    }

    /// Waits until the three files are the agent's present SVID.
    #[track_caller]
    pub(crate) fn wait_for_current(&self, agent: &DevAgent) {
        eventually(LIMIT, "the agent's SVID is published", || self.holds(&agent.svid()));
    }

    /// Whether nothing was ever published.
    pub(crate) fn is_empty(&self) -> bool {
        let entries = std::fs::read_dir(&self.svids).unwrap();
        // The lock is there from the start on.
        entries.map(|entry| entry.unwrap().file_name()).all(|name| name == "..lock")
    }
}

pub(crate) fn workload() -> Entry {
    Entry::new(ID).dns("db.example.org")
}

/// Waits for the publication of the generation, which must be the next one to be published.
#[track_caller]
pub(crate) fn published(pgsvid: &Program, mark: Mark, generation: u64) -> Mark {
    let (event, mark) = said(pgsvid, mark, "published");
    assert_eq!(event["generation"], generation, "{event}");
    mark
}

/// The same, and it must be of this SVID.
#[track_caller]
pub(crate) fn published_as(pgsvid: &Program, mark: Mark, generation: u64, svid: &Svid) -> Mark {
    let (event, mark) = said(pgsvid, mark, "published");
    let serial = event["serial"].as_str().unwrap().replace(':', "");
    assert!(event["generation"] == generation && svid.serial_hex().starts_with(&serial), "{event}");
    mark
}

/// Waits for an event of this name after the mark.
#[track_caller]
pub(crate) fn said(pgsvid: &Program, mark: Mark, name: &str) -> (Value, Mark) {
    pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == name)
}

/// Waits for a line after the mark whose message contains the text: details have no names, and some names stand for more
/// than one sentence.
#[track_caller]
pub(crate) fn said_in_words(pgsvid: &Program, mark: Mark, text: &str) -> (Value, Mark) {
    pgsvid.wait_for_event_after(mark, LIMIT, |event| {
        event["message"].as_str().is_some_and(|message| message.contains(text))
    })
}

/// All events so far.
pub(crate) fn events(pgsvid: &Program) -> Vec<Value> {
    pgsvid.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// How many events of this name there were so far.
pub(crate) fn count(pgsvid: &Program, name: &str) -> usize {
    events(pgsvid).iter().filter(|event| event["event"] == name).count()
}

#[track_caller]
pub(crate) fn assert_no_errors(pgsvid: &Program) {
    let errors: Vec<Value> =
        events(pgsvid).into_iter().filter(|event| event["level"] == "ERROR").collect();
    assert!(errors.is_empty(), "{errors:?}");
}

/// An agent whose renewals are the clock of [`assert_patient`].
pub(crate) fn clockwork(builder: Builder) -> Builder {
    builder.automatic(true).ttl(Duration::from_secs(4))
}

/// Lets some seconds pass by the agent's renewals; a tight loop would have dialled thousands of
/// times.
#[track_caller]
pub(crate) fn assert_patient(agent: &DevAgent) {
    let since = agent.activity();
    let now = agent
        .wait_until(LIMIT, |activity| activity.issued >= since.issued + 3)
        .expect("the agent renews");
    let dialled = now.connections - since.connections;
    assert!(dialled < 50, "{dialled} connections: {now:?}");
}

/// Lets the agent behave, on a new socket: that is met at once, while the next try by the clock may be far.
pub(crate) fn heal(agent: &DevAgent) {
    agent.stop(Stop::Kill);
    agent.behave();
    agent.restart().unwrap();
}
