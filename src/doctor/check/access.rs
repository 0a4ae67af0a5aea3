//! Which clients PostgreSQL lets in: `pg_hba.conf` and `pg_ident.conf`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::postgresql::{Answers, Sql};
use super::{loaded, roles, superusers};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose::{self, AccessFacts, Guarded, JudgedMapping, MapFile, Misread, SHARED};
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::doctor::words::{MOST_LINES, listed};
use crate::material::Material;
use crate::sql::{AccessViews, BadLine, HbaRule, Mapping};
use crate::survey::{self, Unclear};
use crate::text::shown;

/// The facts about the two files: from the files if pgsvid reads them as PostgreSQL does, because the view
/// `pg_hba_file_rules` does not show `clientname=DN`; otherwise from the views. `None` if neither is possible, or if a process
/// other than PostgreSQL listens on the socket.
pub(super) fn facts(config: &Config, server: &Server, sql: &Sql) -> Option<AccessFacts> {
    if sql.foreign_listener().is_some() {
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
            && !is_shown_as(ours, theirs)
        {
            misread.push(Misread::Otherwise(name(&files.ident)));
        }
    }
    let unclear = files.as_ref().map(|files| unclear(files, &bad)).unwrap_or_default();
    let read = files.as_ref().map(|files| files.files.clone()).unwrap_or_default();
    let named = files.iter().flat_map(|files| [&files.hba, &files.ident]);
    let mut homes: Vec<PathBuf> =
        named.filter_map(|path| path.parent()).map(Path::to_owned).collect();
    homes.extend(survey::data_directory(&server.session));
    let ident = map_file(config, sql, files.as_ref());
    let (hba, rules, mappings, complete) = match (files, views) {
        (Some(files), _) if misread.is_empty() => {
            (name(&files.hba), files.rules, files.mappings, true)
        }
        (_, Some(views)) => {
            ("pg_hba.conf".to_owned(), rules_shown(views), views.mappings.clone(), false)
        }
        (_, None) => return None,
    };
    let server_unreadable = survey::server_unreadable(&server.session, &read, &homes);
    misread.extend(server_unreadable.into_iter().map(Misread::ServerUnreadable));
    let mappings = mappings.map(|found| found.into_iter().map(|one| judge(one, answers)).collect());
    Some(AccessFacts { hba, ident, rules, complete, mappings, bad, misread, unclear })
}

/// The file of `ident_file`, and which of the files with mappings pgsvid publishes: those that lead through its links here, and
/// the configured one, which PostgreSQL may see by another path.
fn map_file(config: &Config, sql: &Sql, files: Option<&survey::Access>) -> MapFile {
    let standing = sql.answers().map(|answers| &answers.standing);
    let named = standing.and_then(|standing| standing.setting("ident_file")).map(PathBuf::from);
    let read = files.map(|files| files.ident.clone());
    let path = named.or(read).unwrap_or_else(|| PathBuf::from("pg_ident.conf"));
    let mut published = files.map(|files| files.published.clone()).unwrap_or_default();
    published.extend(config.ident.as_ref().map(|name| config.place.readers_base().join(name)));
    if survey::is_published(&path) {
        published.push(path.clone());
    }
    MapFile { path, published }
}

/// Whether the view has these mappings. It names files in a way of its own.
fn is_shown_as(ours: &[Mapping], shown: &[Mapping]) -> bool {
    let plain = |mapping: &Mapping| Mapping { file: None, ..mapping.clone() };
    ours.iter().map(plain).eq(shown.iter().map(plain))
}

/// The rules as the view has them, which shows no quotation marks.
fn rules_shown(views: &AccessViews) -> Vec<HbaRule> {
    let quotes_known = views.quotes_known;
    views.rules.iter().map(|rule| HbaRule { quotes_known, ..rule.clone() }).collect()
}

/// The files, read from disk. This needs no session, so it works if the role cannot log in.
fn files(server: &Server, sql: &Sql) -> Option<survey::Access> {
    match sql.answers() {
        Some(answers) => answers.files.clone(),
        None => survey::access(&server.session, None),
    }
}

