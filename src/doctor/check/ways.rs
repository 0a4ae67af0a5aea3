//! Whether other users of the machine can exchange a file that pgsvid or PostgreSQL reads: they then choose its contents.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::doctor::finding::{Code, Finding};
use crate::publish::{self, Error};
use crate::text::argument;

/// How many links a file is looked for through (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Bits by which others than a file's owner may write to it.
const OTHERS_WRITE: u32 = 0o022;
/// How many files are named in a finding.
const MOST_NAMED: usize = 3;

/// The files that PostgreSQL of that uid reads, as far as others can exchange them. Each reason is told once.
pub(super) fn of_server(paths: impl Iterator<Item = PathBuf>, uid: u32) -> Vec<Finding> {
    let mut reasons: Vec<((String, String), Vec<String>)> = Vec::new();
    for path in paths.collect::<BTreeSet<_>>() {
        let Some(reason) = exchangeable(&path, uid) else { continue };
        let named = path.display().to_string();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, paths)) => paths.push(named),
            None => reasons.push((reason, vec![named])),
        }
    }
    let finding = |((why, fix), paths): ((String, String), Vec<String>)| {
        let more = paths.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = paths.get(..MOST_NAMED).unwrap_or(&paths).join(", ");
        let text = format!("other users of this machine can exchange {named}{more}");
        Finding::warning(Code::FileExchangeable, text).cause(why).fix(fix)
    };
    reasons.into_iter().map(finding).collect()
}

/// The files of `files.extra_authorities` that others can exchange.
pub(super) fn extra_authorities(config: &Config) -> Vec<Finding> {
    let ours = rustix::process::geteuid().as_raw();
    let paths = config.rotation.extra_authorities.iter();
    paths
        .filter_map(|path| {
            let (why, fix) = exchangeable(path, ours)?;
            let text = format!(
                "files.extra_authorities: other users of this machine can exchange {}, and so choose which clients PostgreSQL lets in",
                path.display()
            );
            Some(Finding::warning(Code::FileExchangeable, text).cause(why).fix(fix))
        })
        .collect()
}

/// Why others than root and `ours` can exchange the file, and what to do about it; `None` if they cannot, or if it cannot be
/// looked at, which is said elsewhere.
pub(super) fn exchangeable(path: &Path, ours: u32) -> Option<(String, String)> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            return fillable(path.ancestors().skip(1).find(|above| above.exists())?, ours);
        }
        let directory = path.parent()?.to_owned();
        match publish::judge_way(&directory, ours) {
            Ok(()) | Err(Error::Open { .. }) => {}
            Err(error) => return Some(explain(&error, ours)),
        }
        let found = std::fs::symlink_metadata(&path).ok()?;
        if found.is_dir() {
            return fillable(&path, ours);
        }
        let is_foreign = ![0, ours].contains(&found.uid());
        if found.is_symlink() {
            if is_foreign {
                return Some(foreign(&path, found.uid(), ours));
            }
            path = directory.join(std::fs::read_link(&path).ok()?);
            continue;
        }
        let cause = if is_foreign {
            foreign(&path, found.uid(), ours).0
        } else if found.mode() & OTHERS_WRITE != 0 {
            open(&path, found.mode() & 0o7777).0
        } else {
            return None;
        };
        return Some((cause, replace(&path, &found, &std::fs::metadata(&directory).ok()?)));
    }
    None
}

/// Why others can make files in a directory whose files are read as they come, or one that is not there yet. The sticky bit keeps
/// nobody from that.
fn fillable(directory: &Path, ours: u32) -> Option<(String, String)> {
    let found = std::fs::metadata(directory).ok()?;
    if ![0, ours].contains(&found.uid()) {
        return Some(foreign(directory, found.uid(), ours));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        let (cause, fix) = open(directory, found.mode() & 0o7777);
        // Of a directory that is for everybody, such as /tmp, the mode is right.
        let fix = if found.mode() & 0o1000 == 0 {
            fix
        } else {
            "let the line name a path where nobody but root and PostgreSQL's user may write, then reload".to_owned()
        };
        return Some((cause, fix));
    }
    match publish::judge_way(directory, ours) {
        Ok(()) | Err(Error::Open { .. }) => None,
        Err(error) => Some(explain(&error, ours)),
    }
}

/// The command that puts a copy in a file's place: who has opened the file before can go on writing to it, whatever its owner and
/// mode are by then. It runs as the owner of the directory, who could otherwise lead root elsewhere by links.
fn replace(path: &Path, file: &Metadata, directory: &Metadata) -> String {
    // Without setuid and setgid, which its owner may have set for the copy to be root's.
    let mode = file.mode() & 0o777 & !OTHERS_WRITE;
    let (old, new) = (argument(path), argument(format!("{}.new", path.display())));
    let (uid, gid) = (directory.uid(), directory.gid());
    let (user, group) = if uid == 0 {
        (String::new(), format!(" -g {}", file.gid()))
    } else {
        (format!("setpriv --reuid={uid} --regid={gid} --clear-groups "), String::new())
    };
    format!(
        "see whether its contents are right, then, as root: {user}install -m {mode:04o}{group} {old} {new} && {user}mv {new} {old}"
    )
}

fn explain(error: &Error, ours: u32) -> (String, String) {
    match error {
        Error::WritableByOthers { directory: path, mode }
        | Error::WritableAncestor { ancestor: path, mode, .. } => open(path, *mode),
        Error::WrongOwner { directory: path, owner, .. }
        | Error::ForeignAncestor { ancestor: path, owner, .. } => foreign(path, *owner, ours),
        error => (error.to_string(), "look at the directories on the way to it".to_owned()),
    }
}

fn open(path: &Path, mode: u32) -> (String, String) {
    let cause = format!("others may write to {} (mode {mode:04o})", path.display());
    (cause, format!("chmod go-w {}", argument(path)))
}

fn foreign(path: &Path, owner: u32, ours: u32) -> (String, String) {
    let cause =
        format!("{} belongs to uid {owner}, and not to root or to uid {ours}", path.display());
    let fix = format!(
        "put the file where all directories are root's, or, as root: chown -h 0 {}",
        argument(path)
    );
    (cause, fix)
}

/// Directories that the sandbox lets pgsvid read for the sake of one file, with PostgreSQL's data directory in them.
pub(super) fn over_data(config: &Config, data: &Path) -> Vec<Finding> {
    let Ok(data) = std::fs::canonicalize(data) else { return Vec::new() };
    let servers = config.rotation.servers.iter();
    let passwords = servers.filter_map(|server| server.session.password_file.as_ref());
    let named =
        config.rotation.extra_authorities.iter().map(|path| ("files.extra_authorities", path));
    named
        .chain(passwords.map(|path| ("postgres.password_file", path)))
        .filter_map(|(key, path)| {
            let directory = std::fs::canonicalize(path.parent()?).ok()?;
            data.starts_with(&directory).then(|| {
                Finding::warning(Code::SandboxOpenToData, format!(
                    "{key}: the sandbox lets pgsvid read all of {}, where PostgreSQL's data directory lies: anyone who takes \
                     over pgsvid can read the data",
                    directory.display()
                ))
                .fix(format!(
                    "give {} a directory of its own, and name it there in {key}",
                    path.file_name().map(PathBuf::from).unwrap_or_default().display()
                ))
            })
        })
        .collect()
}
