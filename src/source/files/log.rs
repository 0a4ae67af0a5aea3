//! The log events about the certificate files: each change is logged once, and the number of lines is limited.

use tracing::{debug, info, warn};

use super::Settings;
use crate::finding::Finding;
use crate::material::{Material, Names, Warning};
use crate::source::lines::{Line, Lines};
use crate::source::workload_api::limits;
use crate::text::{ascii, shown};
use crate::timing;

/// Logs a line that a change of the files causes; at level debug once there have been too many.
macro_rules! tell {
    ($log:expr, $level:ident, $($line:tt)+) => {
        if $log.may_write() { $level!($($line)+) } else { debug!($($line)+) }
    };
}

/// Logs what happens to the files.
pub(super) struct Log {
    /// How many more lines may be logged.
    lines: Lines,
    /// The path of the certificate.
    place: String,
    /// The configured names that the latest certificate lacks.
    lacking: Vec<String>,
    /// Whether revocation lists in the bundle were reported.
    has_lists: bool,
}

impl Log {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            lines: Lines::new(limits::LINES),
            place: settings.paths.certificate.display().to_string(),
            lacking: Vec::new(),
            has_lists: false,
        }
    }

    /// Whether another line may be logged. Logs once that the limit is reached.
    fn may_write(&mut self) -> bool {
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

    /// Logs that the files are read at intervals, if the kernel reports no changes of them.
    pub(super) fn polled(&self, is_silent: bool) {
        if is_silent {
            info!(
                event = "certificates-polled",
                path = self.place,
                every = %humantime::format_duration(super::LOOK_SILENT),
                "the kernel does not report changes of the certificate files: pgsvid checks them at intervals"
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
            spiffe_id = material.spiffe_id().map(|id| ascii(&id.to_string())),
            names = material.other_names().as_deref().map(ascii),
            serial = leaf.serial().short(),
            not_after = timing::utc(material.not_after()),
            path = self.place,
            "certificate read"
        );
        let earlier = before.map(Material::warnings).unwrap_or_default();
        let is_news = |warning: &Warning| !earlier.contains(warning);
        for warning in material.warnings().into_iter().filter(is_news) {
            let cause = warning.cause_of(material.policy());
            let fix = warning.fix_of(material.policy());
            tell!(self, warn, event = "certificate-warning", code = warning.code(), fix, "{cause}");
        }
        self.names(&Names::of(material), settings);
    }

    /// Logs the warning about revocation lists in the bundle, once.
    pub(super) fn revocation_lists(&mut self, found: Option<Finding>) {
        let was_told = std::mem::replace(&mut self.has_lists, found.is_some());
        if let Some(Finding { code, text, fix, .. }) = found.filter(|_| !was_told) {
            tell!(self, warn, event = "certificate-warning", code = code.name(), fix, "{text}");
        }
    }

    /// Logs which configured names are missing, and which names of the previous set are lost.
    fn names(&mut self, names: &Names, settings: &Settings) {
        let lacking = names.lacks(&settings.expectations.dns_names);
        if lacking.iter().any(|name| !self.lacking.contains(name)) {
            tell!(
                self,
                warn,
                event = "certificate-names-missing",
                missing = shown(&lacking.join(", ")),
                fix = "issue it with these names",
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
                "the new certificate lacks a name that the previous one had: clients that connect to it with sslmode=verify-full \
                 refuse the server"
            );
        }
        if let Some(was) = names.subject_change(before) {
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
            "the certificate files are not a usable set; pgsvid does not use them"
        );
    }

    pub(super) fn accepted_again(&mut self) {
        tell!(
            self,
            info,
            event = "certificates-accepted",
            path = self.place,
            "the certificate files are a usable set again"
        );
    }
}
