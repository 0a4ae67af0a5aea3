//! A real Patroni, which runs PostgreSQL: both read the published set, Patroni after PostgreSQL.

mod authorities;
mod dead;
mod examined;
mod order;
mod requests;

use serde_json::Value;
use test_support::{Account, Etcd, LIMIT, Patroni, Pgsvid, Program, Setup, eventually};

pub(super) const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// Other nodes need a certificate.
pub(super) const STRICT: &str = "verify_client: required\n";
/// A part of Patroni's configuration in each set.
pub(super) const PART: &str = "[files]\npatroni = 'pgsvid.yml'\n";

/// A Patroni, and everything around it.
pub(super) struct Node {
    pub(super) pgsvid: Pgsvid,
    pub(super) patroni: Patroni,
    pub(super) setup: Setup,
    // Ends last.
    pub(super) etcd: Etcd,
}

/// Nothing but etcd runs yet. The REST API has the lines `restapi`; `more` are tables of pgsvid's configuration, and `keys` are
/// keys of `[patroni]`.
pub(super) fn prepared(restapi: &str, more: &str, keys: &str) -> (Setup, Patroni, Etcd) {
    let etcd = Etcd::start();
    let setup = Setup::new(PGSVID);
    let patroni = Patroni::over(&setup.cluster, &etcd);
    patroni.configure(restapi, &patroni.alone(), "");
    configure(&setup, &patroni, more, keys);
    if more.contains("patroni = ") {
        patroni.link(&setup.files.join("pgsvid.yml"));
    }
    (setup, patroni, etcd)
}

pub(super) fn configure(setup: &Setup, patroni: &Patroni, more: &str, keys: &str) {
    let listen = setup.other.join("status.sock");
    setup.configure(&format!(
        "{more}[postgres]\n[patroni]\naddress = '127.0.0.1:{}'\n{keys}\n[health]\nlisten = 'unix:{}'\n",
        patroni.rest_port(),
        listen.display()
    ));
}

/// Everything runs, and both serve the first set.
pub(super) fn running(restapi: &str, more: &str, keys: &str) -> Node {
    let (setup, patroni, etcd) = prepared(restapi, more, keys);
    let node = started(setup, patroni, etcd);
    node.current("patroni", 1);
    node
}

/// Starts everything, and waits until PostgreSQL serves the first set.
pub(super) fn started(setup: Setup, patroni: Patroni, etcd: Etcd) -> Node {
    let pgsvid = setup.spawn();
    setup.wait_published();
    patroni.start();
    patroni.wait_primary();
    let node = Node { pgsvid, patroni, setup, etcd };
    node.current("postgres", 1);
    node
}

impl Node {
    /// Waits for the proof, which must be `current`.
    pub(super) fn current(&self, consumer: &str, generation: u64) -> Value {
        let is_it = |event: &Value| {
            event["event"] == "rotated"
                && event["consumer"] == consumer
                && event["generation"] == generation
        };
        let event = self.pgsvid.wait_for_event(LIMIT * 2, is_it);
        assert_eq!(event["verdict"], "current", "{event}");
        event
    }

    /// Waits for a line about Patroni that has this code.
    pub(super) fn told(&self, code: &str) -> Value {
        self.pgsvid.wait_for_event(LIMIT * 2, |event| {
            event["consumer"] == "patroni"
                && event["code"].as_str().is_some_and(|codes| codes.contains(code))
        })
    }

    pub(super) fn assert_serves_newest(&self) {
        assert_eq!(self.patroni.served().unwrap(), self.setup.agent.svid().leaf());
    }

    /// What `pgsvid status` says of Patroni.
    pub(super) fn status(&self) -> Value {
        status(&self.setup)["consumers"][1].clone()
    }

    /// How often Patroni was asked to reload.
    pub(super) fn requests(&self) -> usize {
        let lines = self.pgsvid.lines();
        lines.iter().filter(|line| line.contains("\"event\":\"patroni-reloads\"")).count()
    }
}

/// `pgsvid status`, as JSON.
pub(super) fn status(setup: &Setup) -> Value {
    let socket = format!("unix:{}", setup.other.join("status.sock").display());
    let arguments = ["status", "--format", "json", "--socket", &socket];
    let output = Program::spawn(PGSVID, arguments, &[]);
    output.wait_exit(LIMIT);
    serde_json::from_str(&output.standard_output()).unwrap_or_default()
}

/// The findings of `check` about Patroni: code and severity.
pub(super) fn check(setup: &Setup) -> Vec<(String, String)> {
    let usual = setup.arguments();
    let usual = usual.chunks(2).filter(|pair| pair[0] != "--log-format").flatten();
    let all = ["check", "--format", "json"].into_iter().chain(usual.map(String::as_str));
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    program.wait_exit(LIMIT * 2);
    let report: Value = serde_json::from_str(&program.standard_output()).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let mine = sections.iter().filter(|section| section["group"] == "patroni");
    let findings = mine.flat_map(|section| section["findings"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings.map(|found| (text(&found["code"]), text(&found["severity"]))).collect()
}

pub(super) fn is(found: &[(String, String)], code: &str, severity: &str) -> bool {
    found.iter().any(|it| (it.0.as_str(), it.1.as_str()) == (code, severity))
}

#[test]
fn r01_each_set_is_in_force_at_postgresql_first_and_then_at_patroni() {
    let node = running(STRICT, PART, "");
    for generation in 1..=3 {
        let proof = node.current("patroni", generation);
        assert_eq!(proof["authorities_by"], "issuer", "{proof}");
        node.assert_serves_newest();
        assert_eq!(node.setup.cluster.served().leaf, node.setup.agent.svid().leaf());
        if generation < 3 {
            node.setup.agent.rotate().unwrap();
        }
    }
    // The first set was there when Patroni was started.
    assert_eq!(node.requests(), 2);
    let lines = node.pgsvid.lines().join("\n");
    let at = |text: &str| lines.find(text).unwrap_or_else(|| panic!("{text}: {lines}"));
    let place = |consumer: &str, generation: u64| {
        let is_it = |line: &&str| {
            line.contains("\"event\":\"rotated\"")
                && line.contains(&format!("\"consumer\":\"{consumer}\""))
                && line.contains(&format!("\"generation\":{generation}"))
        };
        at(lines.lines().find(is_it).unwrap())
    };
    for generation in 2..=3 {
        assert!(place("postgres", generation) < place("patroni", generation), "{lines}");
    }
    let patroni = node.status();
    assert_eq!(
        (&patroni["kind"], &patroni["verdict"]),
        (&"patroni".into(), &"current".into()),
        "{patroni}"
    );
    eventually(LIMIT, "it is ready", || status(&node.setup)["ready"] == true);
    // The probes show a certificate, so Patroni logs nothing about them. At most the three without one, this test's own, are there:
    // 4.1 does not log them.
    let log = node.patroni.log();
    assert!(log.matches("PEER_DID_NOT_RETURN_A_CERTIFICATE").count() <= 3, "{log}");
}
