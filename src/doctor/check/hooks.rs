//! The hooks: whether their programs exist, may be executed, and cannot be changed by other users; and whether pid files name
//! the right processes. Executes nothing, and sends no signal.

use std::collections::BTreeSet;
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
        section.extend(reloads_patroni(hook));
    }
    Some(section)
}

/// A reload of Patroni while a set is on disk that it cannot load ends its REST API, and the next reload hangs it, which ends in two
/// primaries (docs/patroni.md). `[patroni]` reloads it in the right order.
fn reloads_patroni(hook: &Hook) -> Option<Finding> {
    let is_patroni = |text: &str| text.to_ascii_lowercase().contains("patroni");
    let reloads = match &hook.action {
        Action::Application => false,
        Action::Command(words) => {
            words.iter().any(|word| is_patroni(word))
                && words.iter().any(|word| word.contains("reload") || word.contains("HUP"))
        }
        Action::Signal { signal, pid_file, process } => {
            let runs = || {
                let (pid, _) = find(pid_file, process.as_deref()).ok()?;
                let path = format!("/proc/{pid}/cmdline");
                files::beginning(Path::new(&path), LONGEST_HEAD).ok()
            };
            signal == "HUP"
                && (is_patroni(&pid_file.to_string_lossy())
                    || process.as_deref().is_some_and(is_patroni)
                    || runs().is_some_and(|line| is_patroni(&String::from_utf8_lossy(&line))))
        }
    };
    let text = format!("hook {}: it reloads Patroni without regard to what is on disk", hook.name);
    reloads.then(|| {
        Finding::warning(Code::HookReloadsPatroni, text)
            .about(&hook.name)
            .cause("Patroni that is reloaded with a set that it cannot load loses its REST API, and the next reload hangs it: then there may be two primaries")
            .fix("remove this hook, and add a [patroni] table: pgsvid reloads Patroni once PostgreSQL is proven to serve the set")
    })
}

fn examine(hook: &Hook, user: &User) -> Vec<Finding> {
    let name = &hook.name;
    match &hook.action {
        // Only `exec` has it.
        Action::Application => Vec::new(),
        Action::Command(arguments) => {
            let program = Path::new(arguments.first().map_or("", String::as_str));
            if let Err(error) = may_execute(program, user) {
                return explain(hook, End::NotStarted(error)).into_iter().collect();
            }
            let text = format!(
                "hook {name}: {} may be executed by {}, after {}",
                program.display(),
                user.name,
                hook.when.occasion()
            );
            let fine = Finding::ok(Code::HookCommand, text).about(name);
            let exposed = executed(program, hook, arguments).into_iter().filter_map(|file| {
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
                    "hook {name}: SIG{signal} for process {pid}, after {}",
                    hook.when.occasion()
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

/// Files and directories that may decide what a command does: the program, a script's interpreter, files named by the arguments
/// (a shell or `env` executes one of them), and what the environment names (programs and libraries are loaded from there).
fn executed(program: &Path, hook: &Hook, arguments: &[String]) -> Vec<PathBuf> {
    let mut all = vec![program.to_owned()];
    for word in arguments.iter().skip(1) {
        all.extend(named(word, false));
    }
    for (name, value) in &hook.environment {
        all.extend(named(value, is_search_path(name)));
    }
    let interpreters: Vec<PathBuf> = all.iter().flat_map(|script| interpreter(script)).collect();
    all.extend(interpreters);
    let mut seen = BTreeSet::new();
    all.retain(|path| seen.insert(path.clone()));
    all
}

/// The files that a text names, and its directories if it is a search path. Each part of a list counts as a path, also with
/// blanks.
fn named(text: &str, is_search: bool) -> Vec<PathBuf> {
    let is_search = is_search || loads_from(text);
    let parts = text.split(':').map(PathBuf::from).filter(|path| path.is_absolute());
    let whole = Some(PathBuf::from(text)).filter(|path| path.is_absolute() && path.exists());
    // A file that is missing can be created where others may do so.
    let is_of_code =
        |path: &PathBuf| path.is_file() || !path.exists() || is_search && path.is_dir();
    paths_in(text).into_iter().chain(parts).chain(whole).filter(is_of_code).collect()
}

/// The absolute paths in a text: also within the text of a shell, behind the letter of an option, and in a list.
fn paths_in(text: &str) -> Vec<PathBuf> {
    let words = text.split(|c: char| c.is_whitespace() || "'\"`;&|=:@,()<>{}$".contains(c));
    let paths = words.filter_map(|word| match word.strip_prefix('-') {
        Some(option) => option.find('/').map(|start| &option[start..]),
        None => word.starts_with('/').then_some(word),
    });
    paths.map(PathBuf::from).collect()
}

/// Whether a text names a directory of modules, as `-I` of perl does.
fn loads_from(text: &str) -> bool {
    text.split_whitespace().any(|word| word.starts_with("-I") || word.starts_with("-L"))
}

/// Whether a variable names directories from which programs, libraries or a shell's files are taken.
fn is_search_path(variable: &str) -> bool {
    ["PATH", "LIB", "HOME"].iter().any(|end| variable.ends_with(end))
}

/// The program of a script's first line, and the files that the line names (`execve(2)`).
fn interpreter(script: &Path) -> Vec<PathBuf> {
    let head = files::beginning(script, LONGEST_HEAD).unwrap_or_default();
    let Some(line) = head.strip_prefix(b"#!") else { return Vec::new() };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let program = words.next().map(|name| PathBuf::from(OsStr::from_bytes(name)));
    let named = words.flat_map(|word| paths_in(&String::from_utf8_lossy(word)));
    program.into_iter().chain(named.filter(|path| path.is_file())).collect()
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
