//! The system calls that pgsvid needs, by seccomp (`seccomp(2)`). Every other call fails with "Operation not permitted".
//!
//! It does not kill the process: an operator should find a log line that names what failed. No program can be executed in
//! either case, because `execve` and `execveat` are not in the list.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error as Failure, SeccompAction, SeccompFilter, TargetArch,
};

use super::arguments::conditional;
use super::{Error, Rules};

/// Allowed with any arguments: the calls of pgsvid, tokio and the C library for memory, threads, time, files that Landlock
/// allows, and open sockets. Calls that pgsvid was never seen to make in tests are not listed.
const FREE: &[c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    // Threads and signals of this process.
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // Time and random numbers; the clock is read by a call if the kernel maps no function for it.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // Identity of the process.
    libc::SYS_geteuid,
    // Files.
    libc::SYS_close,
    libc::SYS_faccessat,
    libc::SYS_fgetxattr,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Events.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_ppoll,
    // Sockets.
    libc::SYS_shutdown,
];

/// The same calls under old names that a processor still has, and that are still used.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_renameat];
#[cfg(target_arch = "aarch64")]
const OLDER: &[c_long] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLDER: &[c_long] = &[];

/// Restricts this thread and everything that it starts; false if the kernel has no filters, or this processor is not
/// supported. `changes` means that modes and groups of files are changed.
pub(super) fn restrict(rules: &Rules, changes: bool) -> Result<bool, Error> {
    let Ok(processor) = std::env::consts::ARCH.try_into() else {
        return Ok(false);
    };
    // In this order, because the second one forbids installing filters.
    for filter in [no_clone3(processor), allowed(rules, changes, processor)] {
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

fn allowed(
    rules: &Rules,
    changes: bool,
    processor: TargetArch,
) -> Result<BpfProgram, BackendError> {
    // Collecting them would sort them first: 5 KB of code for each type of pair.
    let mut calls = BTreeMap::new();
    calls.extend(FREE.iter().chain(OLDER).map(|call| (*call, Vec::new())));
    calls.extend(conditional(rules, changes)?);
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(calls, denied, SeccompAction::Allow, processor)?.try_into()
}

/// The C library starts threads with `clone3`, whose flags are in memory that a filter cannot examine. If it is missing, as
/// on older kernels, `clone` does the same. Of two filters the stricter one wins.
fn no_clone3(processor: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    rules.insert(libc::SYS_clone3, Vec::new());
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, missing, processor)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_can_be_made_for_every_processor_that_is_known() {
        let rules = Rules { connect: vec![5432], group: Some(999), ..Rules::default() };
        for processor in [TargetArch::x86_64, TargetArch::aarch64] {
            assert!(allowed(&rules, true, processor).is_ok_and(|filter| !filter.is_empty()));
            assert!(no_clone3(processor).is_ok_and(|filter| !filter.is_empty()));
        }
    }

    #[test]
    fn nothing_in_the_list_runs_a_program_or_looks_into_another_process() {
        let rules = Rules { connect: vec![5432], group: Some(999), ..Rules::default() };
        let mut listed: Vec<c_long> = FREE.iter().chain(OLDER).copied().collect();
        listed.extend(conditional(&rules, false).unwrap().into_iter().map(|(call, _)| call));
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
            libc::SYS_fchmod,
            libc::SYS_fchown,
            libc::SYS_umask,
        ] {
            assert!(!listed.contains(&call), "{call}");
        }
        listed.sort_unstable();
        let distinct = listed.len();
        listed.dedup();
        assert_eq!(listed.len(), distinct, "a call is listed twice");
    }
}
