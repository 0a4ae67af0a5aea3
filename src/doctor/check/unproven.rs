//! Files whose state in PostgreSQL neither a handshake nor the server's log shows.

use std::path::PathBuf;
use std::time::SystemTime;

use super::postgresql::Sql;
use super::tls_files::{FORGEABLE, reload};
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::survey;

/// PostgreSQL may have refused a reload after it loaded the set that it serves. Then it still uses earlier contents of the
/// revocation lists, and of authorities other than the published ones, and only the server's log shows it. PostgreSQL loaded
/// the served set, and all its other TLS files, after the set was `written` (`be_tls_init`), so files that are older than that
/// are in force.
pub(super) fn possibly_refused_reload(
    server: &Server,
    sql: &Sql,
    written: SystemTime,
) -> Option<Finding> {
    let answers = sql.answers()?;
    let settings = &answers.settings;
    let files = survey::files(settings, &server.session, &server.paths, &server.viewpoint);
    let authorities = files.authorities.path.filter(|_| !files.authorities.published);
    let is_logged = answers.reloaded.as_ref().is_some_and(|log| log.is_taken || log.tls.is_some());
    let is_forgeable = answers.reloaded.as_ref().is_some_and(|log| log.is_forgeable);
    if (!settings.revocation && authorities.is_none()) || is_logged {
        return None;
    }
    let mut lists = survey::revocation(settings, &server.session, &server.viewpoint).paths;
    // Each new connection reads what it needs from ssl_crl_dir.
    lists.truncate(usize::from(!settings.revocation_file.is_empty()));
    let paths: Option<Vec<PathBuf>> = answers
        .loading
        .sources
        .clone()
        .map(|sources| sources.into_iter().chain(lists).chain(authorities).collect());
    if paths.is_some_and(|paths| !survey::is_changed_since(&paths, written)) {
        return None;
    }
    Some(
        Finding::skipped(
            Code::SslReloadRefused,
            "whether the revocation lists and the authorities that PostgreSQL's settings name are in force: if it refused a reload, it \
             still uses the earlier ones, and its log cannot be read from here, or does not show whether PostgreSQL accepted the last reload",
        )
        .cause(if is_forgeable { FORGEABLE } else { "" })
        .fix(format!(
            "{}, then check that the server log has no \"SSL configuration was not reloaded\"",
            reload(server)
        ))
        .command(reload(server)),
    )
}
