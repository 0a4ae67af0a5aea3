//! The system calls that pgsvid needs, by seccomp (`seccomp(2)`). Every other one answers "Operation not permitted".
//!
//! Not a kill: whoever meets a forbidden call at night should find a line that names what failed. No program can be
//! executed either way, since `execve` and `execveat` are not in the list.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error as Failure, SeccompAction, SeccompCmpArgLen as Length,
    SeccompCmpOp as Is, SeccompCondition as Condition, SeccompFilter, SeccompRule, TargetArch,
};

use super::Error;

/// Without conditions: what pgsvid, tokio and the C library do with memory, threads, time, files that Landlock lets them
/// open, and sockets that they have.
const FREE: &[c_long] = &[
    // memory
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // threads and signals of this process
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // time and chance
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // who we are
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getuid,
    // files
    libc::SYS_close,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // events
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_ppoll,
    // sockets; what is listened on was bound before
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// The same under the names of old, which a processor still has and C libraries still use.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(target_arch = "aarch64")]
const OLDER: &[c_long] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLDER: &[c_long] = &[];

/// Restricts this thread and whatever it starts; false if the kernel cannot, or nobody has told how on this processor.
pub(super) fn restrict() -> Result<bool, Error> {
    let Ok(processor) = std::env::consts::ARCH.try_into() else {
        return Ok(false);
    };
    // In this order: the second denies what it takes to install one.
    for filter in [no_clone3(processor), allowed(processor)] {
        match seccompiler::apply_filter(&filter.map_err(Failure::from)?) {
            Ok(()) => {}
            // A kernel without seccomp, or without filters.
            Err(Failure::Seccomp(error))
                if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn allowed(processor: TargetArch) -> Result<BpfProgram, BackendError> {
    // Collected, they would be sorted first: 5 KB of the program for each type of pair.
    let mut rules = BTreeMap::new();
    rules.extend(FREE.iter().chain(OLDER).map(|call| (*call, Vec::new())));
    rules.extend(conditional()?);
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, denied, SeccompAction::Allow, processor)?.try_into()
}

/// The C library starts threads by `clone3`, whose flags lie in memory that no filter can look at. Where it is missing, as
/// on older kernels, `clone` does the same. Of two filters' answers the stricter one counts.
fn no_clone3(processor: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    rules.insert(libc::SYS_clone3, Vec::new());
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, missing, processor)?.try_into()
}

/// Calls that are allowed with certain arguments only.
fn conditional() -> Result<Vec<(c_long, Vec<SeccompRule>)>, BackendError> {
    // A value of the kernel's headers, as the filter compares it.
    let bits = |value: i32| u64::from(value.unsigned_abs());
    let argument = |number, is, value| Condition::new(number, Length::Dword, is, value);
    let any = |conditions: Vec<Condition>| -> Result<Vec<SeccompRule>, BackendError> {
        conditions.into_iter().map(|condition| SeccompRule::new(vec![condition])).collect()
    };
    let one_of = |number, values: &[u64]| {
        any(values
            .iter()
            .map(|value| argument(number, Is::Eq, *value))
            .collect::<Result<Vec<_>, _>>()?)
    };
    // Streams over Unix sockets and TCP, and nothing else that the kernel has.
    let stream = |family| {
        SeccompRule::new(vec![
            argument(0, Is::Eq, bits(family))?,
            argument(1, Is::MaskedEq(0xf), bits(libc::SOCK_STREAM))?,
        ])
    };
    let never_executable = || {
        SeccompRule::new(vec![argument(2, Is::MaskedEq(bits(libc::PROT_EXEC)), 0)?])
            .map(|rule| vec![rule])
    };
    let thread = bits(libc::CLONE_THREAD);
    Ok(vec![
        (
            libc::SYS_socket,
            vec![stream(libc::AF_UNIX)?, stream(libc::AF_INET)?, stream(libc::AF_INET6)?],
        ),
        (libc::SYS_socketpair, vec![stream(libc::AF_UNIX)?]),
        // Threads, but no processes.
        (libc::SYS_clone, any(vec![argument(0, Is::MaskedEq(thread), thread)?])?),
        (libc::SYS_mmap, never_executable()?),
        (libc::SYS_mprotect, never_executable()?),
        // The name of a thread.
        (libc::SYS_prctl, one_of(0, &[bits(libc::PR_SET_NAME)])?),
        // Limits are read, not set.
        (libc::SYS_prlimit64, any(vec![Condition::new(2, Length::Qword, Is::Eq, 0)?])?),
        // To ourselves: it is how a process aborts.
        (libc::SYS_tgkill, one_of(0, &[u64::from(std::process::id())])?),
        // Non-blocking sockets; whether, and how wide, standard error is a terminal.
        (libc::SYS_ioctl, one_of(1, &[libc::FIONBIO, libc::TIOCGWINSZ, libc::TCGETS])?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_can_be_made_for_every_processor_that_is_known() {
        for processor in [TargetArch::x86_64, TargetArch::aarch64] {
            assert!(allowed(processor).is_ok_and(|filter| !filter.is_empty()));
            assert!(no_clone3(processor).is_ok_and(|filter| !filter.is_empty()));
        }
    }

    #[test]
    fn nothing_in_the_list_runs_a_program_or_looks_into_another_process() {
        let mut listed: Vec<c_long> = FREE.iter().chain(OLDER).copied().collect();
        listed.extend(conditional().unwrap().into_iter().map(|(call, _)| call));
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_kill,
            libc::SYS_bind,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
        ] {
            assert!(!listed.contains(&call), "{call}");
        }
        listed.sort_unstable();
        let distinct = listed.len();
        listed.dedup();
        assert_eq!(listed.len(), distinct, "a call is listed twice");
    }
}
