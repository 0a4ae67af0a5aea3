//! Whether other users of the machine can replace a file that pgsvid or PostgreSQL reads: they then choose its contents.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::doctor::finding::{Code, Finding};
use crate::publish::{self, Error};
use crate::text::argument;

/// How many links are followed to find a file (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Permissions that let others than the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// How many files a finding names.
const MOST_NAMED: usize = 3;

/// A warning for each reason why users other than root and `uid` can replace files that a PostgreSQL with this `uid` reads.
pub(super) fn of_server(paths: impl Iterator<Item = PathBuf>, uid: u32) -> Vec<Finding> {
    let mut reasons: Vec<((String, String), Vec<String>)> = Vec::new();
    for path in paths.collect::<BTreeSet<_>>() {
        let Some(reason) = why_exchangeable(&path, uid, NamedBy::Server) else { continue };
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
        let text = format!("other users of this machine can replace {named}{more}");
        Finding::warning(Code::FileExchangeable, text).cause(why).fix(fix)
    };
    reasons.into_iter().map(finding).collect()
}

/// The files of `files.extra_authorities` that others can replace.
pub(super) fn extra_authorities(config: &Config) -> Vec<Finding> {
    let ours = rustix::process::geteuid().as_raw();
    let paths = config.rotation.extra_authorities.iter();
    paths
        .filter_map(|path| {
            let (why, fix) = why_exchangeable(path, ours, NamedBy::Operator)?;
            let text = format!(
                "files.extra_authorities: other users of this machine can replace {}, and so choose which clients PostgreSQL lets in",
                path.display()
            );
            Some(Finding::warning(Code::FileExchangeable, text).cause(why).fix(fix))
        })
        .collect()
}

/// Who has named a file. PostgreSQL's superusers and its user may name any file, so a command for root is printed only for
/// files of PostgreSQL's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedBy {
    Operator,
    Server,
}

impl NamedBy {
    /// `command`, if root may be told to run it: the operator named the file, or it belongs to `ours`. Otherwise advice without a
    /// command. `owner` is the uid whose file the command changes, `ours` the uid that reads the file.
    fn command(self, owner: u32, ours: u32, command: String) -> String {
        if self == Self::Operator || owner == ours {
            return command;
        }
        "find out why a line or a setting names this file; change it to a file that belongs to PostgreSQL's user or to root, in a directory where, \
         as in all directories above it, nobody else may write; then reload"
            .to_owned()
    }
}

/// Why users other than root and `ours` can replace the file, and the remedy, in this order. `None` if they cannot, or if the path
/// cannot be examined: another finding reports that.
pub(super) fn why_exchangeable(path: &Path, ours: u32, namer: NamedBy) -> Option<(String, String)> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            return why_creatable(
                path.ancestors().skip(1).find(|above| above.exists())?,
                ours,
                namer,
            );
        }
        let directory = path.parent()?.to_owned();
        match publish::judge_path(&directory, ours) {
            Ok(()) | Err(Error::Open { .. }) => {}
            Err(error) => return Some(explain(&error, ours, namer)),
        }
        let found = std::fs::symlink_metadata(&path).ok()?;
        if found.is_dir() {
            return why_creatable(&path, ours, namer);
        }
        let is_foreign = ![0, ours].contains(&found.uid());
        if found.is_symlink() {
            if is_foreign {
                return Some(foreign(&path, found.uid(), ours, namer));
            }
            path = directory.join(std::fs::read_link(&path).ok()?);
            continue;
        }
        let cause = if is_foreign {
            foreign(&path, found.uid(), ours, namer).0
        } else if found.mode() & OTHERS_WRITE != 0 {
            open(&path, found.mode() & 0o7777, ours, namer).0
        } else {
            return None;
        };
        let within = std::fs::metadata(&directory).ok()?;
        // In a directory for everybody the owner of the file can put a link to a file of root's in its place, and root would copy that.
        if is_sticky(&within) && within.mode() & OTHERS_WRITE != 0 {
            return Some((cause, elsewhere(ours, namer)));
        }
        // The command only takes permissions from root's own file in root's own directory: it is safe, no matter who named the file.
        let owner = if within.uid() == 0 && found.uid() == 0 { ours } else { within.uid() };
        return Some((cause, namer.command(owner, ours, replace(&path, &found, &within))));
    }
    None
}

