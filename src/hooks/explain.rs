//! What the end of a run means, and what fixes it.

use std::io;

use super::{Action, End, Hook};
use crate::finding::{Code, Finding};
use crate::text::argument;
use crate::timing;

const EXEC_FORMAT: i32 = libc::ENOEXEC;

/// Why a run has failed. `None` if it has not.
#[must_use]
pub fn explain(hook: &Hook, end: End) -> Option<Finding> {
    let name = &hook.name;
    let failure = |code, text: String| Finding::failure(code, text).about(name);
    let user = hook.user.as_ref().map(|user| user.name.as_str());
    let program = match &hook.action {
        Action::Command(arguments) => arguments.first().map_or("", String::as_str),
        Action::Signal { .. } | Action::Application => "",
    };
    Some(match end {
        End::Exited(0) | End::Delivered | End::NotNeeded => return None,
        End::Exited(status) => failure(
            Code::HookCommandFailed,
            format!("the hook {name} has failed: {program} ended with exit status {status}"),
        )
        .fix(format!("check what it has written (output), and run it by hand{}", as_user(user))),
        End::Killed(signal) => failure(
            Code::HookKilled,
            format!("the hook {name} was killed: {program} ended by signal {signal}"),
        )
        .fix("see who has sent the signal; after signal 9, see whether the kernel was out of memory (dmesg)"),
        End::TimedOut => failure(
            Code::HookTimedOut,
            format!(
                "the hook {name} did not end within {}, and was killed with all that it had started",
                timing::shortly(hook.timeout)
            ),
        )
        .fix("check what it waits for, or raise hooks.timeout"),
        End::NotStarted(error) => not_started(hook, program, error),
        End::NotTheUser(error) => failure(
            Code::HookUserRefused,
            format!("the hook {name} cannot become the user {}", user.unwrap_or_default()),
        )
        .cause(system(error))
        .fix("run pgsvid as root, or as that user; or leave hooks.user out"),
        End::Busy if hook.action == Action::Application => {
            failure(Code::HookUnanswered, format!("the {name} cannot be signalled yet: it is still ending, or does not handle the signal"))
                .fix("wait until it has started; if it does not handle the signal, choose another --on-rotation")
        }
        End::Busy => failure(Code::HookUnanswered, format!("the hook {name} still runs for an earlier set"))
            .fix("wait: it is run again as soon as that has ended"),
        End::Unknown => changed(hook),
        End::Unanswered => unanswered(name),
        _ => of_process(hook, end),
    })
}

/// Why a hook could not signal its process.
fn of_process(hook: &Hook, end: End) -> Finding {
    let name = &hook.name;
    let failure = |code, text: String| Finding::failure(code, text).about(name);
    let Action::Signal { pid_file: file, process: program, .. } = &hook.action else {
        return unanswered(name);
    };
    let shown = file.display();
    let look = |pid: i32| format!("ps -o pid,user,lstart,args -p {pid}");
    match end {
        End::PidFileUnreadable(error) => {
            let cause = if error == 0 {
                "it is not a regular file, or it has a second name (a link)".to_owned()
            } else {
                system(error)
            };
            failure(
                Code::HookPidFile,
                format!("the pid file {shown} of the hook {name} cannot be read"),
            )
            .cause(cause)
            .fix("start the program that writes it, or correct hooks.pid_file")
        }
        End::PidFileWrong => failure(
            Code::HookPidFile,
            format!("the pid file {shown} of the hook {name} does not begin with the number of a process"),
        )
        .fix("restart the program that writes it, or correct hooks.pid_file"),
        End::PidFileExposed => failure(
            Code::HookPidFile,
            format!("other users may write to the pid file {shown} of the hook {name}, so it may name any process"),
        )
        .command(format!("chmod go-w {}", argument(file))),
        End::Gone(pid) => failure(
            Code::HookProcessGone,
            format!("the process {pid} that {shown} names is gone (hook {name})"),
        )
        .fix("start the program whose pid file it is"),
        End::Reused(pid) => failure(
            Code::HookProcessReused,
            format!("the process {pid} began after {shown} was written, so the file is about an earlier process (hook {name})"),
        )
        .fix("start the program whose pid file it is; if the clock was set since it was started, restart it")
        .command(look(pid)),
        End::OtherUser(pid) => failure(
            Code::HookProcessForeign,
            format!("the process {pid} does not belong to the user whose file {shown} is (hook {name})"),
        )
        .fix("check that nobody else can write the pid file; it has to belong to the user of the process, or to root")
        .command(look(pid)),
        End::OtherProgram(pid) => {
            let process = program.as_deref().unwrap_or_default();
            failure(
                Code::HookProcessForeign,
                format!("the process {pid} that {shown} names does not run {process} (hook {name})"),
            )
            .fix("start the program whose pid file it is, or correct hooks.process")
            .command(look(pid))
        }
        End::Itself(pid) => failure(
            Code::HookProcessForeign,
            format!("the process {pid} that {shown} names is pgsvid itself (hook {name})"),
        )
        .fix("correct hooks.pid_file"),
        End::SignalRefused(error) => failure(
            Code::HookSignalRefused,
            format!("the hook {name} may not signal the process that {shown} names"),
        )
        .cause(system(error))
        .fix("run pgsvid as root or as the user of that process, or set hooks.user to it"),
        End::Died(pid) => failure(
            Code::HookProcessDied,
            format!("the process {pid} ended when the hook {name} sent it the signal"),
        )
        .fix("start it again, and correct hooks.signal: it does not know this one"),
        _ => unanswered(name),
    }
}

