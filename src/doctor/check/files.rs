//! What is published: one complete set, that *this* PostgreSQL may read, and the one that the agent gives.

use std::time::SystemTime;

use super::material::remedy;
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose;
use crate::doctor::codes;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::material::{Material, pem};
use crate::publish::{self, Examination, NotOurs, Reason, Trust, Unusable};
use crate::source::ExtraAuthorities;
use crate::text::argument;
use crate::watching::Watching;
use crate::{survey, timing};

/// Looks at the directory.
pub(super) fn examine(config: &Config) -> Result<Examination, publish::Error> {
    let service = config.service.iter().map(|service| service.file.clone());
    let companions: Vec<String> = service.chain(config.ident.clone()).collect();
    publish::examine(&config.publish, &companions, &config.source.expectations, timing::now())
}

/// The published set, if it is one.
pub(super) fn material(found: &Examination) -> Option<&Material> {
    found.set.as_ref()?.as_ref().ok()
}

pub(super) fn section(
    config: &Config,
    examined: &Result<Examination, publish::Error>,
    offered: Option<&Material>,
) -> Section {
    let directory = config.publish.directory.display().to_string();
    let mut section = Section::new(Group::Files, directory.clone());
    let found = match examined {
        Ok(found) => found,
        Err(error) => {
            section.add(Finding::failure(codes::directory(error), error.to_string()));
            return section;
        }
    };
    section.extend(trust(&found.trust, &directory));
    section.extend(found.readers.as_ref().and_then(readers_way));
    if let Some(obstacle) = &found.obstacle {
        let anothers = match obstacle {
            publish::Error::NotOurs(found) => anothers(found),
            _ => None,
        };
        section.add(
            anothers.unwrap_or_else(|| {
                Finding::failure(codes::directory(obstacle), obstacle.to_string())
            }),
        );
    }
    let Some(set) = &found.set else {
        if found.obstacle.is_none() {
            section.add(
                Finding::failure(Code::NothingPublished, "nothing is published yet")
                    .fix("start `pgsvid run`, or run `pgsvid fetch` once with the same settings"),
            );
        }
        return section;
    };
    if !found.missing_links.is_empty() && found.obstacle.is_none() {
        section.add(
            Finding::failure(
                Code::LinksMissing,
                format!("no link through ..data: {}", found.missing_links.join(", ")),
            )
            .fix("start `pgsvid run` with these settings: it makes the links"),
        );
    }
    match set {
        Err(unusable) => section.add(explain(unusable)),
        Ok(material) => section.extend(consistent(config, material, found.written_at, offered)),
    }
    section.extend(readable(config));
    section
}

fn trust(trust: &Result<Trust, publish::Error>, directory: &str) -> Option<Finding> {
    let (why, mode) = match trust {
        Ok(Trust::Exclusive) => return None,
        Ok(Trust::Sticky { mode }) => ("its sticky bit is set", mode),
        Ok(Trust::Mount { mode }) => ("it is a mount of its own, as an emptyDir is", mode),
        Ok(Trust::WithinMount { mode }) => {
            return Some(
                Finding::warning(Code::DirectoryShared, format!(
                    "others may rename the directory: it lies in a mount with the mode {mode:04o}; taken because such a \
                     mount is the pod's own, as an emptyDir is"
                ))
                .fix("where nobody else needs to write: chmod 0755 the mount's root, as its owner"),
            );
        }
        Err(publish::Error::WrongOwner { owner, ours: 0, .. }) => {
            return Some(
                Finding::warning(Code::CheckAsRoot, format!(
                    "check runs as root, and {directory} belongs to uid {owner}: what follows is root's view"
                ))
                .fix(format!("run check as the user that runs pgsvid: sudo -u '#{owner}' pgsvid check …")),
            );
        }
        Err(error) => return Some(Finding::failure(codes::directory(error), error.to_string())),
    };
    Some(
        Finding::warning(
            Code::DirectoryShared,
            format!("others may write to the directory (mode {mode:04o}); taken because {why}"),
        )
        .fix("where nobody else needs to write: chmod 0755, as its owner"),
    )
}

/// Another path to the same directory, which readers take.
fn readers_way(trust: &Result<Trust, publish::Error>) -> Option<Finding> {
    let (directory, ancestor, who) = match trust {
        Err(publish::Error::WritableAncestor { directory, ancestor, mode }) => {
            (directory, ancestor, format!("others may write to it (mode {mode:04o})"))
        }
        Err(publish::Error::ForeignAncestor { directory, ancestor, owner, .. }) => {
            (directory, ancestor, format!("it belongs to uid {owner}"))
        }
        // The directory itself was judged by its own path.
        _ => return None,
    };
    let finding = Finding::warning(
        Code::ReadersPathOpen,
        format!(
            "readers take the path {} (files.seen_as), and others can lead them elsewhere at {}: {who}",
            directory.display(),
            ancestor.display()
        ),
    );
    Some(match trust {
        Err(publish::Error::WritableAncestor { .. }) => {
            finding.fix(format!("chmod go-w {}, as its owner", argument(ancestor)))
        }
        _ => finding.fix("let them take a path whose directories and links are all root's"),
    })
}

