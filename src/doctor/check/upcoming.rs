//! TLS settings that are in PostgreSQL's files and not in force yet.

use super::postgresql::{Answers, out_of_sight};
use crate::consumers::Server;
use crate::diagnose;
use crate::doctor::finding::{Finding, Severity};
use crate::sql::TlsSettings;
use crate::survey;

/// The failures that begin with the next reload or start, by TLS settings that are in the files and not in force; and whether there
/// are failures then, these or the present ones.
pub(super) fn upcoming(server: &Server, answers: &Answers) -> (Vec<Finding>, bool) {
    let failures = |tls: &TlsSettings| {
        let files = survey::files(tls, &server.session, &server.paths, &server.viewpoint);
        let (judged, _) = out_of_sight(&files);
        let mut found = diagnose::concerns(tls, &judged, &server.paths, &server.session);
        found.extend(diagnose::refused_files(&files));
        found.extend(diagnose::refused_settings(&files));
        found.retain(|found| found.severity == Severity::Failure);
        found
    };
    let Some(next) = &answers.next else { return (Vec::new(), false) };
    let now = failures(&answers.settings);
    let is_new = |then: &Finding| {
        !now.iter().any(|now| (now.code, &now.object) == (then.code, &then.object))
    };
    let then = failures(next);
    let has_any = !then.is_empty();
    let new = then.into_iter().filter(is_new).map(|found| Finding {
        text: format!("as the files are now, from the next reload or start on: {}", found.text),
        ..found
    });
    (new.collect(), has_any)
}
