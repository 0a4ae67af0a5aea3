//! The arguments with which a call is allowed: only protocols, flags and mode bits that pgsvid uses.
//!
//! A filter cannot examine memory, such as an address or a path: Landlock restricts `connect` and paths, and other calls with
//! addresses are not allowed.

use libc::{c_int, c_long};
use rustix::fs::OFlags;
use seccompiler::{
    BackendError, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition as Condition,
    SeccompRule,
};

use super::Rules;

/// Conditions that must all hold.
type Conditions = Vec<Result<Condition, BackendError>>;
/// A call, and the rules of which one must hold.
type Call = (c_long, Vec<SeccompRule>);

/// Modes of the lock, which no other user may open, and of directories.
const CLOSED: u32 = 0o600;
const DIRECTORY: u32 = 0o755;
/// Flags of a new descriptor.
const CLOSED_AND_NONBLOCKING: u32 = bits(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
/// `O_LARGEFILE` as the kernel defines it. On 64-bit processors the kernel sets it itself, and C libraries define it as 0.
const LARGE: u32 = OFlags::LARGEFILE.bits();

/// The calls that are allowed with certain arguments only. `changes` means that publication changes modes and groups of files.
pub(super) fn conditional(rules: &Rules, changes: bool) -> Result<Vec<Call>, BackendError> {
    let mut calls = Vec::new();
    files(rules, &mut calls)?;
    if changes {
        changing(rules, &mut calls)?;
    }
    sockets(rules, &mut calls)?;
    memory(&mut calls)?;
    process(&mut calls)?;
    Ok(calls)
}

/// Files are read, or created. An existing file is never opened for writing, and no mode is set that publication does not
/// use: no setuid, setgid or sticky bit, and no write permission for others.
fn files(rules: &Rules, calls: &mut Vec<Call>) -> Result<(), BackendError> {
    let (closed, directory) = (bits(libc::O_CLOEXEC), bits(libc::O_DIRECTORY));
    // O_PATH only looks up a file, or a link itself, and reads nothing.
    let careful = bits(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_PATH);
    let reading = closed | directory | careful | LARGE;
    let creating = bits(libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW);
    let created =
        |mode| vec![at_most(2, creating | closed | LARGE), all_of(2, creating), is(3, mode)];
    let mut opened = vec![vec![at_most(2, reading)], created(CLOSED)];
    opened.extend(rules.modes.iter().filter(|mode| **mode != CLOSED).map(|mode| created(*mode)));
    // Flags of descriptors, the open mode, and a second descriptor; no owner of signals, no lease, no lock.
    let mut controls: Vec<_> = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL]
        .map(|command| vec![is(1, bits(command))])
        .into();
    let duplicated = vec![is(1, bits(libc::F_DUPFD_CLOEXEC))];
    controls.push(duplicated.into_iter().chain(not_connected(rules)).collect());
    calls.extend([
        one_of(libc::SYS_openat, opened)?,
        one_of(libc::SYS_mkdirat, vec![vec![at_most(2, DIRECTORY)]])?,
        any(libc::SYS_flock, 1, &[bits(libc::LOCK_EX | libc::LOCK_NB)])?,
        one_of(libc::SYS_fcntl, controls)?,
        // Non-blocking sockets; whether standard error is a terminal, and its width.
        any(libc::SYS_ioctl, 1, &DEVICES)?,
    ]);
    #[cfg(target_arch = "x86_64")]
    calls.push(one_of(libc::SYS_open, vec![vec![at_most(1, reading)]])?);
    Ok(())
}

/// Calls that change the mode or the group of an open file: only to the modes and the group that publication sets. A filter
/// cannot tell files apart, so these calls work on every file that can be read.
fn changing(rules: &Rules, calls: &mut Vec<Call>) -> Result<(), BackendError> {
    calls.push(any(libc::SYS_fchmod, 1, &[&[DIRECTORY], rules.modes.as_slice()].concat())?);
    if let Some(group) = rules.group {
        // The owner stays the same.
        calls.push(one_of(libc::SYS_fchown, vec![vec![is(1, u32::MAX), is(2, group)]])?);
    }
    Ok(())
}

/// Streams over Unix sockets and, if a port is configured, TCP; neither MPTCP nor SMC, which are other protocols of the same
/// kind that Landlock does not restrict. Listening sockets were bound before.
fn sockets(rules: &Rules, calls: &mut Vec<Call>) -> Result<(), BackendError> {
    let stream = |family: c_int| {
        let kind = bits(libc::SOCK_STREAM);
        vec![
            is(0, bits(family)),
            at_most(1, kind | CLOSED_AND_NONBLOCKING),
            all_of(1, kind),
            is(2, 0),
        ]
    };
    let mut families = vec![stream(libc::AF_UNIX)];
    if !rules.connect.is_empty() {
        families.extend([stream(libc::AF_INET), stream(libc::AF_INET6)]);
    }
    let connected: Vec<Conditions> =
        not_connected(rules).map(|other| vec![other]).into_iter().collect();
    let option = |level: c_int, name: c_int| vec![is(1, bits(level)), is(2, bits(name))];
    calls.extend([
        one_of(libc::SYS_socket, families)?,
        one_of(libc::SYS_connect, connected)?,
        one_of(libc::SYS_socketpair, vec![stream(libc::AF_UNIX)])?,
        one_of(libc::SYS_accept4, vec![vec![at_most(3, CLOSED_AND_NONBLOCKING)]])?,
        // Only to the peer: with an address and MSG_FASTOPEN, sending means connecting. `sendmsg` and `recvmsg`, whose
        // addresses and descriptors are in memory, are not allowed at all.
        one_of(libc::SYS_sendto, vec![vec![at_most(3, bits(libc::MSG_NOSIGNAL)), is_null(4)]])?,
        one_of(libc::SYS_recvfrom, vec![vec![is(3, 0), is_null(4)]])?,
        one_of(libc::SYS_setsockopt, vec![option(libc::IPPROTO_TCP, libc::TCP_NODELAY)])?,
        // The state of a connection, and who is at its other end.
        one_of(
            libc::SYS_getsockopt,
            vec![
                option(libc::SOL_SOCKET, libc::SO_ERROR),
                option(libc::SOL_SOCKET, libc::SO_PEERCRED),
            ],
        )?,
    ]);
    Ok(())
}

