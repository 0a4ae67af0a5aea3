//! Whom PostgreSQL lets in: `pg_hba.conf` and `pg_ident.conf`.

use super::postgresql::{Answers, Sql};
use super::roles;
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose::{self, AccessFacts, JudgedMapping, STRANGE_NAME, STRANGERS};
use crate::doctor::finding::{Finding, Group, Section};
use crate::postgres::Mapping;
use crate::survey;

/// What can be known of the files: from themselves, since the view of PostgreSQL 15 hides `clientname=DN`, or else
/// from the views.
pub(super) fn facts(server: &Server, sql: &Sql) -> Option<AccessFacts> {
    if sql.stranger().is_some() {
        return None;
    }
    let answers = sql.answers();
    let views = answers.and_then(|answers| answers.views.as_ref());
    let bad = views.map(|views| views.bad.clone()).unwrap_or_default();
    let files = match answers {
        Some(answers) => answers.files.clone(),
        // A role that cannot log in does not keep us from reading.
        None => survey::access(&server.session, None),
    };
    let (hba, ident, rules, mappings, complete) = match (files, views) {
        (Some(files), _) => {
            (name(&files.hba), name(&files.ident), files.rules, files.mappings, true)
        }
        (None, Some(views)) => (
            "pg_hba.conf".to_owned(),
            "pg_ident.conf".to_owned(),
            views.rules.clone(),
            views.mappings.clone(),
            false,
        ),
        (None, None) => return None,
    };
    let mappings = mappings.map(|found| found.into_iter().map(|one| judge(one, answers)).collect());
    Some(AccessFacts { hba, ident, rules, complete, mappings, bad })
}

/// The heading has the path.
fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn judge(mapping: Mapping, answers: Option<&Answers>) -> JudgedMapping {
    let name = mapping.system_user.as_str();
    let admits = if name.starts_with('/') {
        answers.and_then(|answers| answers.expressions.get(name).copied()).ok_or(())
    } else {
        let strangers = STRANGERS.into_iter().chain([STRANGE_NAME]);
        Ok(strangers.into_iter().find(|stranger| *stranger == name))
    };
    JudgedMapping { mapping, admits }
}

pub(super) fn section(
    config: &Config,
    server: &Server,
    sql: &Sql,
    facts: Option<&AccessFacts>,
) -> Section {
    let user = &server.session.user;
    let Some(facts) = facts else {
        let mut section = Section::new(Group::Access, "pg_hba.conf, pg_ident.conf");
        if let Some(error) = sql.stranger() {
            section.add(Finding::skipped(format!(
                "nothing is read that may not be PostgreSQL's: {error}"
            )));
            return section;
        }
        section.add(
            Finding::skipped(match sql.answers() {
                Some(_) => {
                    format!("role {user} may not read the views, and this uid not the files")
                }
                None => "PostgreSQL does not answer, and the files cannot be read".to_owned(),
            })
            .fix("run check as PostgreSQL's uid, or as a superuser: --user postgres"),
        );
        return section;
    };
    let files = match sql.answers() {
        Some(answers) => answers.files.clone(),
        None => survey::access(&server.session, None),
    };
    let subject = files.map_or_else(
        || format!("{}, {}", facts.hba, facts.ident),
        |files| format!("{}, {}", files.hba.display(), files.ident.display()),
    );
    let mut section = Section::new(Group::Access, subject);
    let concerns = diagnose::access(facts);
    if concerns.is_empty() {
        section.add(Finding::ok(
            "TLS clients need a certificate, and no map admits a workload that it does not name",
        ));
    }
    section.extend(concerns);
    for (line, expression) in sql.answers().into_iter().flat_map(|answers| &answers.broken) {
        section.add(
            Finding::failure(format!(
                "{} line {line}: PostgreSQL cannot compile {expression}, and goes on with the file as it was before",
                facts.ident
            ))
            .fix("mend the regular expression, then reload"),
        );
    }
    section.extend(roles::findings(config, sql.answers(), facts));
    if facts.mappings.is_none() {
        section.add(Finding::skipped(format!("{} cannot be read", facts.ident)));
    }
    if facts.mappings.iter().flatten().any(|judged| judged.admits.is_err()) {
        section.add(Finding::skipped(
            "regular expressions of pg_ident.conf: PostgreSQL could not be asked what they match",
        ));
    }
    if !facts.complete {
        section.add(Finding::skipped(
            "clientname=DN: PostgreSQL's view may hide it; run check as PostgreSQL's uid to read the file itself",
        ));
    }
    let has_views = sql.answers().is_some_and(|answers| answers.views.is_some());
    if !has_views {
        section.add(
            Finding::skipped(match sql.answers() {
                Some(_) => {
                    format!("errors in the files: role {user} may not read pg_hba_file_rules")
                }
                None => "errors in the files: PostgreSQL does not answer".to_owned(),
            })
            .fix("as a superuser: --user postgres"),
        );
    }
    section
}
