//! `pgsvid fetch`: publishes one generation, and ends.

use std::path::PathBuf;
use std::time::Duration;

use dev_agent::{Builder, Code, DevAgent, Entry, Flaw, Misbehaviour, Status, Svid};
use test_support::{Directory, Program, Signal, eventually};

const LIMIT: Duration = Duration::from_secs(30);
const ID: &str = "spiffe://example.org/ns/apps/sa/db";
const BINARY: &str = env!("CARGO_BIN_EXE_pgsvid");

#[test]
fn one_generation_one_line_and_success() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let fetch = place.fetch(&[]);
    assert!(fetch.wait_exit(LIMIT).success());
    assert!(place.holds(&agent.svid()));
    let line = fetch.standard_output();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with(&format!("{ID}  expires in 59m ")), "{line}");
    assert!(line.ends_with(&format!("  →  {}", place.svids.display())), "{line}");
    assert_eq!(place.generations(), 1);
    // Without a terminal, what it does is logged.
    assert!(fetch.standard_error().contains("identity received"));
}

#[test]
fn an_agent_that_comes_within_the_limit_is_soon_enough() {
    let place = Place::new();
    let fetch = place.fetch(&[]);
    fetch.wait_for_text(LIMIT, "the socket does not exist");
    let agent = place.agent().start().unwrap();
    assert!(fetch.wait_exit(LIMIT).success());
    assert!(place.holds(&agent.svid()));
}

#[test]
fn w01_at_the_time_limit_it_fails_and_says_what_it_waited_for() {
    let place = Place::new();
    let fetch = place.fetch(&["--timeout", "1s"]);
    let socket = place.socket().display().to_string();
    fails(
        &fetch,
        &format!("no identity within 1s: no agent at {socket}: the socket does not exist"),
    );
    assert!(fetch.standard_output().is_empty() && place.is_empty());
}

#[test]
fn w03_a_silent_agent_is_a_time_limit_too() {
    let place = Place::new();
    let _agent = place.agent().misbehaviour(Misbehaviour::Silent).start().unwrap();
    fails(&place.fetch(&["--timeout", "1s"]), "no identity within 1s: no answer yet");
}

#[test]
fn w09_at_the_time_limit_an_unregistered_workload_is_named() {
    let place = Place::new();
    let _agent = DevAgent::builder(place.socket()).start().unwrap();
    fails(&place.fetch(&["--timeout", "1s"]), "no identity within 1s: not registered yet");
    assert!(place.is_empty());
}

#[test]
fn w12_a_permanent_refusal_is_not_waited_out() {
    let place = Place::new();
    let refusal = Misbehaviour::Refuse(Status::new(Code::InvalidArgument, "on purpose"));
    let agent = place.agent().misbehaviour(refusal).start().unwrap();
    let reason =
        "the Workload API refuses this program: the agent answered InvalidArgument: on purpose";
    fails(&place.fetch(&["--timeout", "1h"]), reason);
    assert_eq!(agent.activity().requests, 1);
}

#[test]
fn w14_a_rejected_message_is_the_reason_at_the_time_limit() {
    let place = Place::new();
    let flawed = Entry::new(ID).with(Flaw::KeyOfAnother);
    let _agent = DevAgent::builder(place.socket()).entry(flawed).start().unwrap();
    let reason = "no identity within 1s: the private key does not belong to the leaf";
    fails(&place.fetch(&["--timeout", "1s"]), reason);
    assert!(place.is_empty());
}

#[test]
fn a_directory_that_cannot_be_published_to_fails_at_once() {
    let place = Place::new();
    let fetch = place.fetch(&["--timeout", "1h", "--directory", "/does/not/exist"]);
    fails(&fetch, "/does/not/exist");
}

#[test]
fn a_young_set_is_enough_without_an_agent() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    assert!(place.fetch(&[]).wait_exit(LIMIT).success());
    let svid = agent.svid();
    drop(agent);
    let fetch = place.fetch(&["--timeout", "1h"]);
    assert!(fetch.wait_exit(LIMIT).success());
    assert!(fetch.standard_output().contains("published earlier, and still young"));
    assert!(place.holds(&svid));
}

