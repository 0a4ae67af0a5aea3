//! Whom PostgreSQL lets in: `pg_hba.conf` and `pg_ident.conf`.

use std::collections::BTreeSet;

use super::postgresql::{Answers, Sql};
use super::{loaded, roles, superusers};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose::{self, AccessFacts, JudgedMapping, Misread, SHARED};
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::doctor::words::{MOST_LINES, listed};
use crate::material::Material;
use crate::sql::{BadLine, Mapping};
use crate::survey::{self, Unclear};
use crate::text::shown;

/// What can be known of the files: from themselves, since the view of PostgreSQL 15 hides `clientname=DN`, or else
/// from the views.
pub(super) fn facts(server: &Server, sql: &Sql) -> Option<AccessFacts> {
    if sql.stranger().is_some() {
        return None;
    }
    let answers = sql.answers();
    let views = answers.and_then(|answers| answers.views.as_ref());
    let bad = views.map(|views| views.bad.clone()).unwrap_or_default();
    let files = files(server, sql);
    let mut misread = Vec::new();
    if let Some((file, line)) = files.as_ref().and_then(|files| files.nul.as_ref()) {
        misread.push(Misread::Nul(format!("{} line {line}", name(file))));
    } else if let (Some(files), Some(views)) = (&files, views)
        && views.bad.is_empty()
    {
        let same = files.rules.len() == views.rules.len()
            && files.rules.iter().zip(&views.rules).all(|(ours, shown)| ours.is_shown_as(shown));
        if !same {
            misread.push(Misread::Otherwise(name(&files.hba)));
        }
        // PostgreSQL 14 has no view of the mappings.
        if let (Some(ours), Some(theirs)) = (&files.mappings, &views.mappings)
            && ours != theirs
        {
            misread.push(Misread::Otherwise(name(&files.ident)));
        }
    }
    let unclear = files.as_ref().map(|files| unclear(files, &bad)).unwrap_or_default();
    let read = files.as_ref().map(|files| files.files.clone()).unwrap_or_default();
    let (hba, ident, rules, mappings, complete) = match (files, views) {
        (Some(files), _) if misread.is_empty() => {
            (name(&files.hba), name(&files.ident), files.rules, files.mappings, true)
        }
        (_, Some(views)) => (
            "pg_hba.conf".to_owned(),
            "pg_ident.conf".to_owned(),
            views.rules.clone(),
            views.mappings.clone(),
            false,
        ),
        (_, None) => return None,
    };
    let withheld = survey::withheld(&server.session, &read);
    misread.extend(withheld.into_iter().map(Misread::Withheld));
    let mappings = mappings.map(|found| found.into_iter().map(|one| judge(one, answers)).collect());
    Some(AccessFacts { hba, ident, rules, complete, mappings, bad, misread, unclear })
}

/// The files themselves. A role that cannot log in does not keep us from reading.
fn files(server: &Server, sql: &Sql) -> Option<survey::Access> {
    match sql.answers() {
        Some(answers) => answers.files.clone(),
        None => survey::access(&server.session, None),
    }
}

/// The lines that are not understood, without those of which PostgreSQL says itself what is wrong.
fn unclear(files: &survey::Access, bad: &[BadLine]) -> Vec<Unclear> {
    let told = |unclear: &&Unclear| {
        bad.iter().any(|bad| bad.file == unclear.of && bad.line == unclear.line)
    };
    files.unclear.iter().filter(|unclear| !told(unclear)).cloned().collect()
}

/// The heading has the path.
fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn judge(mapping: Mapping, answers: Option<&Answers>) -> JudgedMapping {
    let name = mapping.system_user.as_str();
    let admits = if name.starts_with('/') {
        answers.and_then(|answers| answers.expressions.strangers.get(name).cloned()).ok_or(())
    } else {
        Ok((name == SHARED).then(|| name.to_owned()))
    };
    JudgedMapping { mapping, admits }
}

/// The lines of `pg_ident.conf` whose regular expressions were not tried to the end, and compile as far as is known.
fn untried(facts: &AccessFacts, sql: &Sql) -> Vec<u32> {
    let broken: BTreeSet<&str> = sql
        .answers()
        .into_iter()
        .flat_map(|answers| &answers.expressions.broken)
        .map(|(_, name)| name.as_str())
        .collect();
    let mappings = facts.mappings.iter().flatten();
    mappings
        .filter(|judged| {
            judged.admits.is_err() && !broken.contains(judged.mapping.system_user.as_str())
        })
        .map(|judged| judged.mapping.line)
        .collect()
}

/// The expressions that may match more names than anybody can list.
fn untold(facts: &AccessFacts, open: &[&Mapping]) -> Vec<Finding> {
    let fix = "name each workload in a line of its own, with [.] for a dot in an expression, as `pgsvid setup ident` does";
    let finding = |text: String| Finding::skipped(Code::IdentExpressionUntold, text).fix(fix);
    let mut findings: Vec<Finding> = open
        .iter()
        .take(MOST_LINES)
        .map(|mapping| {
            finding(format!(
                "{} line {}: {} is an expression; which names it admits as role {} cannot be told from here",
                facts.ident,
                mapping.line,
                shown(&mapping.system_user),
                shown(&mapping.role)
            ))
        })
        .collect();
    let more: Vec<u32> = open.iter().skip(MOST_LINES).map(|mapping| mapping.line).collect();
    if !more.is_empty() {
        findings.push(finding(format!(
            "{}: which names the expressions in line {} admit cannot be told from here either",
            facts.ident,
            listed(&more)
        )));
    }
    findings
}