/// The lines that pgsvid does not understand, without those that PostgreSQL itself reports as wrong.
fn unclear(files: &survey::Access, bad: &[BadLine]) -> Vec<Unclear> {
    let is_reported = |unclear: &&Unclear| {
        bad.iter().any(|bad| bad.file == unclear.of && bad.line == unclear.line)
    };
    files.unclear.iter().filter(|unclear| !is_reported(unclear)).cloned().collect()
}

/// The name only, because the heading has the path.
fn name(path: &Path) -> String {
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

/// The line numbers in `pg_ident.conf` of regular expressions that PostgreSQL has not been asked about completely. Without those
/// that PostgreSQL cannot compile: they have a finding of their own.
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

/// Findings about the expressions of which pgsvid cannot list all names that they match (`open`).
fn unlisted(facts: &AccessFacts, open: &[&Mapping]) -> Vec<Finding> {
    let fix = "name each workload in a line of its own, with [.] for a dot in an expression, as `pgsvid setup ident` does";
    let finding = |text: String| Finding::skipped(Code::IdentExpressionUndetermined, text).fix(fix);
    let mut findings: Vec<Finding> = open
        .iter()
        .take(MOST_LINES)
        .map(|mapping| {
            finding(format!(
                "{}: {} is a regular expression; pgsvid cannot tell which names it admits as role {}",
                facts.ident.place(mapping),
                shown(&mapping.system_user),
                shown(&mapping.role)
            ))
        })
        .collect();
    let more: Vec<u32> = open.iter().skip(MOST_LINES).map(|mapping| mapping.line).collect();
    if !more.is_empty() {
        findings.push(finding(format!(
            "{}: pgsvid cannot tell which names the regular expressions in these lines admit: {}",
            facts.ident,
            listed(&more)
        )));
    }
    findings
}

/// The section if nothing is known about the files.
fn unknown(server: &Server, sql: &Sql) -> Section {
    let user = &server.session.user;
    let mut section = Section::new(Group::Access, "pg_hba.conf, pg_ident.conf");
    section.extend(sql.answers().into_iter().flat_map(loaded::refused));
    if let Some(error) = sql.foreign_listener() {
        section.add(Finding::skipped(
            Code::SocketOfOtherUser,
            format!("pgsvid does not read the files, because they might belong to another user's process: {error}"),
        ));
        return section;
    }
    if let Some((file, line)) = files(server, sql).and_then(|files| files.nul) {
        let place = format!("{} line {line}", name(&file));
        section.extend([diagnose::misread(&Misread::Nul(place))]);
        return section;
    }
    let standing = sql.answers().map(|answers| &answers.standing);
    if let Some(hba) = survey::too_much(&server.session, standing) {
        section.add(
            Finding::skipped(
                Code::AccessFilesUnread,
                format!(
                    "which clients PostgreSQL lets in: {} is larger than 4 MiB, or names more than 1000 files or 16 MiB in all, and is not judged",
                    hba.display()
                ),
            )
            .fix("write a shorter file, or run check as a superuser, who can see the rules: --user postgres"),
        );
        return section;
    }
    section.add(
        Finding::skipped(Code::AccessFilesUnread, match sql.answers() {
            Some(_) if survey::is_elsewhere(&server.session) => {
                format!("role {user} may not read pg_hba_file_rules, and pgsvid cannot find the files: {}", loaded::ELSEWHERE)
            }
            Some(_) => {
                format!(
                    "role {user} may not read pg_hba_file_rules, and this uid may not read the files, or not all of the configuration that names them"
                )
            }
            None => format!("{}, and the files cannot be read", sql.why_silent()),
        })
        .fix("run check as PostgreSQL's uid, or as a superuser: --user postgres"),
    );
    section
}

/// The text of the finding that the rules are right; `all_judged` means that every map was judged, too.
fn all_clear(facts: &AccessFacts, all_judged: bool) -> String {
    let local = facts.rules.iter().filter(|rule| diagnose::is_local_password(rule));
    let local: Vec<u32> = local.map(|rule| rule.line).collect();
    let mut text = if local.is_empty() {
        "TLS clients need a certificate".to_owned()
    } else {
        let lines = if local.len() == 1 { "line" } else { "lines" };
        format!(
            "TLS clients on other machines need a certificate; those on this machine log in by a password ({lines} {})",
            listed(&local)
        )
    };
    if all_judged {
        text.push_str(", and no map admits a workload that it does not name");
    }
    text
}

/// The section about who may log in. `facts` is `None` if neither files nor views can be read; `on_disk` is the published set.
/// If PostgreSQL may have loaded other files than these, no finding of the section has the severity ok.
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
    let superusers = sql.answers().map(Answers::known_superusers).unwrap_or_default();
    let (roles, own) = (config.roles.roles(), &server.session.user);
    let listens = sql.answers().is_none_or(|answers| !answers.settings.listen_addresses.is_empty());
    let guarded = Guarded { roles: &roles, superusers, own: Some(own), listens };
    let concerns = diagnose::access(facts, &guarded);
    let (untried, open) = (untried(facts, sql), diagnose::open_mappings(facts));
    let loaded = loaded::access(server, sql);
    // If PostgreSQL may have loaded other files than the ones judged here, nothing below is an all-clear.
    let in_force = loaded.iter().all(|finding| finding.severity == Severity::Warning);
    section.extend(loaded);
    if concerns.is_empty() && facts.is_certain() {
        let all_judged = untried.is_empty() && open.is_empty() && facts.mappings.is_some();
        section.add(Finding::ok(Code::AccessRules, all_clear(facts, all_judged)));
    }
    section.extend(concerns);
    section.extend(unlisted(facts, &open));
    let broken = sql.answers().into_iter().flat_map(|answers| &answers.expressions.broken);
    for (line, expression) in broken {
        section.add(
            Finding::failure(Code::IdentExpressionBroken, format!(
                "{} line {line}: PostgreSQL cannot compile {expression}, and keeps the lines that it loaded before",
                facts.ident
            ))
            .fix("fix the regular expression, then reload"),
        );
    }
    section.extend(roles::findings(config, server, sql.answers(), facts));
    section.extend(
        sql.answers()
            .into_iter()
            .flat_map(|answers| superusers::findings(&server.session, answers, facts, on_disk)),
    );
    section.extend(diagnose::local_logins(facts, &roles, superusers, own));
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
        section.add(Finding::skipped(Code::IdentExpressionNotTested, format!(
            "which names these regular expressions of {} match (line {}): pgsvid could not ask PostgreSQL, or they are too many, \
             or they take too long",
            facts.ident,
            listed(&untried)
        )));
    }
    if !facts.complete {
        section.add(Finding::skipped(
            Code::HbaClientnameHidden,
            if facts.rules.iter().all(|rule| rule.quotes_known) {
                "clientname=DN: PostgreSQL's view may hide it; run check as PostgreSQL's uid to read the file itself"
            } else {
                "clientname=DN and quotation marks (\"all\" in quotation marks is a name, not a keyword): PostgreSQL's view hides both. pgsvid assumes \
                 that such a line can let clients in, and never that it keeps clients out; run check as PostgreSQL's uid to read the \
                 file itself"
            },
        ));
    }
    let has_views = sql.answers().is_some_and(|answers| answers.views.is_some());
    if !has_views {
        section.add(
            Finding::skipped(Code::HbaLineWrong, match sql.answers() {
                Some(answers) if answers.views_refused.is_some() => {
                    "errors in the files: PostgreSQL cannot read its own files".to_owned()
                }
                Some(_) => {
                    format!(
                        "errors in the files: role {user} may not read pg_hba_file_rules; PostgreSQL loads no file that has an \
                         error, and keeps the rules that it had"
                    )
                }
                None => format!("errors in the files: {}", sql.why_silent()),
            })
            .fix("run check as a superuser: --user postgres"),
        );
    }
    if !in_force {
        section.findings.retain(|finding| finding.severity != Severity::Ok);
    }
    section
}