#[test]
fn f52_a_young_set_is_replaced_where_the_agent_has_another() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let published = || {
        let fetch = place.fetch(&[]);
        assert!(fetch.wait_exit(LIMIT).success(), "{}", fetch.standard_error());
        assert!(place.holds(&agent.svid()));
        fetch.standard_output()
    };
    assert!(!published().contains("published earlier"));
    // It is the newest.
    assert!(published().ends_with("(published earlier, and the newest)"));
    assert_eq!(place.generations(), 1);
    // The entry was corrected.
    agent.set_entries([Entry::new(ID).dns("other.example.org")]).unwrap();
    assert!(!published().contains("published earlier"));
    // The bundle has another authority.
    agent.prepare_root().unwrap();
    assert!(!published().contains("published earlier"));
}

#[test]
fn f52_a_young_set_stays_if_the_agent_sends_nothing_and_that_is_reported() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    assert!(place.fetch(&[]).wait_exit(LIMIT).success());
    let svid = agent.svid();
    let keeps = |told: &str| {
        let fetch = place.fetch(&["--timeout", "1h"]);
        assert!(fetch.wait_exit(LIMIT).success(), "{}", fetch.standard_error());
        assert!(fetch.standard_output().contains("published earlier, and still young"));
        assert!(place.holds(&svid) && place.generations() == 1);
        let log = fetch.standard_error();
        assert!(log.contains("agent-not-asked"), "{log}");
        assert!(log.contains(told), "{log}");
    };
    agent.misbehave(Misbehaviour::Silent);
    keeps("has not answered in time");
    agent.behave();
    agent.set_entries([Entry::new(ID).with(Flaw::KeyOfAnother)]).unwrap();
    keeps("the private key does not belong to the leaf");
    agent.remove_entries();
    keeps("not registered yet");
}

#[test]
fn f53_fetch_fresh_fails_without_an_answer_of_the_agent_and_keeps_the_published_set() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let fresh = |limit: &str| place.fetch(&["--fresh", "--timeout", limit]);
    assert!(fresh("1m").wait_exit(LIMIT).success());
    let fetch = fresh("1m");
    assert!(fetch.wait_exit(LIMIT).success());
    assert!(fetch.standard_output().ends_with("(published earlier, and the newest)"));
    let svid = agent.svid();
    agent.misbehave(Misbehaviour::Silent);
    fails(&fresh("1s"), "no identity within 1s: no answer yet");
    agent.behave();
    agent.remove_entries();
    fails(&fresh("1s"), "no identity within 1s: not registered yet");
    assert!(place.holds(&svid), "what was published stays");
}

#[test]
fn d13_a_young_set_that_a_killed_run_left_without_its_links_is_completed() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    assert!(place.fetch(&[]).wait_exit(LIMIT).success());
    let svid = agent.svid();
    drop(agent);
    for name in ["svid.pem", "svid_key.pem", "svid_bundle.pem"] {
        std::fs::remove_file(place.svids.join(name)).unwrap();
        assert!(place.fetch(&["--timeout", "1h"]).wait_exit(LIMIT).success());
        assert!(place.holds(&svid), "{name} is missing");
    }
    // So is one with a mode that PostgreSQL refuses.
    let key = place.svids.join("svid_key.pem");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(place.fetch(&["--timeout", "1h"]).wait_exit(LIMIT).success());
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&key).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_old_set_is_fetched_again_and_kept_where_that_fails() {
    let place = Place::new();
    // Certificates begin 10 s back: of a life of 18 s, 8 s are left.
    let agent = place.agent().ttl(Duration::from_secs(8)).start().unwrap();
    assert!(place.fetch(&[]).wait_exit(LIMIT).success());
    let old = agent.svid();
    agent.misbehave(Misbehaviour::Silent);
    fails(&place.fetch(&["--timeout", "1s"]), "no identity within 1s");
    assert!(place.holds(&old));

    agent.behave();
    agent.rotate().unwrap();
    let fetch = place.fetch(&[]);
    assert!(fetch.wait_exit(LIMIT).success());
    assert!(!fetch.standard_output().contains("published earlier"));
    assert!(place.holds(&agent.svid()));
}

#[test]
fn d14_where_run_holds_the_directory_its_set_is_enough() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let run = place.pgsvid("run", &[]);
    run.wait_for_text(LIMIT, "published");
    let fetch = place.fetch(&["--timeout", "1h"]);
    assert!(fetch.wait_exit(LIMIT).success());
    let line = fetch.standard_output();
    assert!(line.ends_with("(published by the pgsvid that holds the directory)"), "{line}");
    assert!(place.holds(&agent.svid()) && run.is_running());
    assert_eq!(place.generations(), 1);
}

