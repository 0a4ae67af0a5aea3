//! System calls whose arguments would lead out of the sandbox: protocols, flags, mode bits.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc;
use test_support::{Pgsvid, Setup};

use crate::taken_over::injector::Injector;
use crate::taken_over::{PGSVID, of_root};

/// What seccomp answers: no answer of another kind proves that the call was not made.
const REFUSED: i64 = -(libc::EPERM as i64);

/// Some argument of the kernel's headers, as a register holds it.
#[expect(clippy::cast_sign_loss, reason = "a register has no sign")]
const fn word(value: i32) -> u64 {
    value as i64 as u64
}

const HERE: u64 = word(libc::AT_FDCWD);
const STREAM: u64 = word(libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
const INET: u64 = word(libc::AF_INET);

/// A name, a call, and its arguments.
type Attempt = (&'static str, i64, Vec<u64>);

#[track_caller]
fn all_refused(injector: &Injector, attempts: Vec<Attempt>) {
    let outcomes = attempts
        .into_iter()
        .map(|(name, call, arguments)| (name, injector.call(call, &arguments)))
        .filter(|(_, outcome)| *outcome != REFUSED);
    let open: Vec<_> = outcomes.collect();
    assert!(open.is_empty(), "not refused by seccomp: {open:?}");
}

/// Or what is refused would prove nothing.
#[track_caller]
fn allowed(name: &str, outcome: i64) -> u64 {
    u64::try_from(outcome).unwrap_or_else(|_| panic!("{name} gives {outcome}"))
}

#[track_caller]
fn goes_on(setup: &Setup, pgsvid: &Pgsvid) {
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a11_protocols_and_flags_that_lead_past_the_sandbox_are_refused() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let injector = Injector::attach(pgsvid.daemon_pid());
    let process = injector.call(libc::SYS_getpid, &[]);
    assert_eq!(process, i64::from(pgsvid.daemon_pid()), "the calls are made in the daemon");

    // Somebody who waits for what is to be carried out.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_be_bytes();
    let mut address = [0; 16];
    address[..2].copy_from_slice(&2_u16.to_ne_bytes());
    address[2..4].copy_from_slice(&port);
    address[4..8].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
    let address = injector.put(0, &address);
    let bytes = injector.put(1, b"key");
    let vector = injector.put(2, &[bytes.to_ne_bytes(), 3_u64.to_ne_bytes()].concat());
    let header: Vec<u8> =
        [address, 16, vector, 1, 0, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let header = injector.put(3, &header);
    let one = injector.put(4, &1_u32.to_ne_bytes());

    let socket = allowed("TCP", injector.call(libc::SYS_socket, &[INET, STREAM, 0]));
    let connected = injector.call(libc::SYS_connect, &[socket, address, 16]);
    assert_eq!(connected, -i64::from(libc::EACCES), "Landlock denies the port");
    let no_delay = [socket, word(libc::IPPROTO_TCP), word(libc::TCP_NODELAY), one, 4];
    allowed("TCP_NODELAY", injector.call(libc::SYS_setsockopt, &no_delay));

    let fast = word(libc::MSG_FASTOPEN);
    let mut attempts = vec![
        ("sendto FASTOPEN", libc::SYS_sendto, vec![socket, bytes, 3, fast, address, 16]),
        ("sendto an address", libc::SYS_sendto, vec![socket, bytes, 3, 0, address, 16]),
        ("send FASTOPEN", libc::SYS_sendto, vec![socket, bytes, 3, fast, 0, 0]),
        ("send ZEROCOPY", libc::SYS_sendto, vec![socket, bytes, 3, 0x400_0000, 0, 0]),
        ("sendmsg FASTOPEN", libc::SYS_sendmsg, vec![socket, header, fast]),
        ("sendmsg", libc::SYS_sendmsg, vec![socket, header, 0]),
        ("sendmmsg FASTOPEN", libc::SYS_sendmmsg, vec![socket, header, 1, fast]),
        // Descriptors of others come this way.
        ("recvmsg", libc::SYS_recvmsg, vec![socket, header, 0]),
        ("recvmmsg", libc::SYS_recvmmsg, vec![socket, header, 1, 0, 0]),
        ("bind", libc::SYS_bind, vec![socket, address, 16]),
        ("listen", libc::SYS_listen, vec![socket, 1]),
    ];
    attempts.extend(protocols());
    attempts.extend(options(socket, one));
    attempts.extend(descriptors(socket, one));
    all_refused(&injector, attempts);
    // Last: a thread that is not refused would run on the same stack.
    all_refused(&injector, process_calls(one));
    assert_eq!(injector.call(libc::SYS_close, &[socket]), 0);
    drop(injector);
    goes_on(&setup, &pgsvid);
}

fn protocols() -> Vec<Attempt> {
    let socket = |name, family: i32, kind, protocol: i32| {
        (name, libc::SYS_socket, vec![word(family), kind, word(protocol)])
    };
    let datagram = word(libc::SOCK_DGRAM);
    let packets = word(libc::SOCK_SEQPACKET);
    let raw = word(libc::SOCK_RAW);
    let inner = libc::AF_INET6;
    vec![
        socket("MPTCP", libc::AF_INET, STREAM, libc::IPPROTO_MPTCP),
        socket("MPTCP over IPv6", inner, STREAM, libc::IPPROTO_MPTCP),
        socket("SCTP", libc::AF_INET, STREAM, libc::IPPROTO_SCTP),
        socket("SCTP's packets", libc::AF_INET, packets, libc::IPPROTO_SCTP),
        socket("DCCP", libc::AF_INET, word(6), libc::IPPROTO_DCCP),
        socket("SMC by protocol", libc::AF_INET, STREAM, 256),
        socket("SMC over IPv6 by protocol", inner, STREAM, 257),
        socket("SMC", 43, STREAM, 0),
        socket("UDP", libc::AF_INET, datagram, 0),
        socket("raw", libc::AF_INET, raw, libc::IPPROTO_ICMP),
        socket("vsock", libc::AF_VSOCK, STREAM, 0),
        socket("netlink", libc::AF_NETLINK, raw, 0),
        socket("packets", libc::AF_PACKET, raw, 0),
        socket("the kernel's cryptography", libc::AF_ALG, packets, 0),
        socket("TIPC", libc::AF_TIPC, STREAM, 0),
        socket("RDS", libc::AF_RDS, packets, 0),
        socket("XDP", libc::AF_XDP, raw, 0),
        socket("Bluetooth", libc::AF_BLUETOOTH, STREAM, 3),
        socket("Unix datagrams", libc::AF_UNIX, datagram, 0),
        socket("Unix packets", libc::AF_UNIX, packets, 0),
        socket("Unix with a protocol", libc::AF_UNIX, STREAM, 1),
        socket("a kind with more flags", libc::AF_INET, STREAM | 0x10_0000, 0),
        (
            "a pair that carries datagrams",
            libc::SYS_socketpair,
            vec![word(libc::AF_UNIX), datagram, 0, 0],
        ),
    ]
}

fn options(socket: u64, one: u64) -> Vec<Attempt> {
    let set = |name, level: i32, option: i32| {
        (name, libc::SYS_setsockopt, vec![socket, word(level), word(option), one, 4])
    };
    let tcp = libc::IPPROTO_TCP;
    vec![
        set("TCP_FASTOPEN_CONNECT", tcp, libc::TCP_FASTOPEN_CONNECT),
        set("TCP_FASTOPEN", tcp, libc::TCP_FASTOPEN),
        set("TCP_ULP", tcp, libc::TCP_ULP),
        set("TCP_REPAIR", tcp, libc::TCP_REPAIR),
        set("TCP_MD5SIG", tcp, libc::TCP_MD5SIG),
        set("SO_ATTACH_FILTER", libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
        set("SO_ATTACH_BPF", libc::SOL_SOCKET, libc::SO_ATTACH_BPF),
        set("SO_ZEROCOPY", libc::SOL_SOCKET, libc::SO_ZEROCOPY),
        set("SO_MARK", libc::SOL_SOCKET, libc::SO_MARK),
        set("SO_BINDTODEVICE", libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
        set("SO_PASSCRED", libc::SOL_SOCKET, libc::SO_PASSCRED),
        set("IP_OPTIONS", libc::IPPROTO_IP, 4),
        set("IP_TRANSPARENT", libc::IPPROTO_IP, libc::IP_TRANSPARENT),
        set("netfilter's table", libc::IPPROTO_IP, 64),
        (
            "a peer's pidfd",
            libc::SYS_getsockopt,
            vec![socket, word(libc::SOL_SOCKET), 77, one, one],
        ),
    ]
}

fn descriptors(socket: u64, one: u64) -> Vec<Attempt> {
    let control = |name, command: i32| {
        (name, libc::SYS_fcntl, vec![socket, word(command), u64::from(std::process::id())])
    };
    vec![
        control("F_SETOWN", libc::F_SETOWN),
        control("F_SETOWN_EX", 15),
        control("F_SETSIG", 10),
        control("F_NOTIFY", libc::F_NOTIFY),
        control("F_SETLEASE", libc::F_SETLEASE),
        control("F_SETPIPE_SZ", libc::F_SETPIPE_SZ),
        control("F_SETLK", libc::F_SETLK),
        control("F_SETFL", libc::F_SETFL),
        ("FIOASYNC", libc::SYS_ioctl, vec![socket, 0x5452, one]),
        ("TIOCSTI", libc::SYS_ioctl, vec![2, libc::TIOCSTI, one]),
        ("SIOCGIFCONF", libc::SYS_ioctl, vec![socket, libc::SIOCGIFCONF, one]),
        ("sendfile", libc::SYS_sendfile, vec![socket, socket, 0, 1]),
        ("splice", libc::SYS_splice, vec![socket, 0, socket, 0, 1, 0]),
        ("pipe", libc::SYS_pipe2, vec![one, 0]),
        ("memfd", libc::SYS_memfd_create, vec![one, 0]),
        ("secret memory", libc::SYS_memfd_secret, vec![0]),
        ("io_uring", libc::SYS_io_uring_setup, vec![1, one]),
        ("userfaultfd", libc::SYS_userfaultfd, vec![0]),
        ("fanotify", libc::SYS_fanotify_init, vec![0, 0]),
        ("a handle of a file", libc::SYS_open_by_handle_at, vec![HERE, one, 0]),
    ]
}

fn process_calls(one: u64) -> Vec<Attempt> {
    let thread = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_SETTLS
        | libc::CLONE_PARENT_SETTID
        | libc::CLONE_CHILD_CLEARTID;
    let own = u64::from(std::process::id());
    vec![
        ("a user namespace", libc::SYS_clone, vec![word(thread | libc::CLONE_NEWUSER)]),
        ("a network namespace", libc::SYS_clone, vec![word(thread | libc::CLONE_NEWNET)]),
        ("a pidfd of a thread", libc::SYS_clone, vec![word(thread | libc::CLONE_PIDFD)]),
        ("a traced thread", libc::SYS_clone, vec![word(thread | libc::CLONE_PTRACE)]),
        ("a process", libc::SYS_clone, vec![word(libc::SIGCHLD)]),
        ("fork", libc::SYS_fork, vec![]),
        ("vfork", libc::SYS_vfork, vec![]),
        ("unshare", libc::SYS_unshare, vec![word(libc::CLONE_NEWUSER)]),
        ("setns", libc::SYS_setns, vec![0, 0]),
        ("pidfd_open", libc::SYS_pidfd_open, vec![own, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, vec![0, 0, 0]),
        ("process_vm_writev", libc::SYS_process_vm_writev, vec![own, one, 1, one, 1, 0]),
        ("ptrace", libc::SYS_ptrace, vec![word(16), own]),
        ("kill", libc::SYS_kill, vec![own, 0]),
        ("a signal to another", libc::SYS_tgkill, vec![own, own, 0]),
        ("PR_SET_DUMPABLE", libc::SYS_prctl, vec![word(libc::PR_SET_DUMPABLE), 1]),
        ("PR_SET_PTRACER", libc::SYS_prctl, vec![word(libc::PR_SET_PTRACER), u64::MAX]),
        ("PR_CAP_AMBIENT", libc::SYS_prctl, vec![word(libc::PR_CAP_AMBIENT), 1]),
        ("another's limits", libc::SYS_prlimit64, vec![own, 4, 0, one]),
        ("a mapped file", libc::SYS_mmap, vec![0, 4096, 1, word(libc::MAP_SHARED), 0, 0]),
        ("executable memory", libc::SYS_mmap, vec![0, 4096, 5, 0x22, u64::MAX, 0]),
        ("memory moved to a place", libc::SYS_mremap, vec![one & !0xfff, 4096, 4096, 3, 0]),
        ("merged memory", libc::SYS_madvise, vec![one & !0xfff, 4096, word(libc::MADV_MERGEABLE)]),
        ("dumped memory", libc::SYS_madvise, vec![one & !0xfff, 4096, word(libc::MADV_DODUMP)]),
        ("a mutex that inherits", libc::SYS_futex, vec![one, word(libc::FUTEX_LOCK_PI)]),
        ("umask", libc::SYS_umask, vec![0]),
        ("the former umask", libc::SYS_umask, vec![0o077]),
        ("another group for files", libc::SYS_setfsgid, vec![0]),
        ("personality", libc::SYS_personality, vec![0x40_0000]),
        ("keys", libc::SYS_keyctl, vec![0]),
        ("bpf", libc::SYS_bpf, vec![0, one, 0]),
        ("perf", libc::SYS_perf_event_open, vec![one, 0, 0, 0, 0]),
        ("setuid", libc::SYS_setuid, vec![0]),
        ("setgroups", libc::SYS_setgroups, vec![0, 0]),
        ("chroot", libc::SYS_chroot, vec![one]),
        ("mount", libc::SYS_mount, vec![one, one, one, 0, 0]),
    ]
}

#[test]
fn a12_no_file_gets_a_mode_owner_or_place_that_publication_does_not_use() {
    let (setup, pgsvid) = of_root(|_| String::new());
    pgsvid.current(1);
    let injector = Injector::attach(pgsvid.daemon_pid());
    let shell = setup.files.join("shell");
    let shell_path = injector.put_text(0, path(&shell));
    let other_path = injector.put_text(1, path(&setup.files.join("other")));
    let empty = injector.put_text(2, "");
    let flags =
        word(libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC);
    let open = |flags, mode| injector.call(libc::SYS_openat, &[HERE, shell_path, flags, mode]);
    // It has its mode and its group at once.
    let file = allowed("a new file", open(flags, 0o640));
    let group = u64::from(setup.cluster.gid());
    let nobody = u64::from(u32::MAX);

    // The attack: a program in it is root's for everybody.
    let mode = |name, mode| (name, libc::SYS_fchmod, vec![file, mode]);
    let create = |name, more: i32, mode| {
        (name, libc::SYS_openat, vec![HERE, other_path, flags | word(more), mode])
    };
    let existing =
        |name, flags: i32| (name, libc::SYS_openat, vec![HERE, shell_path, word(flags), 0o600]);
    let directory = |name, mode| (name, libc::SYS_mkdirat, vec![HERE, other_path, mode]);
    let attempts = vec![
        mode("setuid", 0o4755),
        mode("setgid", 0o2755),
        mode("setuid and setgid", 0o6755),
        mode("sticky", 0o1755),
        mode("one of publication's", 0o640),
        mode("the one that it has", 0o600),
        mode("writable for the group", 0o660),
        mode("writable for everybody", 0o666),
        ("fchmodat", libc::SYS_fchmodat, vec![HERE, shell_path, 0o4755]),
        ("fchmodat2", 452, vec![HERE, shell_path, 0o4755, 0]),
        ("chmod", libc::SYS_chmod, vec![shell_path, 0o4755]),
        create("a setuid file", 0, 0o4755),
        create("a setgid file", 0, 0o2755),
        create("a file for everybody", 0, 0o666),
        create("a program", 0, 0o755),
        create("a nameless file", libc::O_TMPFILE, 0o600),
        create("a file without a cache", libc::O_DIRECT, 0o600),
        create("a path alone", libc::O_PATH, 0o600),
        ("creat", libc::SYS_creat, vec![other_path, 0o4755]),
        ("open a setuid file", libc::SYS_open, vec![other_path, flags, 0o4755]),
        existing("write to what is there", libc::O_WRONLY),
        existing("read and write", libc::O_RDWR),
        existing("cut off", libc::O_WRONLY | libc::O_TRUNC),
        existing("append", libc::O_WRONLY | libc::O_APPEND),
        ("openat2", libc::SYS_openat2, vec![HERE, shell_path, other_path, 24]),
        directory("a setuid directory", 0o4755),
        directory("a setgid directory", 0o2700),
        directory("a sticky directory", 0o1777),
        directory("a directory for everybody", 0o777),
        ("mkdir", libc::SYS_mkdir, vec![other_path, 0o2755]),
        ("mknodat", libc::SYS_mknodat, vec![HERE, other_path, 0o104_755, 0]),
        ("another owner", libc::SYS_fchown, vec![file, 1, group]),
        ("the group of publication", libc::SYS_fchown, vec![file, nobody, group]),
        ("another group", libc::SYS_fchown, vec![file, nobody, 0]),
        ("fchownat", libc::SYS_fchownat, vec![HERE, shell_path, 1, 1, 0]),
        ("chown", libc::SYS_chown, vec![shell_path, 1, 1]),
        ("an attribute", libc::SYS_fsetxattr, vec![file, shell_path, empty, 0, 0]),
        ("times", libc::SYS_utimensat, vec![HERE, shell_path, 0, 0]),
        ("exchange", libc::SYS_renameat2, vec![HERE, shell_path, HERE, other_path, 2]),
        ("whiteout", libc::SYS_renameat2, vec![HERE, shell_path, HERE, other_path, 4]),
        ("a hard link", libc::SYS_linkat, vec![HERE, shell_path, HERE, other_path, 0]),
        ("a lease", libc::SYS_fcntl, vec![file, word(libc::F_SETLEASE), 0]),
        ("a shared lock", libc::SYS_flock, vec![file, word(libc::LOCK_SH)]),
        ("cut by descriptor", libc::SYS_ftruncate, vec![file, 0]),
        ("room", libc::SYS_fallocate, vec![file, 0, 0, 1 << 40]),
    ];
    all_refused(&injector, attempts);
    let metadata = std::fs::metadata(&shell).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert_eq!((metadata.uid(), metadata.gid()), (0, setup.cluster.gid()));
    drop(injector);
    goes_on(&setup, &pgsvid);
}
