//! Whether each PostgreSQL may read the published files, and accepts the key's owner and mode.

use crate::config::Config;
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::{diagnose, survey};

/// Checks owner, mode and content by PostgreSQL's own rules.
pub(super) fn readable(config: &Config) -> Vec<Finding> {
    config.rotation.servers.iter().flat_map(readable_for).collect()
}

fn readable_for(server: &Server) -> Vec<Finding> {
    let files = survey::published_files(&server.session, &server.paths, &server.viewpoint);
    let Some(uid) = files.server_uid else {
        return vec![Finding::skipped(
            Code::TlsFilesReadable,
            format!(
                "owner and mode: PostgreSQL's uid is unknown, because {} is not a socket of a user that PostgreSQL may run as",
                server.session.socket().display()
            ),
        )];
    };
    let refused = diagnose::refused(&files);
    if refused.is_empty() {
        vec![Finding::ok(
            Code::TlsFilesReadable,
            format!("PostgreSQL (uid {uid}) may read them, and accepts the key's owner and mode"),
        )]
    } else {
        refused
    }
}