#[test]
fn d14_where_run_has_no_set_yet_it_is_waited_for() {
    let place = Place::new();
    let run = place.pgsvid("run", &[]);
    run.wait_for_text(LIMIT, "the socket does not exist");
    let reason = "no identity within 1s: another pgsvid holds the directory; waiting for its set";
    fails(&place.fetch(&["--timeout", "1s"]), reason);

    let fetch = place.fetch(&["--timeout", "1h"]);
    fetch.wait_for_text(LIMIT, "another pgsvid holds the directory");
    let agent = place.agent().start().unwrap();
    assert!(fetch.wait_exit(LIMIT).success());
    assert!(fetch.standard_output().contains("published by the pgsvid that holds the directory"));
    assert!(place.holds(&agent.svid()));
}

#[test]
fn on_a_terminal_one_line_shows_what_is_waited_for() {
    let place = Place::new();
    let endpoint = format!("unix://{}", place.socket().display());
    let command = format!(
        "{} fetch --endpoint {endpoint} --directory {} --timeout 1h",
        Program::reachable(BINARY).display(),
        place.svids.display()
    );
    // What is on the screen has no end of line until the result is there, but script writes it down at once.
    let screen = place.directory.write("screen", "", 0o600);
    let text = || std::fs::read_to_string(&screen).unwrap_or_default();
    let arguments = ["-qefc", &command, screen.to_str().unwrap()];
    let fetch = Program::spawn("/usr/bin/script", arguments, &[]);
    let waiting = format!("waiting for an identity from {endpoint} … ");
    eventually(LIMIT, "it says what it waits for", || text().contains(&waiting));
    eventually(LIMIT, "it says why", || text().contains("the socket does not exist"));
    eventually(LIMIT, "it counts the seconds", || text().contains("(1s of 1h)"));

    let agent = place.agent().start().unwrap();
    assert!(fetch.wait_exit(LIMIT).success());
    let text = text();
    assert!(text.contains("\r\u{1b}[Kwaiting"), "it is drawn over: {text:?}");
    // The log stays silent there, and the result is a line of its own.
    assert!(!text.contains("INFO"), "{text:?}");
    let last = text.split("\r\u{1b}[K").last().unwrap();
    assert!(last.starts_with(&format!("{ID}  expires in")), "{text:?}");
    assert!(place.holds(&agent.svid()));
}

#[test]
fn time_limits_that_are_none_are_refused() {
    let place = Place::new();
    for wrong in ["", "0s", "30", "soon", "-1s", "1 fortnight", "300000000000y"] {
        let fetch = place.fetch(&[&format!("--timeout={wrong}")]);
        assert_eq!(fetch.wait_exit(LIMIT).code(), Some(2), "{wrong:?}");
        let error = fetch.standard_error();
        assert!(error.contains("--timeout") && error.contains("write 30s, 5m or 1h"), "{error}");
    }
}

#[test]
fn x01_a_signal_ends_it_at_once_with_nothing_half_written() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let fetch = place.fetch(&["--timeout", "1h"]);
        fetch.wait_for_text(LIMIT, "the socket does not exist");
        fetch.signal(signal);
        fails(&fetch, "ended by a signal; what was published before is still in place");
        assert!(place.is_empty());
    }
}

