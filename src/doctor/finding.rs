//! The result of an examination: findings, one line each, in groups.

use serde::Serialize;

pub(super) use crate::finding::limited;
pub use crate::finding::{Code, Finding, Severity};

/// What was examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// pgsvid's own configuration, and its effect on this machine.
    Configuration,
    /// The agent.
    WorkloadApi,
    /// The certificate files that another program writes.
    Certificates,
    /// The SVID that the source offers.
    Material,
    /// The published files.
    Files,
    /// The tokens and the JWT bundle.
    Tokens,
    /// PostgreSQL over SQL.
    Postgresql,
    /// PostgreSQL over TLS.
    Tls,
    /// A login as a client.
    Login,
    /// Servers of others that are only looked at.
    Served,
    /// The files that clients read.
    Clients,
    /// The clients that PostgreSQL lets in.
    Access,
    /// A PgBouncer: its console, its settings, and what it serves.
    Pgbouncer,
    /// Patroni: its REST API, and the files that it owns.
    Patroni,
    /// Kubernetes: the API server, and the Secrets that the set is written to.
    Kubernetes,
    /// The commands and signals that follow a publication.
    Hooks,
    /// The running daemon.
    Daemon,
    /// The judgement about files, or about what a server shows.
    Judgement,
}

impl Group {
    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::WorkloadApi => "Workload API",
            Self::Certificates => "Certificates",
            Self::Material => "Material",
            Self::Files => "Files",
            Self::Tokens => "JWT-SVIDs",
            Self::Postgresql => "PostgreSQL",
            Self::Tls => "TLS",
            Self::Login => "Login",
            Self::Served => "Served",
            Self::Clients => "Clients",
            Self::Access => "Access",
            Self::Pgbouncer => "PgBouncer",
            Self::Patroni => "Patroni",
            Self::Kubernetes => "Kubernetes",
            Self::Hooks => "Hooks",
            Self::Daemon => "Daemon",
            Self::Judgement => "Judgement",
        }
    }
}

/// The findings about one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// What was examined.
    pub group: Group,
    /// The object: an address, or a path.
    pub subject: String,
    /// The findings, in the order of examination.
    pub findings: Vec<Finding>,
}

impl Section {
    /// A section that has no findings yet.
    pub fn new(group: Group, subject: impl Into<String>) -> Self {
        Self { group, subject: subject.into(), findings: Vec::new() }
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Keeps so many findings with each code, and one about the rest.
    fn limit(&mut self, most: usize) {
        let mut codes: Vec<Code> = Vec::new();
        for finding in &self.findings {
            if !codes.contains(&finding.code) {
                codes.push(finding.code);
            }
        }
        for code in codes {
            let of_code = |finding: &Finding| finding.code == code;
            if self.findings.iter().filter(|finding| of_code(finding)).count() > most {
                let at = self.findings.iter().position(of_code).unwrap_or_default();
                let (of_code, mut others): (Vec<_>, Vec<_>) =
                    std::mem::take(&mut self.findings).into_iter().partition(of_code);
                others
                    .splice(at..at, limited(of_code, most, &format!("{} ({code})", self.subject)));
                self.findings = others;
            }
        }
    }

    /// Adds findings.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }
}

/// The result of the whole examination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The sections, in the order in which data flows.
    pub sections: Vec<Section>,
}

impl Report {
    /// The report with so many findings of each code in a section, and one about the rest.
    #[must_use]
    pub fn limited(mut self, most: usize) -> Self {
        for section in &mut self.sections {
            section.limit(most);
        }
        self
    }

    /// The number of findings with this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.sections
            .iter()
            .flat_map(|section| &section.findings)
            .filter(|finding| finding.severity == severity)
            .map(Finding::count)
            .sum()
    }

    /// Whether there is a failure.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.count(Severity::Failure) > 0
    }
}