/// Why others can create files in a directory of which every file is read, or create the file that is missing there; and the
/// remedy. The sticky bit does not prevent that.
fn why_creatable(directory: &Path, ours: u32, namer: NamedBy) -> Option<(String, String)> {
    let found = std::fs::metadata(directory).ok()?;
    if ![0, ours].contains(&found.uid()) {
        return Some(foreign(directory, found.uid(), ours, namer));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        let (cause, fix) = open(directory, found.mode() & 0o7777, ours, namer);
        // A directory with the sticky bit, such as /tmp, must stay writable for everybody: chmod is no remedy.
        let fix = if is_sticky(&found) { elsewhere(ours, namer) } else { fix };
        return Some((cause, fix));
    }
    match publish::judge_path(directory, ours) {
        Ok(()) | Err(Error::Open { .. }) => None,
        Err(error) => Some(explain(&error, ours, namer)),
    }
}

fn is_sticky(directory: &Metadata) -> bool {
    directory.mode() & 0o1000 != 0
}

fn elsewhere(ours: u32, namer: NamedBy) -> String {
    match namer {
        NamedBy::Server => "let the line name a path where nobody but root and PostgreSQL's user may write, then reload".to_owned(),
        NamedBy::Operator => format!("put the file into a directory where nobody but root and uid {ours} may write, and name it there in pgsvid's configuration"),
    }
}

/// The command that replaces a file by a copy. A new owner or mode would not do: a process that has the file open can still write
/// to it. The command runs as the owner of the directory, because that user could lead root elsewhere by a link.
fn replace(path: &Path, file: &Metadata, directory: &Metadata) -> String {
    // Without setuid and setgid, which the owner may have set so that the copy would be root's.
    let mode = file.mode() & 0o777 & !OTHERS_WRITE;
    let (old, new) = (argument(path), argument(format!("{}.new", path.display())));
    let user = as_owner(directory);
    let group = if directory.uid() == 0 { format!(" -g {}", file.gid()) } else { String::new() };
    format!(
        "check that the contents of the file are right, then, as root: {user}install -m {mode:04o}{group} {old} {new} && {user}mv {new} {old}"
    )
}

/// The prefix that makes root run a command as the owner, with a blank at its end; empty for root. As root, the command could
/// follow a link that the owner has made.
pub(super) fn as_owner(owned: &Metadata) -> String {
    match (owned.uid(), owned.gid()) {
        (0, _) => String::new(),
        (uid, gid) => format!("setpriv --reuid={uid} --regid={gid} --clear-groups "),
    }
}

fn explain(error: &Error, ours: u32, namer: NamedBy) -> (String, String) {
    match error {
        Error::WritableByOthers { directory: path, mode }
        | Error::WritableAncestor { ancestor: path, mode, .. } => open(path, *mode, ours, namer),
        Error::WrongOwner { directory: path, owner, .. }
        | Error::ForeignAncestor { ancestor: path, owner, .. } => {
            foreign(path, *owner, ours, namer)
        }
        error => {
            (error.to_string(), "check owner and mode of the directories above the file".to_owned())
        }
    }
}

fn open(path: &Path, mode: u32, ours: u32, namer: NamedBy) -> (String, String) {
    let cause = format!("others may write to {} (mode {mode:04o})", path.display());
    let found = std::fs::metadata(path).ok();
    let owner = found.as_ref().map_or(u32::MAX, MetadataExt::uid);
    let user = found.map(|found| as_owner(&found)).unwrap_or_default();
    (cause, namer.command(owner, ours, format!("{user}chmod go-w {}", argument(path))))
}

fn foreign(path: &Path, owner: u32, ours: u32, namer: NamedBy) -> (String, String) {
    let cause = format!("{} belongs to uid {owner}, not to root or uid {ours}", path.display());
    let fix = format!(
        "put the file into a directory that belongs to root with all directories above it, or, as root: chown -h 0 {}",
        argument(path)
    );
    (cause, namer.command(owner, ours, fix))
}

/// Warnings about files whose directory contains PostgreSQL's data directory: the sandbox lets pgsvid read all of it.
pub(super) fn over_data(config: &Config, data: &Path) -> Vec<Finding> {
    let Ok(data) = std::fs::canonicalize(data) else { return Vec::new() };
    let authorities = config.rotation.extra_authorities.iter();
    let authorities = authorities.map(|path| ("files.extra_authorities", path.as_path()));
    authorities
        .chain(config.password_files())
        .filter_map(|(key, path)| {
            let directory = std::fs::canonicalize(path.parent()?).ok()?;
            data.starts_with(&directory).then(|| {
                Finding::warning(Code::SandboxOpenToData, format!(
                    "{key}: the sandbox lets pgsvid read all of {}, which contains PostgreSQL's data directory: anyone who takes \
                     over pgsvid can read the data",
                    directory.display()
                ))
                .fix(format!(
                    "move {} to a directory of its own, and name it there in {key}",
                    path.file_name().map(PathBuf::from).unwrap_or_default().display()
                ))
            })
        })
        .collect()
}