#[test]
fn b131_a_set_that_lacks_what_the_own_configuration_asks_for_is_not_enough() {
    let place = Place::new();
    let agent = place.agent_with_hint().start().unwrap();
    let run = place.pgsvid("run", &["--hint", "client"]);
    run.wait_for_text(LIMIT, "published");
    let with = |lines: &str, more: &[&str]| {
        let config = place.directory.write("other.toml", lines, 0o644);
        let config = config.display().to_string();
        place.fetch(&[&["--config", &config], more].concat())
    };
    let short = &["--timeout", "1s"];
    for (lines, reason) in [
        ("files.extra = [{ name = 'x.pem', content = 'combined' }]", "does not publish x.pem"),
        (
            "files.extra = [{ name = 'x.pem', content = 'combined' }]\n[files.service]\nfile = 'other.conf'\nname = 'db'\noptions = { host = 'db' }",
            "does not publish other.conf, x.pem",
        ),
        ("svid.hint = 'server'", "publishes another SVID"),
    ] {
        let reason = format!(
            "not everything that this configuration asks for within 1s: another pgsvid holds the directory, and it {reason}"
        );
        fails(&with(lines, short), &reason);
    }
    for lines in ["", "svid.hint = 'client'"] {
        let fetch = with(lines, &["--timeout", "1h"]);
        assert!(fetch.wait_exit(LIMIT).success(), "{lines}: {}", fetch.standard_error());
    }
    // As soon as a pgsvid publishes it, it is enough.
    let fetch =
        with("files.extra = [{ name = 'x.pem', content = 'combined' }]", &["--timeout", "1h"]);
    fetch.wait_for_text(LIMIT, "does not publish x.pem");
    assert!(run.terminate(LIMIT).success());
    let config = place.directory.write(
        "third.toml",
        "files.extra = [{ name = 'x.pem', content = 'der-key' }]",
        0o644,
    );
    let config = config.display().to_string();
    let other = place.pgsvid("run", &["--hint", "client", "--config", &config]);
    other.wait_for_text(LIMIT, "published");
    // The name is there, and holds something else.
    fetch.wait_for_text(LIMIT, "is of the kind key in DER");
    assert!(other.terminate(LIMIT).success());
    let config = place.directory.write(
        "third.toml",
        "files.extra = [{ name = 'x.pem', content = 'combined' }]",
        0o644,
    );
    let config = config.display().to_string();
    let _last = place.pgsvid("run", &["--hint", "client", "--config", &config]);
    assert!(fetch.wait_exit(LIMIT).success());
    assert!(place.svids.join("x.pem").exists());
    drop(agent);
}

#[test]
fn b131_without_an_agent_an_earlier_set_of_another_hint_is_not_enough() {
    let place = Place::new();
    let agent = place.agent_with_hint().start().unwrap();
    assert!(place.fetch(&["--hint", "client"]).wait_exit(LIMIT).success());
    drop(agent);
    assert!(place.fetch(&["--hint", "client", "--timeout", "20s"]).wait_exit(LIMIT).success());
    fails(&place.fetch(&["--hint", "server", "--timeout", "2s"]), "no identity within 2s");
}

/// The program fails, and its last line names the reason.
#[track_caller]
fn fails(program: &Program, reason: &str) {
    assert_eq!(program.wait_exit(LIMIT).code(), Some(1));
    let error = program.standard_error();
    let last = error.lines().last().unwrap();
    assert!(last.starts_with("pgsvid: ") && last.contains(reason), "{error}");
}

struct Place {
    directory: Directory,
    svids: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = Directory::new();
        let svids = directory.subdirectory("svids");
        Self { directory, svids }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    fn agent(&self) -> Builder {
        let entry = Entry::new(ID).dns("db.example.org");
        DevAgent::builder(self.socket()).automatic(false).entry(entry)
    }

    fn agent_with_hint(&self) -> Builder {
        let entry = Entry::new(ID).dns("db.example.org").hint("client");
        DevAgent::builder(self.socket()).automatic(false).entry(entry)
    }

    fn fetch(&self, more: &[&str]) -> Program {
        self.pgsvid("fetch", more)
    }

    fn pgsvid(&self, command: &str, more: &[&str]) -> Program {
        let endpoint = format!("unix://{}", self.socket().display());
        let svids = self.svids.display().to_string();
        let variables =
            [("SPIFFE_ENDPOINT_SOCKET", endpoint.as_str()), ("PGSVID_DIRECTORY", &svids)];
        Program::spawn(BINARY, [command].iter().chain(more), &variables)
    }

    fn holds(&self, svid: &Svid) -> bool {
        let read = |name: &str| std::fs::read_to_string(self.svids.join(name)).unwrap_or_default();
        read("svid.pem") == svid.chain_pem()
            && read("svid_key.pem") == svid.key_pem()
            && read("svid_bundle.pem") == svid.bundle_pem()
    }

    fn is_empty(&self) -> bool {
        let mut entries = std::fs::read_dir(&self.svids).unwrap();
        entries.all(|entry| entry.unwrap().file_name() == "..lock")
    }

    /// How many generations' directories there are.
    fn generations(&self) -> usize {
        let entries = std::fs::read_dir(&self.svids).unwrap();
        entries
            .filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("..v")
            })
            .count()
    }
}
