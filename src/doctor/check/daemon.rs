//! What the running daemon reports and `check` cannot see: what has changed since an earlier set, and what is pending.
//!
//! While the daemon is down, any user can listen at its address. So `check` asks only a process of pgsvid's user or root,
//! repeats no remedy of the answer, and reports its failures only as warnings.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

use super::own_user::own_user;
use crate::config::Config;
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::http::{self, Listen};
use crate::status::{FindingView, View};
use crate::survey;
use crate::text::{sentence, shown};

/// Most findings of the daemon that are repeated.
const MOST: usize = 20;

/// The section, if the daemon has an address. `known` are the sections of everything that was examined.
pub(super) async fn section(config: &Config, known: &[Section]) -> Option<Section> {
    let listen = config.health.clone()?;
    let mut section = Section::new(Group::Daemon, shown(&listen.to_string()));
    if let Some(uid) = stranger(&listen, config) {
        section.add(
            Finding::warning(
                Code::DaemonStatus,
                format!("the daemon is not running, so nothing is renewed. Another user (uid {uid}) has taken its address"),
            )
            .cause("any user can listen there while the daemon does not run")
            .fix("end that process and start `pgsvid run`; a Unix socket in a directory of pgsvid's user is closed to others"),
        );
        return Some(section);
    }
    let asked = tokio::task::spawn_blocking(move || http::ask(&listen));
    let answer = match asked.await {
        Ok(Ok(view)) => Ok(view),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(view) => match other_configuration(&view, config) {
            Some(found) => section.add(found),
            None => section.extend(findings(&view, known)),
        },
        Err(why) => section.add(
            Finding::skipped(
                Code::DaemonStatus,
                format!("whether the daemon reports a problem: {}", sentence(&why)),
            )
            .fix("start `pgsvid run`; while it does not run, nothing is renewed"),
        ),
    }
    Some(section)
}

/// The finding about a daemon with another configuration, whose answer says nothing about this one.
fn other_configuration(view: &View, config: &Config) -> Option<Finding> {
    let ours = config.place.base();
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let is_ours =
        |theirs: &Path| theirs == ours || real(theirs).is_some_and(|it| Some(it) == real(ours));
    if view.targets.iter().any(|target| is_ours(Path::new(&target.name))) {
        return None;
    }
    let theirs: Vec<String> =
        view.targets.iter().take(MOST).map(|target| shown(&target.name)).collect();
    let text = format!(
        "the daemon at this address has another configuration: its files are in {}, and those of this one in {}",
        theirs.join(", "),
        shown(&ours.display().to_string())
    );
    let finding = Finding::failure(Code::DaemonStatus, text)
        .cause("no daemon runs with this configuration, so nothing is renewed: two cannot listen at one address")
        .fix("give each configuration a health.listen of its own, then start `pgsvid run` with this one");
    Some(finding)
}

/// The user whose process listens there, if that is neither root, nor pgsvid's user, nor this process's. `None` if nobody listens,
/// or the kernel does not tell.
fn stranger(listen: &Listen, config: &Config) -> Option<u32> {
    let (ours, _) = own_user(config);
    let trusted = [0, ours, geteuid().as_raw()];
    let owners: Vec<u32> = match listen {
        Listen::Tcp(address) => survey::listeners(address.port())
            .into_iter()
            // A connection to an unspecified address goes to the loopback, where another process may listen.
            .filter(|it| {
                it.address == address.ip()
                    || it.address.is_unspecified()
                    || address.ip().is_unspecified()
            })
            .map(|it| it.uid)
            .collect(),
        Listen::Unix(path) => std::fs::metadata(path).ok().map(|it| it.uid()).into_iter().collect(),
    };
    owners.into_iter().find(|uid| !trusted.contains(uid))
}

/// The findings that the daemon reports, without those that `check` has found itself.
fn findings(view: &View, known: &[Section]) -> Vec<Finding> {
    let is_bad = |found: &&Finding| found.severity >= Severity::Warning;
    let known: BTreeSet<&str> = known
        .iter()
        .flat_map(|section| &section.findings)
        .filter(is_bad)
        .map(|found| found.code.name())
        .collect();
    let of_targets = view.targets.iter().flat_map(|target| &target.findings);
    let of_consumers = view.consumers.iter().flat_map(|consumer| &consumer.findings);
    let is_news = |found: &&FindingView| {
        let is_bad = ["warning", "failure"].contains(&found.severity.as_str());
        is_bad && !known.contains(found.code.as_str())
    };
    let reported: Vec<Finding> =
        of_targets.chain(of_consumers).filter(is_news).take(MOST).map(reported).collect();
    if !reported.is_empty() {
        return reported;
    }
    let state = match (view.ready, view.degraded.is_empty()) {
        (true, true) => "it is ready",
        (true, false) => "it is ready, but degraded",
        (false, _) => "it is not ready",
    };
    let text = format!("the daemon runs, and reports nothing beyond the findings above: {state}");
    if view.ready && view.degraded.is_empty() {
        return vec![Finding::ok(Code::DaemonStatus, text)];
    }
    let why: Vec<&str> = view.missing.iter().chain(&view.degraded).map(String::as_str).collect();
    vec![
        Finding::warning(Code::DaemonStatus, text)
            .cause(sentence(&why.join("; ")))
            .fix("see pgsvid status"),
    ]
}

fn reported(found: &FindingView) -> Finding {
    Finding::warning(Code::DaemonStatus, format!("the daemon reports: {}", sentence(&found.text)))
        .about(shown(&found.code))
        .fix("pgsvid status shows its remedy")
}
