//! The published files: whether they are one complete set that *this* PostgreSQL may read, and the one that the agent offers.

use std::path::Path;
use std::time::SystemTime;

use super::configuration::is_mounted_read_only;
use super::material::remedy;
use super::readable::readable;
use super::store_passwords;
use crate::config::Config;
use crate::doctor::codes;
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::material::{Material, Rejection};
use crate::publish::{self, Examination, NotOurs, Place, Reason, Trust, Unusable};
use crate::source::ExtraAuthorities;
use crate::text::argument;
use crate::timing;
use crate::watching::Watching;

const RUNNING: &str = "check that `pgsvid run` runs with these settings, and read its log";

/// The result of an examination: fails if the directory cannot be opened.
pub(super) type Examined = Result<Examination, publish::Error>;

/// Examines the directory; `None` if there is none.
pub(super) fn examine(config: &Config) -> Option<Examined> {
    let publish = config.place.directory()?;
    Some(publish::examine(publish, config.source.expectations(), timing::now()))
}

/// The set that was published last, even if it has expired since.
pub(super) fn last(config: &Config) -> Option<Material> {
    let publish = config.place.directory()?;
    let written_at = examine(config)?.ok()?.written_at?;
    publish::examine(publish, config.source.expectations(), written_at).ok()?.set?.ok()
}

/// The set that consumers find now, if it is complete.
pub(super) fn newest(config: &Config) -> Option<Material> {
    match &config.place {
        Place::Directory(_) => examine(config)?.ok()?.set?.ok(),
        Place::InPlace(place) => place.read(config.source.expectations(), timing::now()).ok(),
        Place::Memory => None,
    }
}

/// When that set was written.
pub(super) fn written_at(config: &Config) -> Option<SystemTime> {
    match &config.place {
        Place::Directory(_) => examine(config)?.ok()?.written_at,
        Place::InPlace(place) => place.written_at(),
        Place::Memory => None,
    }
}

/// The published set, if it is complete.
pub(super) fn material(found: &Examination) -> Option<&Material> {
    found.set.as_ref()?.as_ref().ok()
}

pub(super) fn section(config: &Config, examined: &Examined, offered: Option<&Material>) -> Section {
    let directory = config.place.base().display().to_string();
    let mut section = Section::new(Group::Files, directory.clone());
    let found = match examined {
        Ok(found) => found,
        Err(error) => {
            section.add(unusable(error));
            return section;
        }
    };
    section.extend(trust(&found.trust, &directory));
    section.extend(store_passwords::unusable(config));
    let full = full(config.place.base());
    let is_newest = found.set.as_ref().is_some_and(|set| {
        set.as_ref()
            .is_ok_and(|material| offered.is_none_or(|offered| offered.leaf() == material.leaf()))
    });
    // Only a warning while the newest set is published: if the next one does not fit, `run` removes older sets, if it can.
    section.extend(full.clone().map(|full| Finding {
        severity: if is_newest { Severity::Warning } else { Severity::Failure },
        ..full
    }));
    section.extend(found.readers.as_ref().and_then(readers_way));
    if let Some(obstacle) = &found.obstacle {
        let anothers = match obstacle {
            publish::Error::NotOurs(found) => of_another_user(found),
            _ => None,
        };
        section.add(anothers.unwrap_or_else(|| unusable(obstacle)));
    }
    // A finding about the configuration names the mount.
    let unwritable = found.unwritable.as_ref().filter(|_| !is_mounted_read_only(config));
    section.extend(unwritable.map(unusable));
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
                format!(
                    "these names are not links through ..data: {}",
                    found.missing_links.join(", ")
                ),
            )
            .fix("start `pgsvid run` with these settings: it creates the links"),
        );
    }
    if !found.changed.is_empty() {
        let named: Vec<String> =
            found.changed.iter().map(|(name, how)| format!("{name} ({how})")).collect();
        section.add(
            Finding::failure(
                Code::PublishedSet,
                format!("files of the set are not as pgsvid wrote them: {}", named.join(", ")),
            )
            .cause("what reads them fails, or reads the contents of others")
            .fix(
                "start `pgsvid run`, or run `pgsvid fetch`, with these settings: it restores them",
            ),
        );
    }
    // What is wrong with the directory, so that nothing newer was published.
    let mut failures = section.findings.iter().filter(|found| found.severity == Severity::Failure);
    let hindrance = full.or_else(|| failures.next().cloned());
    match set {
        Err(unusable) => section.add(explain(unusable, offered, hindrance)),
        Ok(material) => {
            section.extend(consistent(config, material, found.written_at, offered, hindrance));
        }
    }
    section.extend(readable(config));
    section
}

