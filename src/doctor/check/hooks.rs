//! The hooks: whether their programs exist, may be executed, and cannot be changed by other users; and whether pid files name
//! the right processes. Executes nothing, and sends no signal.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::exchangeable::{self, NamedBy};
use super::own_user::own_user;
use crate::config::Config;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::files;
use crate::hooks::{Action, End, Hook, User, explain, find};
use crate::text::shown;

/// How much of a script's first line the kernel reads, in bytes (`BINPRM_BUF_SIZE`).
const LONGEST_HEAD: u64 = 256;

/// The section, if there are hooks.
pub(super) fn section(config: &Config) -> Option<Section> {
    let hooks = &config.rotation.hooks;
    if hooks.is_empty() {
        return None;
    }
    let names: Vec<_> = hooks.iter().map(|hook| hook.name.as_str()).collect();
    let mut section = Section::new(Group::Hooks, names.join(", "));
    let (uid, name) = own_user(config);
    let name = name.unwrap_or_else(|| uid.to_string());
    let own = User::look_up(&name, uid);
    for hook in hooks {
        let user = hook.user.as_ref().unwrap_or(&own);
        if user.uid != own.uid && own.uid != 0 {
            section.extend(explain(hook, End::NotTheUser(libc::EPERM)));
        } else {
            section.extend(examine(hook, user));
        }
    }
    Some(section)
}

fn examine(hook: &Hook, user: &User) -> Vec<Finding> {
    let name = &hook.name;
    match &hook.action {
        Action::Command(arguments) => {
            let program = Path::new(arguments.first().map_or("", String::as_str));
            if let Err(error) = may_execute(program, user) {
                return explain(hook, End::NotStarted(error)).into_iter().collect();
            }
            let text = format!(
                "hook {name}: {} may be executed by {}, after each set is {}",
                program.display(),
                user.name,
                hook.when.name()
            );
            let fine = Finding::ok(Code::HookCommand, text).about(name);
            let exposed = executed(program, arguments).into_iter().filter_map(|file| {
                let (why, fix) =
                    exchangeable::why_exchangeable(&file, user.uid, NamedBy::Operator)?;
                let text = format!(
                    "other users of this machine can replace {}, which the hook {name} uses as {}",
                    shown(&file.display().to_string()),
                    user.name
                );
                let found = Finding::warning(Code::HookCommandExposed, text);
                Some(found.about(name).cause(why).fix(fix))
            });
            std::iter::once(fine).chain(exposed).collect()
        }
        Action::Signal { signal, pid_file, process } => match find(pid_file, process.as_deref()) {
            Ok((pid, _)) => {
                let text = format!(
                    "hook {name}: SIG{signal} for process {pid}, after each set is {}",
                    hook.when.name()
                );
                vec![Finding::ok(Code::HookPidFile, text).about(name)]
            }
            // This user cannot read the file, but the hook's user perhaps can: that is no failure.
            Err(End::PidFileUnreadable(libc::EACCES)) if geteuid().as_raw() != user.uid => {
                let text = format!(
                    "hook {name}: {} cannot be read by this user; run check as {}",
                    pid_file.display(),
                    user.name
                );
                vec![Finding::skipped(Code::HookPidFile, text).about(name)]
            }
            Err(end) => explain(hook, end).into_iter().collect(),
        },
    }
}

/// The files that may decide what a command does: the program, the interpreter of a script, and files among the arguments, of
/// which a shell or `env` executes one.
fn executed(program: &Path, arguments: &[String]) -> Vec<PathBuf> {
    let words = arguments.iter().skip(1).map(String::as_str);
    // `--file=/path`, too.
    let named = words.flat_map(|word| [Some(word), word.split_once('=').map(|(_, value)| value)]);
    let named = named.flatten().map(PathBuf::from);
    let named = named.filter(|path| path.is_absolute() && path.is_file());
    let mut all = vec![program.to_owned()];
    all.extend(named);
    let interpreters = all.iter().filter_map(|script| interpreter(script));
    let new: Vec<_> = interpreters.filter(|program| !all.contains(program)).collect();
    all.extend(new);
    all
}

/// The program of a script's first line (`execve(2)`).
fn interpreter(script: &Path) -> Option<PathBuf> {
    let head = files::beginning(script, LONGEST_HEAD).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let words = line.split(u8::is_ascii_whitespace);
    let name = words.into_iter().find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// Whether a user may execute a file; the kernel's error if not. Ignores access control lists.
fn may_execute(program: &Path, user: &User) -> Result<(), i32> {
    let number = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EACCES);
    let resolved = std::fs::canonicalize(program).map_err(number)?;
    for (depth, path) in resolved.ancestors().enumerate() {
        let found = std::fs::metadata(path).map_err(number)?;
        if depth == 0 && !found.is_file() {
            return Err(libc::EACCES);
        }
        if !may_enter(&found, user) {
            return Err(libc::EACCES);
        }
    }
    Ok(())
}

fn may_enter(found: &Metadata, user: &User) -> bool {
    let mode = found.mode();
    if user.uid == 0 {
        return found.is_dir() || mode & 0o111 != 0;
    }
    let bit = if found.uid() == user.uid {
        0o100
    } else if found.gid() == user.gid || user.groups.contains(&found.gid()) {
        0o010
    } else {
        0o001
    };
    mode & bit != 0
}