fn unanswered(name: &str) -> Finding {
    Finding::failure(
        Code::HookUnanswered,
        format!("the result of the hook {name} is not known: the parent process has not answered"),
    )
    .about(name)
    .fix("check whether the machine is short of memory or time; it is tried again")
}

/// The finding about a hook that the parent does not have, because the configuration was changed after pgsvid was started.
#[must_use]
pub fn changed(hook: &Hook) -> Finding {
    let name = &hook.name;
    Finding::failure(
        Code::HookChanged,
        format!("the hook {name} was changed after pgsvid was started, and is not run"),
    )
    .about(name)
    .cause("pgsvid's first process, which runs the hooks, accepts their configuration only when it is started")
    .fix("restart pgsvid")
}

fn not_started(hook: &Hook, program: &str, error: i32) -> Finding {
    let name = &hook.name;
    let found = Finding::failure(
        Code::HookNotExecutable,
        format!("the hook {name} cannot be run: {program}"),
    )
    .about(name)
    .cause(system(error));
    match error {
        libc::ENOENT => found.fix(format!(
            "install {program}, or correct hooks.command; a script also needs the program of its first line"
        )),
        libc::EACCES => {
            let user = hook.user.as_ref().map_or("the user of pgsvid", |user| &user.name);
            found
                .fix(format!("{user} must be able to execute it, and to enter each directory above"))
                .command(format!("chmod +x {}", argument(program)))
        }
        EXEC_FORMAT => found.fix("a script needs a first line such as #!/bin/sh"),
        _ => found.fix("check what the error says of this machine"),
    }
}

fn system(error: i32) -> String {
    if error == 0 {
        return "it could not be done".to_owned();
    }
    io::Error::from_raw_os_error(error).to_string()
}

fn as_user(user: Option<&str>) -> String {
    user.map(|user| format!(" as {user}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::hooks::{User, When};

    #[test]
    fn every_end_but_a_success_is_a_failure_with_its_object_and_remedy() {
        let command = Action::Command(vec!["/usr/bin/a".to_owned()]);
        let (signal, pid_file) = ("HUP".to_owned(), PathBuf::from("/run/a.pid"));
        let signal = Action::Signal { signal, pid_file, process: Some("a".to_owned()) };
        for action in [command, signal, Action::Application] {
            let hook = Hook {
                name: "pooler".to_owned(),
                action,
                when: When::Published,
                timeout: Duration::from_secs(30),
                barrier: false,
                user: Some(User { name: "b".to_owned(), uid: 1, gid: 1, groups: Vec::new() }),
                environment: Vec::new(),
                directory: PathBuf::from("/svids"),
                number: Some(0),
            };
            for kind in 0..=19 {
                for number in [0, 1, libc::ENOENT, libc::EACCES, libc::ENOEXEC, 4711] {
                    let end = End::of(kind, number).unwrap();
                    let found = explain(&hook, end);
                    assert_eq!(found.is_none(), end.is_success(), "{end:?}");
                    let Some(found) = found else { continue };
                    assert_eq!(found.object.as_deref(), Some("pooler"), "{end:?}");
                    assert!(found.fix.is_some() && found.text.contains("pooler"), "{found:?}");
                }
            }
        }
    }
}
