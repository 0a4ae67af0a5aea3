//! Whether the contents of PostgreSQL's files are in force.

use super::postgresql::{Answers, Sql};
use super::tls_files::{FORGEABLE, directories_changed, listed, reload};
use super::upcoming::upcoming;
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::survey::{self, Loading, Restart, Unknown};
use crate::timing;

/// Findings about whether the present contents of `pg_hba.conf` and `pg_ident.conf` are in force; none if PostgreSQL does not
/// run, or if nothing shows that other contents are in force.
pub(super) fn access(server: &Server, sql: &Sql) -> Vec<Finding> {
    let Some(answers) = sql.answers() else {
        // PostgreSQL loads the files when it starts.
        return if sql.is_not_running() {
            Vec::new()
        } else {
            vec![Finding::skipped(
                Code::AccessFilesLoaded,
                format!(
                    "whether PostgreSQL has loaded these files as they are: {}",
                    sql.why_silent()
                ),
            )]
        };
    };
    let Loading { access, directories, gone, unseen, future, restart, unknown, .. } =
        &answers.loading;
    let mut findings = refused(answers);
    findings.extend(refused_at_reload(server, answers));
    findings.extend(untold(answers));
    if !directories.is_empty() && access.is_empty() {
        findings.push(
            Finding::skipped(
                Code::AccessFilesLoaded,
                format!(
                    "whether PostgreSQL has loaded these files as they are: {}",
                    directories_changed(directories)
                ),
            )
            .fix(format!("{}, then check again", reload(server)))
            .command(reload(server)),
        );
    }
    if *unseen {
        findings.push(
            Finding::skipped(
                Code::AccessFilesLoaded,
                "whether PostgreSQL has loaded the files as they are: pgsvid cannot examine them",
            )
            .fix("run check as PostgreSQL's uid, or as a superuser: --user postgres"),
        );
    }
    if let Some(loaded) = future {
        findings.push(
            Finding::skipped(
                Code::AccessFilesLoaded,
                format!(
                    "whether PostgreSQL has loaded the files as they are: it reports that it loaded them at {}, which is in the future",
                    timing::utc(*loaded)
                ),
            )
            .cause("its machine's clock has been set back since; every later change looks older than that")
            .fix(format!("{}, then check again", reload(server)))
            .command(reload(server)),
        );
    }
    if !gone.is_empty() {
        findings.push(
            Finding::skipped(
                Code::AccessFilesLoaded,
                format!(
                    "whether the lines that were in {} are still in force: the file is missing, and its directory was changed after \
                     PostgreSQL last loaded its files",
                    listed(gone)
                ),
            )
            .cause("lines of a file that include_if_exists named stay in force after it is removed, until the next reload")
            .fix(format!("{}, then check again", reload(server)))
            .command(reload(server)),
        );
    }
    if !access.is_empty() {
        findings.push(
            Finding::failure(Code::AccessFilesLoaded, format!(
                "{} changed after PostgreSQL last loaded it: the rules in force may differ from the ones judged here",
                listed(access)
            ))
            .fix(format!(
                "{}, then check again; if it stays, a configuration file has an error: pg_file_settings shows it",
                reload(server)
            ))
            .command(reload(server)),
        );
    }
    findings.extend(restart.iter().map(pending));
    let role = &answers.standing.role;
    findings.extend(unknown.iter().map(|(setting, why)| not_in_force(role, setting, why)));
    findings
}

/// The finding about a file that PostgreSQL refused at its last reload, according to its log. The file may be right by now.
fn refused_at_reload(server: &Server, answers: &Answers) -> Option<Finding> {
    let log = answers.reloaded.as_ref().filter(|log| !log.access.is_empty())?;
    let files = if log.is_forgeable {
        "pg_hba.conf or pg_ident.conf".to_owned()
    } else {
        log.access.join(" and ")
    };
    let fix = format!(
        "read the line before \"was not reloaded\" there, and correct what it names; then {}, and check again",
        reload(server)
    );
    Some(
        Finding::failure(
            Code::AccessFilesLoaded,
            format!(
                "according to its log PostgreSQL did not load {files} at its last reload: other rules may be in force than the ones that check \
                 read; see {}",
                log.log.display()
            ),
        )
        .cause(if log.is_forgeable { FORGEABLE } else { "" })
        .fix(fix)
        .command(reload(server)),
    )
}