/// The finding about a directory to which nothing can be published.
fn unusable(error: &publish::Error) -> Finding {
    let finding = Finding::failure(codes::directory(error), error.to_string());
    let finding = match error.fix() {
        Some(fix) => finding.fix(fix),
        None => finding,
    };
    match error.command() {
        Some(command) => finding.command(command),
        None => finding,
    }
}

/// The finding about a volume without room for another set.
fn full(directory: &Path) -> Option<Finding> {
    publish::is_full(directory).then(|| {
        Finding::failure(
            Code::DirectoryFull,
            format!("the volume of {} is full: no newer set can be published", directory.display()),
        )
        .fix(format!("{}. This shows its usage:", publish::FREE_SPACE))
        .command(format!("df -h {0} && df -i {0}", argument(directory)))
    })
}

fn trust(trust: &Result<Trust, publish::Error>, directory: &str) -> Option<Finding> {
    let (why, mode) = match trust {
        Ok(Trust::Exclusive) => return None,
        Ok(Trust::Sticky { mode }) => ("its sticky bit is set", mode),
        Ok(Trust::Mount { mode }) => ("it is a mount of its own, as an emptyDir is", mode),
        Ok(Trust::WithinMount { mode }) => {
            return Some(
                Finding::warning(Code::DirectoryShared, format!(
                    "others may rename the directory: it is in a mount with the mode {mode:04o}; accepted: a \
                     mount such as an emptyDir belongs to this pod alone"
                ))
                .fix("if nobody else needs to write, as the owner of the mount's root")
                .command(format!("chmod 0755 \"$(stat -c %m {})\"", argument(directory))),
            );
        }
        Err(publish::Error::WrongOwner { owner, ours: 0, .. }) => {
            return Some(
                Finding::warning(Code::CheckAsRoot, format!(
                    "check runs as root, and {directory} belongs to uid {owner}: the findings below show root's view"
                ))
                .fix(format!("run check as the user that runs pgsvid: sudo -u '#{owner}' pgsvid check …")),
            );
        }
        Err(error) => return Some(unusable(error)),
    };
    Some(
        Finding::warning(
            Code::DirectoryShared,
            format!("others may write to the directory (mode {mode:04o}); accepted because {why}"),
        )
        .fix(if mode & 0o2020 == 0o2020 {
            "if nobody else needs to write: on Kubernetes leave fsGroup out, because it sets this mode at each start; elsewhere, as its \
             owner"
        } else {
            "if nobody else needs to write, as its owner"
        })
        .command(format!("chmod 0755 {}", argument(directory))),
    )
}

/// Checks another path to the same directory, which readers use.
fn readers_way(trust: &Result<Trust, publish::Error>) -> Option<Finding> {
    let (directory, ancestor, who) = match trust {
        Err(publish::Error::WritableAncestor { directory, ancestor, mode }) => {
            (directory, ancestor, format!("others may write to it (mode {mode:04o})"))
        }
        Err(publish::Error::ForeignAncestor { directory, ancestor, owner, .. }) => {
            (directory, ancestor, format!("it belongs to uid {owner}"))
        }
        // The directory itself is judged by its own path.
        _ => return None,
    };
    let finding = Finding::warning(
        Code::ReadersPathOpen,
        format!(
            "readers use the path {} (files.seen_as), and others can redirect them at {}: {who}",
            directory.display(),
            ancestor.display()
        ),
    );
    Some(match trust {
        Err(publish::Error::WritableAncestor { .. }) => {
            finding.fix(format!("chmod go-w {}, as its owner", argument(ancestor)))
        }
        _ => finding.fix("let them use a path whose directories and links all belong to root"),
    })
}

