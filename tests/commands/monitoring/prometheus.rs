//! A Prometheus for one test.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_support::{Directory, LIMIT, Program, free_address};

/// A program of Debian's `prometheus`: installed, or unpacked by `scripts/test`.
pub(crate) fn tool(name: &str) -> PathBuf {
    let target = Path::new(super::PGSVID).ancestors().nth(2).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([target.join("tools")])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("there is no {name}: run scripts/test, or apt-get install prometheus")
    })
}

/// Scrapes and evaluates every second, until it is dropped.
pub(crate) struct Prometheus {
    _program: Program,
    _directory: Directory,
    address: SocketAddr,
}

impl Prometheus {
    pub(crate) fn start(target: SocketAddr, rules: &Path) -> Self {
        let directory = Directory::new();
        directory.write("rules.yml", fs::read(rules).unwrap(), 0o644);
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: pgsvid, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        let configuration = directory.write("prometheus.yml", configuration, 0o644);
        let address = free_address();
        let arguments = [
            format!("--config.file={}", configuration.display()),
            format!("--storage.tsdb.path={}", directory.subdirectory("data").display()),
            format!("--web.listen-address={address}"),
        ];
        let program = Program::spawn(tool("prometheus"), arguments, &[]);
        program.wait_for_text(LIMIT, "Server is ready to receive web requests");
        Self { _program: program, _directory: directory, address }
    }

    /// The series that an expression finds.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let mut encoded = String::new();
        for byte in expression.bytes() {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        let answer = self.ask(&format!("query?query={encoded}"));
        answer["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}")).clone()
    }

    /// The value of the only series that an expression finds.
    #[track_caller]
    pub(crate) fn number(&self, expression: &str) -> Option<f64> {
        let found = self.query(expression);
        found.first()?["value"][1].as_str()?.parse().ok()
    }

    /// The alert rules.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let answer = self.ask("rules");
        let groups = answer["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// The names of alerts that are firing, or will if nothing changes.
    pub(crate) fn alerts(&self) -> BTreeSet<String> {
        let answer = self.ask("alerts");
        let alerts = answer["alerts"].as_array().unwrap();
        alerts
            .iter()
            .map(|alert| {
                let text = alert["annotations"].to_string();
                assert!(!text.contains("error expanding"), "{text}");
                alert["labels"]["alertname"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[track_caller]
    fn ask(&self, what: &str) -> Value {
        let answer = get(self.address, &format!("/api/v1/{what}"));
        let mut answer: Value =
            serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].take()
    }
}

/// The body of an answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}")).1.to_owned()
}
