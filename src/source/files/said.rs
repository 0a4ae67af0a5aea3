//! What is said of the files in the log: each thing once, and not without end.

use tracing::{debug, info, warn};

use super::Settings;
use crate::finding::Finding;
use crate::material::{Material, Names, Warning};
use crate::source::lines::{Line, Lines};
use crate::source::workload_api::limits;
use crate::text::{ascii, shown};
use crate::timing;

/// A line of the log that the files cause: among the details once they have caused too many.
macro_rules! tell {
    ($said:expr, $level:ident, $($line:tt)+) => {
        if $said.may_tell() { $level!($($line)+) } else { debug!($($line)+) }
    };
}

/// What was said.
pub(super) struct Said {
    lines: Lines,
    place: String,
    lacking: Vec<String>,
}

impl Said {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            lines: Lines::new(limits::LINES),
            place: settings.paths.certificate.display().to_string(),
            lacking: Vec::new(),
        }
    }

    /// Whether there may be another line; says so once when there is not.
    fn may_tell(&mut self) -> bool {
        let line = self.lines.take();
        if line == Line::FirstHidden {
            warn!(
                event = "certificates-lines-limited",
                "the certificate files change too often: one line every {} from now on, the others at level debug",
                humantime::format_duration(limits::LINES.1)
            );
        }
        line == Line::Written
    }

    /// That time alone tells of changes, where it is so.
    pub(super) fn polled(&self, is_silent: bool) {
        if is_silent {
            info!(
                event = "certificates-polled",
                path = self.place,
                every = %humantime::format_duration(super::LOOK_SILENT),
                "the kernel tells of no change of the certificate files: they are looked at by time"
            );
        }
    }

    pub(super) fn accepted(
        &mut self,
        material: &Material,
        before: Option<&Material>,
        settings: &Settings,
    ) {
        let leaf = material.leaf();
        tell!(
            self,
            info,
            event = "certificate-read",
            name = ascii(&material.name().to_string()),
            serial = leaf.serial().short(),
            not_after = timing::utc(material.not_after()),
            path = self.place,
            "certificate read"
        );
        let said = before.map(Material::warnings).unwrap_or_default();
        let is_news = |warning: &Warning| !said.contains(warning);
        for warning in material.warnings().into_iter().filter(is_news) {
            let cause = warning.cause_of(material.policy());
            let fix = warning.fix_of(material.policy());
            tell!(self, warn, event = "certificate-warning", code = warning.code(), fix, "{cause}");
        }
        self.names(&Names::of(material), settings);
    }

    /// Which of the configured names are missing, and what the set before had.
    fn names(&mut self, names: &Names, settings: &Settings) {
        let lacking = names.lacks(&settings.expectations.dns_names);
        if lacking.iter().any(|name| !self.lacking.contains(name)) {
            tell!(
                self,
                warn,
                event = "certificate-names-missing",
                missing = shown(&lacking.join(", ")),
                fix = "let it be issued with these names",
                "the certificate lacks a name of svid.dns_names: clients that connect to it with sslmode=verify-full refuse the server"
            );
        }
        self.lacking = lacking;
        let Some(before) = &settings.published else { return };
        let mut lost = names.lacks(&before.hosts);
        lost.retain(|host| !self.lacking.iter().any(|lacking| lacking.eq_ignore_ascii_case(host)));
        if !lost.is_empty() {
            tell!(
                self,
                warn,
                event = "certificate-names-lost",
                lost = shown(&lost.join(", ")),
                left = shown(&names.hosts.join(", ")),
                fix = "unless that was meant, let it be issued with the name again",
                "the new certificate lacks a name that the one before had: clients that connect to it with sslmode=verify-full \
                 refuse the server"
            );
        }
        if let Some(was) = names.another_subject(before) {
            tell!(
                self,
                warn,
                event = "certificate-subject-changed",
                before = ascii(&was.before),
                now = ascii(&was.now),
                fix = "unless that was meant, let it be issued with the former subject; else map the new name to the role in \
                       pg_ident.conf",
                "the new certificate has another CN or subject: `cert` uses it as the role"
            );
        }
    }

    pub(super) fn rejected(&mut self, finding: &Finding) {
        tell!(
            self,
            warn,
            event = "certificates-rejected",
            code = finding.code.name(),
            reason = finding.text,
            fix = finding.fix,
            "the certificate files are no set that can be used; what is published stays"
        );
    }

    pub(super) fn accepted_again(&mut self) {
        tell!(
            self,
            info,
            event = "certificates-accepted",
            path = self.place,
            "the certificate files are one set again"
        );
    }
}