/// The finding if root runs `check` and the entry belongs to another user; `None` otherwise. It recommends no removal, because
/// pgsvid may run as that user, and then the entry is part of the current set.
fn of_another_user(found: &NotOurs) -> Option<Finding> {
    let Reason::Owner { owner, ours: 0 } = found.reason else { return None };
    (owner != 0).then(|| {
        Finding::failure(
            Code::DirectoryForeignFile,
            format!("check runs as root, and {} belongs to uid {owner}", found.path.display()),
        )
        .cause("if pgsvid runs as that user, this is its set; if it runs as root, others could have created it")
        .fix(format!("sudo -u '#{owner}' pgsvid check, with the same settings: it shows whose the set is"))
    })
}

fn explain(unusable: &Unusable, offered: Option<&Material>, hindrance: Option<Finding>) -> Finding {
    if let Unusable::NotOurs(found) = unusable
        && let Some(finding) = of_another_user(found)
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
            "start `pgsvid run`: it ignores them, and publishes its own set; if they stay: rm -r {}, as root",
            argument(&found.path)
        )),
        Unusable::Hint { .. } => finding
            .fix("start pgsvid run with this configuration: it publishes the SVID with that hint"),
        Unusable::Malformed { .. } => {
            finding.fix("start `pgsvid run` (or restart it): it publishes a new set")
        }
        // The set was valid: no clock is wrong, but nothing newer was published.
        Unusable::Rejected(Rejection::Expired(_)) => {
            match (hindrance, offered) {
                (Some(hindrance), _) => finding.because_of(hindrance),
                (None, Some(_)) => finding
                    .cause("the agent has a newer SVID, but nobody has published it")
                    .fix(RUNNING),
                (None, None) => finding
                    .cause("the agent offers no newer SVID")
                    .fix("see the findings about the Workload API above, and fix those first"),
            }
        }
        Unusable::Rejected(rejection) => finding.fix(format!(
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
    hindrance: Option<Finding>,
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
                if config.source.files().is_some() {
                    "whether it is the newest: the source's files are not a set"
                } else {
                    "whether it is the agent's newest: the agent offers none"
                },
            ),
        ];
    };
    let more = more_authorities(config, material, offered);
    if offered.publishes_as(material) || offered.leaf() == material.leaf() && more == Some(0) {
        let same = if config.source.files().is_some() {
            "same certificate as the source's"
        } else {
            "same SVID as the agent's"
        };
        return vec![Finding::ok(Code::PublishedSet, format!("{set}, {same}"))];
    }
    let running = RUNNING;
    let giver = config.source.giver();
    let finding = if offered.name() != material.name() {
        Finding::failure(
            Code::PublishedIdentity,
            format!(
                "the published set is for {}, but {giver} offers {}",
                material.name(),
                offered.name()
            ),
        )
        .fix(running)
    } else if offered.leaf() == material.leaf()
        && let Some(more) = more
    {
        Finding::warning(Code::PublishedAuthorities, format!(
            "the published bundle has {more} more authorit{} than {giver}'s bundle and files.extra_authorities",
            if more == 1 { "y" } else { "ies" }
        ))
        .cause("PostgreSQL still lets in clients whose certificates these have signed")
        .fix(running)
    } else if offered.leaf() == material.leaf() {
        Finding::warning(
            Code::PublishedAuthorities,
            format!("{giver}'s bundle has other authorities than the published one"),
        )
        .fix(running)
    } else {
        let finding = Finding::warning(
            Code::PublishedNewest,
            format!(
                "{giver} has another SVID than the published one: serial {}, which nobody has published",
                offered.leaf().serial().short()
            ),
        );
        match hindrance {
            Some(hindrance) => finding.because_of(hindrance),
            None => finding.fix(running),
        }
    };
    vec![Finding::ok(Code::PublishedSet, set), finding]
}

/// How many authorities are published in addition to the agent's and those of `files.extra_authorities`; `None` if one of the
/// agent's is not published. Unreadable files, which have their own finding, may hold any.
fn more_authorities(config: &Config, published: &Material, offered: &Material) -> Option<usize> {
    let published_authorities: Vec<_> = published.authorities().collect();
    if !offered.authorities().all(|authority| published_authorities.contains(&authority)) {
        return None;
    }
    let paths = config.rotation.extra_authorities.clone();
    let Ok(extra) = ExtraAuthorities::read(paths, &Watching::blind()) else { return Some(0) };
    let extra = extra.beside(offered);
    let wanted: Vec<_> = offered.authorities().chain(&extra).collect();
    Some(published_authorities.iter().filter(|authority| !wanted.contains(authority)).count())
}
