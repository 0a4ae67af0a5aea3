//! What an examination finds: one line each, in groups.

use serde::Serialize;

pub use crate::finding::{Code, Finding, Severity};

/// What was examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Our own configuration, and what it leads to on this machine.
    Configuration,
    /// The agent.
    WorkloadApi,
    /// The SVID that it gives.
    Material,
    /// What is published.
    Files,
    /// PostgreSQL over SQL.
    Postgresql,
    /// PostgreSQL over TLS.
    Tls,
    /// A login as a client.
    Login,
    /// What clients read.
    Clients,
    /// Whom PostgreSQL lets in.
    Access,
    /// What comes of looking at files, or at what a server shows.
    Judgement,
}

impl Group {
    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::WorkloadApi => "Workload API",
            Self::Material => "Material",
            Self::Files => "Files",
            Self::Postgresql => "PostgreSQL",
            Self::Tls => "TLS",
            Self::Login => "Login",
            Self::Clients => "Clients",
            Self::Access => "Access",
            Self::Judgement => "Judgement",
        }
    }
}

/// The findings about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// What was examined.
    pub group: Group,
    /// Which one: an address, a path.
    pub subject: String,
    /// What was found, in the order of examination.
    pub findings: Vec<Finding>,
}

impl Section {
    /// A section without findings yet.
    pub fn new(group: Group, subject: impl Into<String>) -> Self {
        Self { group, subject: subject.into(), findings: Vec::new() }
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds findings.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }
}

/// The whole examination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The sections, in the order in which data flows.
    pub sections: Vec<Section>,
}

impl Report {
    /// How many findings have this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.sections
            .iter()
            .flat_map(|section| &section.findings)
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Whether something does not work.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.count(Severity::Failure) > 0
    }
}