/// Where nothing is known of the files.
fn unknown(server: &Server, sql: &Sql) -> Section {
    let user = &server.session.user;
    let mut section = Section::new(Group::Access, "pg_hba.conf, pg_ident.conf");
    section.extend(sql.answers().into_iter().flat_map(loaded::refused));
    if let Some(error) = sql.stranger() {
        section.add(Finding::skipped(
            Code::SocketOfOtherUser,
            format!("nothing is read that may not be PostgreSQL's: {error}"),
        ));
        return section;
    }
    if let Some((file, line)) = files(server, sql).and_then(|files| files.nul) {
        let place = format!("{} line {line}", name(&file));
        section.extend([diagnose::misread(&Misread::Nul(place))]);
        return section;
    }
    section.add(
        Finding::skipped(Code::AccessFilesUnread, match sql.answers() {
            Some(_) => {
                format!(
                    "role {user} may not read the views, and this uid not the files, or not all that says where they are"
                )
            }
            None => "PostgreSQL does not answer, and the files cannot be read".to_owned(),
        })
        .fix("run check as PostgreSQL's uid, or as a superuser: --user postgres"),
    );
    section
}

pub(super) fn section(
    config: &Config,
    server: &Server,
    sql: &Sql,
    facts: Option<&AccessFacts>,
    on_disk: Option<&Material>,
) -> Section {
    let Some(facts) = facts else { return unknown(server, sql) };
    let user = &server.session.user;
    let subject = files(server, sql).map_or_else(
        || format!("{}, {}", facts.hba, facts.ident),
        |files| format!("{}, {}", files.hba.display(), files.ident.display()),
    );
    let mut section = Section::new(Group::Access, subject);
    let concerns = diagnose::access(facts);
    let (untried, open) = (untried(facts, sql), diagnose::open_mappings(facts));
    let loaded = loaded::access(server, sql);
    // What is in force may be something else.
    let in_force = loaded.iter().all(|finding| finding.severity == Severity::Warning);
    section.extend(loaded);
    if concerns.is_empty() && facts.is_certain() {
        let all_told = untried.is_empty() && open.is_empty() && facts.mappings.is_some();
        section.add(Finding::ok(
            Code::AccessRules,
            if all_told {
                "TLS clients need a certificate, and no map admits a workload that it does not name"
            } else {
                "TLS clients need a certificate"
            },
        ));
    }
    section.extend(concerns);
    section.extend(untold(facts, &open));
    let broken = sql.answers().into_iter().flat_map(|answers| &answers.expressions.broken);
    for (line, expression) in broken {
        section.add(
            Finding::failure(Code::IdentExpressionBroken, format!(
                "{} line {line}: PostgreSQL cannot compile {expression}, and goes on with the file as it was before",
                facts.ident
            ))
            .fix("mend the regular expression, then reload"),
        );
    }
    section.extend(roles::findings(config, server, sql.answers(), facts));
    section.extend(
        sql.answers()
            .into_iter()
            .flat_map(|answers| superusers::findings(&server.session, answers, facts, on_disk)),
    );
    if facts.mappings.is_none() {
        section.add(Finding::skipped(Code::IdentUnread, format!("{} cannot be read", facts.ident)));
    }
    let compared = diagnose::compared(&facts.rules);
    if let Some(rule) = facts.rules.get(compared) {
        section.add(Finding::skipped(Code::HbaLineNeverReached, format!(
            "whether lines of {} from line {} on are never reached: there are too many to compare each with all others",
            rule.file.as_deref().unwrap_or(&facts.hba),
            rule.line
        )));
    }
    if !untried.is_empty() {
        section.add(Finding::skipped(Code::IdentExpressionUntried, format!(
            "what the regular expressions of {} match in line {}: PostgreSQL could not be asked, or there are too many, \
             or they take it too long",
            facts.ident,
            listed(&untried)
        )));
    }
    if !facts.complete {
        section.add(Finding::skipped(
            Code::HbaClientnameHidden,
            "clientname=DN: PostgreSQL's view may hide it; run check as PostgreSQL's uid to read \
                 the file itself",
        ));
    }
    let has_views = sql.answers().is_some_and(|answers| answers.views.is_some());
    if !has_views {
        section.add(
            Finding::skipped(Code::HbaLineWrong, match sql.answers() {
                Some(answers) if answers.views_refused.is_some() => {
                    "errors in the files: PostgreSQL cannot read them itself".to_owned()
                }
                Some(_) => {
                    format!(
                        "errors in the files: role {user} may not read pg_hba_file_rules; PostgreSQL loads no file that has an \
                         error, and keeps the rules that it had"
                    )
                }
                None => "errors in the files: PostgreSQL does not answer".to_owned(),
            })
            .fix("as a superuser: --user postgres"),
        );
    }
    if !in_force {
        section.findings.retain(|finding| finding.severity != Severity::Ok);
    }
    section
}