/// What root finds where pgsvid may run as the other user: then it is the live set, and nothing to be removed.
fn anothers(found: &NotOurs) -> Option<Finding> {
    let Reason::Owner { owner, ours: 0 } = found.reason else { return None };
    (owner != 0).then(|| {
        Finding::failure(
            Code::DirectoryForeignFile,
            format!("check runs as root, and {} belongs to uid {owner}", found.path.display()),
        )
        .cause("if pgsvid runs as that user, this is its set; if it runs as root, others could have put it there")
        .fix(format!("sudo -u '#{owner}' pgsvid check, with the same settings: it says whose the set is"))
    })
}

fn explain(unusable: &Unusable) -> Finding {
    if let Unusable::NotOurs(found) = unusable
        && let Some(finding) = anothers(found)
    {
        return finding;
    }
    let finding =
        Finding::failure(Code::PublishedSet, format!("the published files are no set: {unusable}"));
    match unusable {
        Unusable::Unreadable { .. } => finding.fix(
            "run check as the user that runs pgsvid; if the file is gone, start `pgsvid run`, which restores it",
        ),
        Unusable::NotOurs(found) => finding.fix(format!(
            "start `pgsvid run`: it does not use them, and publishes a set of its own; if they stay: rm -r {}, as root",
            argument(&found.path)
        )),
        Unusable::Malformed { .. } | Unusable::Content(pem::Unusable::Malformed(_)) => {
            finding.fix("start `pgsvid run` (or restart it): it publishes a new set")
        }
        Unusable::Content(pem::Unusable::Rejected(rejection)) => finding.fix(format!(
            "start `pgsvid run` (or see its log): it publishes a new set; if that is refused, too: {}",
            remedy(rejection)
        )),
    }
}

fn consistent(
    config: &Config,
    material: &Material,
    written_at: Option<SystemTime>,
    offered: Option<&Material>,
) -> Vec<Finding> {
    let now = timing::now();
    let left = material.not_after().duration_since(now).unwrap_or_default();
    let of = written_at.map(|at| format!(" of {}", timing::utc(at))).unwrap_or_default();
    let set = format!(
        "one consistent set, generation{of}, serial {}, expires in {}",
        material.leaf().serial().short(),
        timing::roughly(left)
    );
    let Some(offered) = offered else {
        return vec![
            Finding::ok(Code::PublishedSet, set),
            Finding::skipped(
                Code::PublishedNewest,
                "whether it is the agent's newest: the agent gives none",
            ),
        ];
    };
    let more = more_authorities(config, material, offered);
    if offered.publishes_as(material) || offered.leaf() == material.leaf() && more == Some(0) {
        return vec![Finding::ok(Code::PublishedSet, format!("{set}, same SVID as the agent's"))];
    }
    let running = "see that `pgsvid run` runs with these settings, and what its log says";
    let finding = if offered.spiffe_id() != material.spiffe_id() {
        Finding::failure(
            Code::PublishedIdentity,
            format!(
                "the published set is for {}, the agent gives {}",
                material.spiffe_id(),
                offered.spiffe_id()
            ),
        )
        .fix(running)
    } else if offered.leaf() == material.leaf()
        && let Some(more) = more
    {
        Finding::warning(Code::PublishedAuthorities, format!(
            "the published bundle has {more} more authorit{} than the agent's bundle and files.extra_authorities have",
            if more == 1 { "y" } else { "ies" }
        ))
        .cause("PostgreSQL goes on letting in the clients that these have signed")
        .fix(format!("{running}; pgsvid fetch leaves a set as it is that has more than half of its life before it"))
    } else if offered.leaf() == material.leaf() {
        Finding::warning(
            Code::PublishedAuthorities,
            "the agent's bundle has other authorities than the published one",
        )
        .fix(running)
    } else {
        Finding::warning(Code::PublishedNewest, format!(
            "the agent has another SVID than the published one: serial {}, which nobody has published",
            offered.leaf().serial().short()
        ))
        .fix(running)
    };
    vec![Finding::ok(Code::PublishedSet, set), finding]
}

/// How many authorities are published beside the agent's and those of `files.extra_authorities`; `None` if one of the agent's
/// is not published. Of files that cannot be read, which is said elsewhere, any may be.
fn more_authorities(config: &Config, published: &Material, offered: &Material) -> Option<usize> {
    let there: Vec<_> = published.authorities().collect();
    if !offered.authorities().all(|authority| there.contains(&authority)) {
        return None;
    }
    let paths = config.rotation.extra_authorities.clone();
    let Ok(extra) = ExtraAuthorities::read(paths, &Watching::blind()) else { return Some(0) };
    let extra = extra.beside(offered);
    let wanted: Vec<_> = offered.authorities().chain(&extra).collect();
    Some(there.iter().filter(|authority| !wanted.contains(authority)).count())
}

/// Owner, mode and content, by PostgreSQL's own rules.
fn readable(config: &Config) -> Vec<Finding> {
    config.rotation.servers.iter().flat_map(readable_for).collect()
}

fn readable_for(server: &Server) -> Vec<Finding> {
    let files = survey::published_files(&server.session, &server.paths, &server.viewpoint);
    let Some(uid) = files.server_uid else {
        return vec![Finding::skipped(
            Code::TlsFilesReadable,
            format!(
                "owner and mode: PostgreSQL's uid is not known, since {} is no socket of a user that PostgreSQL may run as",
                server.session.socket().display()
            ),
        )];
    };
    let refused = diagnose::refused(&files);
    if refused.is_empty() {
        vec![Finding::ok(
            Code::TlsFilesReadable,
            format!("PostgreSQL (uid {uid}) may read them, and takes the key's owner and mode"),
        )]
    } else {
        refused
    }
}