/// Memory of this process only, not mapped from a file, and never executable.
fn memory(calls: &mut Vec<Call>) -> Result<(), BackendError> {
    let usable = bits(libc::PROT_READ | libc::PROT_WRITE);
    let anonymous = bits(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let more = bits(libc::MAP_STACK | libc::MAP_NORESERVE);
    calls.extend([
        one_of(
            libc::SYS_mmap,
            vec![vec![at_most(2, usable), at_most(3, anonymous | more), all_of(3, anonymous)]],
        )?,
        one_of(libc::SYS_mprotect, vec![vec![at_most(2, usable)]])?,
        one_of(libc::SYS_mremap, vec![vec![at_most(3, bits(libc::MREMAP_MAYMOVE))]])?,
        // Memory that is no longer needed, and guards of stacks.
        any(
            libc::SYS_madvise,
            2,
            &[bits(libc::MADV_DONTNEED), bits(libc::MADV_FREE), GUARD, NO_GUARD],
        )?,
    ]);
    Ok(())
}

/// Threads, but no processes and no namespaces; nothing that affects another process.
fn process(calls: &mut Vec<Call>) -> Result<(), BackendError> {
    let thread = bits(
        libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SETTLS
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_CLEARTID,
    );
    // musl sets a flag that has had no effect since Linux 2.6.
    let with_detached = thread | bits(libc::CLONE_DETACHED);
    let own = std::process::id();
    calls.extend([
        any(libc::SYS_clone, 0, &[thread, with_detached])?,
        // Waiting and waking. Locks with priority inheritance are not used.
        one_of(
            libc::SYS_futex,
            [libc::FUTEX_WAIT, libc::FUTEX_WAKE, libc::FUTEX_WAIT_BITSET]
                .map(|command| vec![masked(1, FUTEX_COMMAND, bits(command))])
                .into(),
        )?,
        // The name of a thread.
        any(libc::SYS_prctl, 0, &[bits(libc::PR_SET_NAME)])?,
        // Own limits are read, and never set.
        one_of(libc::SYS_prlimit64, vec![vec![is(0, 0), is_null(2)]])?,
        // This is how a process aborts.
        one_of(libc::SYS_tgkill, vec![vec![is(0, own), is(2, bits(libc::SIGABRT))]])?,
    ]);
    Ok(())
}

/// `FIONBIO`, `TIOCGWINSZ`, `TCGETS`: of a type that differs between C libraries.
#[expect(clippy::cast_possible_truncation, reason = "the kernel takes 32 bits")]
const DEVICES: [u32; 3] = [libc::FIONBIO as u32, libc::TIOCGWINSZ as u32, libc::TCGETS as u32];
/// `MADV_GUARD_INSTALL` and `MADV_GUARD_REMOVE` of `asm-generic/mman-common.h`, Linux 6.13.
const GUARD: u32 = 102;
const NO_GUARD: u32 = 103;
/// All but `FUTEX_PRIVATE_FLAG` and `FUTEX_CLOCK_REALTIME`.
const FUTEX_COMMAND: u32 = !bits(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);

/// A value of the kernel's headers, as the filter compares it.
const fn bits(value: c_int) -> u32 {
    value.cast_unsigned()
}

/// The first argument is not the descriptor that stays connected: connecting a datagram socket again means choosing another
/// peer.
fn not_connected(rules: &Rules) -> Option<Result<Condition, BackendError>> {
    let descriptor = rules.connected?;
    Some(Condition::new(0, Length::Dword, Is::Ne, bits(descriptor).into()))
}

/// One rule of the call must hold, and every condition of that rule.
fn one_of(call: c_long, rules: Vec<Conditions>) -> Result<Call, BackendError> {
    let rule = |conditions: Conditions| {
        SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
    };
    Ok((call, rules.into_iter().map(rule).collect::<Result<_, _>>()?))
}

/// One argument has one of these values.
fn any(call: c_long, argument: u8, values: &[u32]) -> Result<Call, BackendError> {
    one_of(call, values.iter().map(|value| vec![is(argument, *value)]).collect())
}

fn is(argument: u8, value: u32) -> Result<Condition, BackendError> {
    Condition::new(argument, Length::Dword, Is::Eq, value.into())
}

/// The argument is a null pointer.
fn is_null(argument: u8) -> Result<Condition, BackendError> {
    Condition::new(argument, Length::Qword, Is::Eq, 0)
}

/// The argument has no other bits.
fn at_most(argument: u8, allowed: u32) -> Result<Condition, BackendError> {
    masked(argument, !allowed, 0)
}

/// The argument has all of these bits.
fn all_of(argument: u8, wanted: u32) -> Result<Condition, BackendError> {
    masked(argument, wanted, wanted)
}

fn masked(argument: u8, mask: u32, value: u32) -> Result<Condition, BackendError> {
    Condition::new(argument, Length::Dword, Is::MaskedEq(mask.into()), value.into())
}
