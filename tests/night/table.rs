//! The definition of a fault, and the list of all faults.

use serde_json::Value;
use test_support::SetupBuilder;

use crate::night::Night;
use crate::{access, agent, clients, files, login, server, settings};

/// One fault: how it comes about, what everything that reports says of it, and what its printed remedy does.
pub(crate) struct Fault {
    /// Its row in docs/evidence/reliability.md.
    pub(crate) id: &'static str,
    /// What a DBA would call it.
    pub(crate) name: &'static str,
    /// What is different from the usual set-up before anything runs.
    pub(crate) plan: fn(SetupBuilder) -> SetupBuilder,
    /// Lines of the configuration besides those for the status.
    pub(crate) configuration: &'static str,
    /// How many seconds the clock of pgsvid and of `check` is ahead of PostgreSQL's and the agent's.
    pub(crate) ahead: Option<i64>,
    /// Makes the fault while everything is well.
    pub(crate) make: fn(&mut Night),
    /// Level and event of the line that tells it; `None` where nothing has happened that a log would tell.
    pub(crate) log: Option<(&'static str, &'static str)>,
    /// The first word of `pgsvid status`.
    pub(crate) word: Word,
    /// The verdict beside it.
    pub(crate) verdict: &'static str,
    /// Codes of findings that the status has for what is published.
    pub(crate) target: &'static [&'static str],
    /// Codes of findings that the status has for PostgreSQL.
    pub(crate) findings: &'static [&'static str],
    /// Severity and code of what `check` finds.
    pub(crate) check: Option<(&'static str, &'static str)>,
    /// How many failures `check` has: with several, all but one follow from the one that is named.
    pub(crate) failures: usize,
    /// What is done by what was printed.
    pub(crate) remedy: Remedy,
    /// Whether pgsvid finds out by itself that the remedy has helped, in a moment; else it is asked to look (SIGHUP).
    pub(crate) by_itself: bool,
}

/// The first word of the status, by which people, probes and alerts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// All is well.
    Current,
    /// It works, and will not for long if nobody does something.
    Degraded,
    /// The database should not be used.
    NotReady,
    /// There is no daemon that would answer.
    Silent,
}

/// What the reader of a finding does.
pub(crate) enum Remedy {
    /// Nothing: it heals by itself.
    None,
    /// Pastes its `command`.
    Paste,
    /// Puts the setting that its `fix` names into postgresql.conf, and reloads.
    Configure,
    /// What its `fix` says where no command can do it.
    Done(fn(&mut Night, &Value)),
}

/// What is told of PostgreSQL while nothing is wrong.
pub(crate) const USUAL: Fault = Fault {
    id: "",
    name: "",
    plan: |builder| builder,
    configuration: "",
    ahead: None,
    make: |_| {},
    log: None,
    word: Word::Current,
    verdict: "current",
    target: &[],
    findings: &[],
    check: None,
    failures: 1,
    remedy: Remedy::None,
    by_itself: true,
};

/// All faults, by group.
const ALL: [&[&Fault]; 7] = [
    agent::FAULTS,
    server::FAULTS,
    settings::FAULTS,
    files::FAULTS,
    login::FAULTS,
    access::FAULTS,
    clients::FAULTS,
];

/// Each fault of the table is walked by the test of its name, and each has a name of its own.
#[test]
fn each_fault_of_the_table_has_its_test() {
    let sources = [
        include_str!("agent.rs"),
        include_str!("server.rs"),
        include_str!("settings.rs"),
        include_str!("files.rs"),
        include_str!("login.rs"),
        include_str!("access.rs"),
        include_str!("clients.rs"),
    ];
    let mut names = std::collections::BTreeSet::new();
    for (faults, source) in ALL.iter().zip(sources) {
        for fault in *faults {
            assert!(names.insert(fault.id) && names.insert(fault.name), "{} twice", fault.id);
            let test = format!("fn {}_", fault.id.to_lowercase());
            assert!(source.contains(&test), "no test of {}: {}", fault.id, fault.name);
        }
    }
    let faults: usize = ALL.iter().map(|faults| faults.len()).sum();
    assert!(faults >= 31, "{faults} faults");
}
