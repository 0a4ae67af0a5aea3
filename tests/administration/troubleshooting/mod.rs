//! Each symptom of `docs/troubleshooting.md`, produced for real, and the cause that `pgsvid check` names for it.

mod agent;
mod clients;
mod files;
mod healthy;
mod logins;
mod roles;
mod tls;
mod variables;

use std::path::Path;

use pgsvid::finding::Code;
use serde_json::Value;
use test_support::{Cluster, LIMIT, Program, Psql, Setup};

const BINARY: &str = env!("CARGO_BIN_EXE_pgsvid");
const DOCUMENT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md"));

/// What `pgsvid check` has said.
struct Checked {
    report: Value,
    status: i32,
    error: String,
}

impl Checked {
    fn run(arguments: &[String], more: &[&str], variables: &[(&str, &str)]) -> Self {
        let arguments = ["check", "--format", "json"]
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
            .chain(more.iter().copied());
        let program = Program::spawn(BINARY, arguments, variables);
        let status = program.wait_exit(LIMIT).code().unwrap();
        let report = serde_json::from_str(&program.standard_output()).unwrap_or_default();
        Self { report, status, error: program.standard_error() }
    }

    fn findings(&self) -> Vec<&Value> {
        let sections = self.report["sections"].as_array().expect("a report");
        sections.iter().flat_map(|section| section["findings"].as_array().unwrap()).collect()
    }

    /// The finding of that severity with this code; or, where a detail counts, the one whose text or cause holds these words.
    #[track_caller]
    fn finding(&self, severity: &str, words: &str) -> &Value {
        let is_code = is_code(words);
        let holds = |finding: &Value| {
            if is_code {
                return finding["code"] == words;
            }
            ["text", "cause"]
                .iter()
                .any(|key| finding[key].as_str().is_some_and(|text| text.contains(words)))
        };
        self.findings()
            .into_iter()
            .find(|finding| finding["severity"] == severity && holds(finding))
            .unwrap_or_else(|| {
                panic!("no {severity} {words:?} in\n{:#}\n{}", self.report, self.error)
            })
    }

    /// A failure, which comes with its remedy and decides the exit status.
    #[track_caller]
    fn fails(&self, words: &str) {
        let finding = self.finding("failure", words);
        let text = finding["text"].as_str().unwrap();
        assert!(finding.get("fix").is_some() || text.contains("; "), "no remedy: {finding}");
        assert_eq!(self.status, 1);
    }

    /// A failure with this code that says a detail.
    #[track_caller]
    fn fails_with(&self, code: &str, words: &str) {
        assert!(is_code(code));
        assert_eq!(self.finding("failure", words)["code"], code);
        self.fails(words);
    }

    /// A warning, which comes with its remedy.
    #[track_caller]
    fn warns(&self, words: &str) {
        assert!(self.finding("warning", words).get("fix").is_some());
    }
}

fn is_code(word: &str) -> bool {
    Code::ALL.iter().any(|code| code.name() == word)
}

/// That somebody has said the symptom, and that the document has it.
#[track_caller]
fn symptom(symptom: &str, said: &str) {
    assert!(said.contains(symptom), "the symptom is {symptom:?}, and was said:\n{said}");
    assert!(rows().iter().any(|row| row[1].contains(symptom)), "not documented: {symptom}");
}

/// The rows of the document's tables of symptoms: codes, symptom, cause, remedy.
fn rows() -> Vec<Vec<&'static str>> {
    let tables = DOCUMENT.split("\n| finding | symptom |").skip(1);
    let rows =
        tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    rows.map(|line| line.trim_matches('|').split(" | ").collect()).collect()
}

fn setup() -> Setup {
    Setup::new(BINARY)
}

/// The arguments of somebody who only publishes, or only reads.
fn files_only(setup: &Setup) -> Vec<String> {
    setup.arguments().into_iter().take(6).collect()
}

fn check(setup: &Setup, more: &[&str]) -> Checked {
    Checked::run(&setup.arguments(), more, &[])
}

/// Publishes what the agent has, and reloads nothing.
fn publish(setup: &Setup) {
    let arguments = files_only(setup);
    let arguments =
        ["run", "--log-format", "json"].into_iter().chain(arguments.iter().map(String::as_str));
    let program = Program::spawn(BINARY, arguments, &[]);
    program.wait_for_event(LIMIT, |event| event["event"] == "published");
    assert!(program.terminate(LIMIT).success());
}

/// Publishes, starts the server, and makes the role `app`.
fn started(setup: &Setup) {
    publish(setup);
    setup.cluster.start();
    admin(&setup.cluster, "CREATE ROLE app LOGIN");
}

fn admin(cluster: &Cluster, statements: &str) -> String {
    cluster.sql("postgres", "postgres", statements)
}

/// Replaces the lines about TCP, and waits until the server has them.
fn hba(cluster: &Cluster, lines: &str) {
    cluster.set_hba(&format!("local postgres pgsvid peer map=pgsvid\n{lines}\nlocal all all peer"));
    reload(cluster);
}

/// SIGHUP, and a wait for its effect: a new session sees the time of the load.
fn reload(cluster: &Cluster) {
    let loaded = || admin(cluster, "SELECT pg_conf_load_time()");
    let before = loaded();
    cluster.sighup();
    test_support::eventually(LIMIT, "the server has read its files", || loaded() != before);
}

/// psql over TCP as that role, with the certificate in `directory`, as careful as can be.
fn client(cluster: &Cluster, directory: &Path, role: &str, more: &str) -> Psql {
    cluster.client(directory, role, more).script("SELECT 1")
}

/// Every row is tested: the beginning of its symptom is a text of these tests.
#[test]
fn each_row_of_the_document_has_its_test() {
    let sources = [
        include_str!("agent.rs"),
        include_str!("clients.rs"),
        include_str!("files.rs"),
        include_str!("logins.rs"),
        include_str!("roles.rs"),
        include_str!("tls.rs"),
    ]
    .concat()
    .replace("\\\"", "\"");
    let rows = rows();
    assert!(rows.len() >= 80, "{} rows", rows.len());
    for row in rows {
        assert_eq!(row.len(), 4, "{row:?}");
        let symptom = row[1].split('`').nth(1).unwrap_or_else(|| row[1].trim());
        assert!(sources.contains(symptom), "no test has {symptom:?}");
        for code in row[0].split('`').skip(1).step_by(2) {
            assert!(is_code(code), "{symptom:?} has no code, but {code}");
            assert!(sources.contains(&format!("\"{code}\"")), "no test has {code}");
        }
    }
}
