//! What an examination finds: one line each, in groups.

use serde::Serialize;

use crate::diagnose::{self, Concern};

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

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It could not be looked at, and why.
    Skipped,
    /// It works, and will hurt somebody.
    Warning,
    /// It does not work.
    Failure,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How to take it.
    pub severity: Severity,
    /// What was found: names the object.
    pub text: String,
    /// Why, where the text does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The command, SQL or line that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self { severity, text: text.into(), cause: None, fix: None }
    }

    /// All is well.
    pub fn ok(text: impl Into<String>) -> Self {
        Self::new(Severity::Ok, text)
    }

    /// Could not be looked at.
    pub fn skipped(text: impl Into<String>) -> Self {
        Self::new(Severity::Skipped, text)
    }

    /// Will hurt somebody.
    pub fn warning(text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, text)
    }

    /// Does not work.
    pub fn failure(text: impl Into<String>) -> Self {
        Self::new(Severity::Failure, text)
    }

    /// Adds why.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into()).filter(|cause| !cause.is_empty());
        self
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into()).filter(|fix| !fix.is_empty());
        self
    }
}

/// What keeps PostgreSQL from serving the files is a failure.
impl From<diagnose::Finding> for Finding {
    fn from(found: diagnose::Finding) -> Self {
        Self::failure(found.cause).fix(found.fix)
    }
}

impl From<Concern> for Finding {
    fn from(concern: Concern) -> Self {
        let Concern { severe, finding } = concern;
        let found =
            if severe { Self::failure(finding.cause) } else { Self::warning(finding.cause) };
        found.fix(finding.fix)
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
    pub fn add(&mut self, finding: impl Into<Finding>) {
        self.findings.push(finding.into());
    }

    /// Adds findings.
    pub fn extend<F: Into<Finding>>(&mut self, findings: impl IntoIterator<Item = F>) {
        self.findings.extend(findings.into_iter().map(Into::into));
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
