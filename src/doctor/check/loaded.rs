//! Whether PostgreSQL has in force what is in its files.

use std::path::{Path, PathBuf};

use super::postgresql::{Answers, Sql};
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::survey::{Loading, Restart};
use crate::timing;

/// How many files are named in a finding.
const MOST_FILES: usize = 3;

/// Of `pg_hba.conf` and `pg_ident.conf`.
pub(super) fn access(server: &Server, sql: &Sql) -> Vec<Finding> {
    let Some(answers) = sql.answers() else {
        // At its start PostgreSQL loads the files as they are.
        return if sql.is_not_running() {
            Vec::new()
        } else {
            vec![Finding::skipped(
                Code::AccessFilesLoaded,
                "whether PostgreSQL has loaded these files as they are: it does not answer",
            )]
        };
    };
    let Loading { access, unseen, future, restart, unknown, .. } = &answers.loading;
    let mut findings = refused(answers);
    if *unseen {
        findings.push(
            Finding::skipped(
                Code::AccessFilesLoaded,
                "whether PostgreSQL has loaded the files as they are: they cannot be looked at",
            )
            .fix("run check as PostgreSQL's uid, or as a superuser: --user postgres"),
        );
    }
    if let Some(loaded) = future {
        findings.push(
            Finding::skipped(
                Code::AccessFilesLoaded,
                format!(
                    "whether PostgreSQL has loaded the files as they are: it says that it loaded them at {}, which is yet to come",
                    timing::utc(*loaded)
                ),
            )
            .cause("the clock of its machine was set back since; every later change looks older than that")
            .fix(format!("{}, then check again", reload(server)))
            .command(reload(server)),
        );
    }
    if !access.is_empty() {
        findings.push(
            Finding::failure(Code::AccessFilesLoaded, format!(
                "{} changed after PostgreSQL last loaded it: the rules in force may be others than the ones judged here",
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
    findings.extend(unknown.iter().map(|(setting, changed)| {
        let why = changed.as_ref().map_or_else(
            || "the configuration files cannot be read".to_owned(),
            |path| {
                format!("{} changed after PostgreSQL started, and {setting} counts from a start on", path.display())
            },
        );
        Finding::skipped(Code::AccessFileInForce, format!(
            "whether the file judged here is the {setting} in force: role {} may not see the setting, and {why}",
            answers.standing.role
        ))
        .fix("run check as a superuser: --user postgres")
    }));
    findings
}

/// What the server said when it was to show what it makes of the files.
pub(super) fn refused(answers: &Answers) -> Vec<Finding> {
    let finding = |error: &String| {
        Finding::failure(Code::HbaUnreadableForServer, format!("PostgreSQL cannot read a file that says whom it lets in: {error}"))
            .cause("it goes on with what it has read before, or with nothing of this file, and may not start again")
            .fix("let the user that PostgreSQL runs as read the file, and enter the directories on the way, then reload")
    };
    answers.views_refused.iter().map(finding).collect()
}

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

/// Of postgresql.conf and the files that it includes.
pub(super) fn configuration(server: &Server, answers: &Answers) -> Vec<Finding> {
    let mut findings: Vec<Finding> = answers
        .configuration_errors
        .iter()
        .map(|error| {
            Finding::failure(Code::PostgresqlConfError, format!("PostgreSQL cannot load its configuration: {error}"))
                .cause("until this is fixed it may load no change of these files, and it cannot be restarted")
                .fix(format!("correct or remove the line, then: {}", reload(server)))
                .command(reload(server))
        })
        .collect();
    let changed = &answers.loading.configuration;
    if !changed.is_empty() {
        findings.push(
            Finding::warning(Code::PostgresqlConfNotLoaded, format!(
                "{} changed after PostgreSQL last loaded it: the settings judged here are those in force, and the next reload \
                 may change them",
                listed(changed)
            ))
            .fix(format!("{}, then check again", reload(server)))
            .command(reload(server)),
        );
    }
    findings
}

fn reload(server: &Server) -> String {
    server.session.psql("SELECT pg_catalog.pg_reload_conf()")
}

fn listed(paths: &[PathBuf]) -> String {
    let named: Vec<String> =
        paths.iter().take(MOST_FILES).map(|path| Path::display(path).to_string()).collect();
    let more = paths.len().saturating_sub(MOST_FILES);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}
