//! Files whose state in PostgreSQL neither a handshake nor the server's log shows.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::postgresql::Sql;
use super::tls_files::{FORGEABLE, reload};
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::survey;

/// How long after its issue a certificate is usually published at the latest.
const SOON: Duration = Duration::from_secs(30);

/// When a leaf may have been published for the first time. The same leaf can be published again, for example after a file was
/// changed: then PostgreSQL may have loaded an earlier set with it, and a handshake shows no difference. A leaf that is
/// published soon after its issue is published for the first time.
pub(super) fn first_published(written: SystemTime, not_before: SystemTime) -> SystemTime {
    match written.duration_since(not_before) {
        Ok(age) if age > SOON => not_before,
        _ => written,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b109_a_leaf_that_is_published_again_may_have_been_loaded_since_its_issue() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (written, not_before, since) in [
            (1010, 1000, 1010),
            (1030, 1000, 1030),
            (1031, 1000, 1000),
            (90_000, 1000, 1000),
            // The issuer's clock is ahead.
            (1000, 1010, 1000),
        ] {
            assert_eq!(first_published(at(written), at(not_before)), at(since), "{written}");
        }
    }
}