/// The finding that nobody here sees whether PostgreSQL refused the files: a superuser can query their errors, and pgsvid reads the
/// log of others in English only.
fn untold(answers: &Answers) -> Option<Finding> {
    let log = answers.reloaded.as_ref().filter(|log| !log.is_english && answers.views.is_none())?;
    Some(
        Finding::skipped(
            Code::AccessFilesLoaded,
            format!(
                "whether PostgreSQL accepted these files at its last reload: lc_messages lets {} be in another language than English, and pgsvid \
                 does not understand it",
                log.log.display()
            ),
        )
        .fix("run check as a superuser: --user postgres"),
    )
}

/// The findings about an error that PostgreSQL returned instead of its files.
pub(super) fn refused(answers: &Answers) -> Vec<Finding> {
    let finding = |error: &String| {
        Finding::failure(Code::HbaUnreadableForServer, format!("PostgreSQL cannot read a file that decides who may log in: {error}"))
            .cause("it keeps what it read before, or uses nothing of this file, and may not start again")
            .fix("let the user that PostgreSQL runs as read the file, and enter the directories above it, then reload")
    };
    answers.views_refused.iter().map(finding).collect()
}

/// The skipped finding if pgsvid does not know whether the file that was judged is the one that PostgreSQL uses.
fn not_in_force(role: &str, setting: &str, why: &Unknown) -> Finding {
    let unseen = format!("role {role} may not read `{setting}`");
    let why = match why {
        Unknown::Changed(path) => format!("{unseen} ({} changed since the start)", path.display()),
        Unknown::Unread => format!("{unseen}, and the configuration files cannot be read"),
        Unknown::Start => format!(
            "{unseen}, and how PostgreSQL was started does not say where its configuration is: it has no absolute -D, and no PGDATA that \
             pgsvid can read"
        ),
        Unknown::Elsewhere => ELSEWHERE.to_owned(),
    };
    Finding::skipped(
        Code::AccessFileInForce,
        format!("not checked: whether PostgreSQL uses this file. {}", sentence(&why)),
    )
    .fix("run check as a superuser: --user postgres")
}

/// The text with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// The reason if PostgreSQL's data directory is not the one on this side.
pub(super) const ELSEWHERE: &str = "its lock file names a data directory that is another one here: PostgreSQL runs in another container or \
    mount namespace, and may have other files at the same paths";

fn pending(restart: &Restart) -> Finding {
    let Restart { setting, now, then } = restart;
    let then =
        then.as_ref().map_or_else(|| "another file".to_owned(), |then| then.display().to_string());
    Finding::warning(Code::AccessFileRestart, format!(
        "PostgreSQL uses {now} as {setting} until it is restarted, and {then} from then on: only the first is judged here"
    ))
    .fix(format!(
        "restart PostgreSQL, then check again; or set {setting} back to {now} in the configuration"
    ))
}

/// The findings about postgresql.conf and the files that it includes.
pub(super) fn configuration(server: &Server, answers: &Answers) -> Vec<Finding> {
    // A plain role may not ask PostgreSQL for the errors.
    let found = survey::configuration_error(&server.session);
    let found = found.filter(|_| answers.configuration_errors.is_empty());
    let mut findings: Vec<Finding> = answers
        .configuration_errors
        .iter()
        .chain(&found)
        .map(|error| {
            Finding::failure(Code::PostgresqlConfError, format!("PostgreSQL cannot load its configuration: {error}"))
                .cause("until this is fixed PostgreSQL may ignore changes of these files, and it cannot be restarted")
                .fix(format!("correct or remove the line, then: {}", reload(server)))
                .command(reload(server))
        })
        .collect();
    let (new, breaks) = upcoming(server, answers);
    findings.extend(new);
    let changed = &answers.loading.configuration;
    if !changed.is_empty() {
        let warning = Finding::warning(
            Code::PostgresqlConfNotLoaded,
            format!(
                "{} changed after PostgreSQL last loaded it: the settings judged here are those in force, and the next reload may change \
             them",
                listed(changed)
            ),
        );
        // A reload would put into force what the failures are about.
        findings.push(if findings.is_empty() && !breaks {
            let fix = format!("{}, then check again", reload(server));
            warning.fix(fix).command(reload(server))
        } else {
            warning.fix("correct first what the failures about these files name, then reload, and check again")
        });
    }
    findings
}
