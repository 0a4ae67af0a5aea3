//! Whether pgsvid's user may be a superuser over the Unix socket: then anyone who takes over pgsvid may, too.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::postgresql::Answers;
use crate::config::Config;
use crate::diagnose::{AccessFacts, SocketUser, superuser_logins};
use crate::doctor::finding::Finding;
use crate::files;
use crate::sql::MOST_SUPERUSERS;

/// Largest user database that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// pgsvid's user: who has published, and else who asks.
pub(super) fn own_user(config: &Config) -> (u32, Option<String>) {
    let generation = std::fs::metadata(config.publish.directory.join("..data"));
    let uid = generation
        .map_or_else(|_| rustix::process::geteuid().as_raw(), |generation| generation.uid());
    let users = files::text(Path::new("/etc/passwd"), LARGEST).unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    (uid, name)
}

pub(super) fn findings(answers: &Answers, facts: &AccessFacts) -> Vec<Finding> {
    let (uid, name) = answers.own_user.clone();
    let (superusers, more) = &answers.superusers;
    let expressions = answers.expressions.own.clone();
    let user = SocketUser { uid, name, expressions };
    let (concerns, judged) = superuser_logins(facts, &user, superusers);
    let mut findings: Vec<Finding> = concerns.into_iter().map(Finding::from).collect();
    let name = user.name.unwrap_or_else(|| format!("uid {uid}"));
    if !judged {
        findings.push(
            Finding::skipped(format!(
                "whether pgsvid's user, {name}, may be a superuser over the socket: not all lines about it can be judged"
            ))
            .fix("run check where PostgreSQL runs, as its uid, or as a superuser: --user postgres"),
        );
    }
    if *more {
        findings.push(Finding::skipped(format!(
            "whether pgsvid's user, {name}, may be one of the superusers beyond the first {MOST_SUPERUSERS}"
        )));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!(
            "pgsvid's user, {name}, is no superuser over the socket by {} and {}",
            facts.hba, facts.ident
        )));
    }
    findings
}
