//! Makes system calls in a running process, as an attacker's code in it would.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use test_support::{LIMIT, eventually};

/// The main thread of a process, held until this is dropped. The other threads go on.
pub(crate) struct Injector {
    thread: Pid,
    /// As they were.
    registers: nix::libc::user_regs_struct,
    memory: File,
}

/// Below the stack pointer, past what the x86-64 psABI lets a function use there: 128 bytes.
const ROOM: u64 = 4096;
/// The instruction.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

impl Injector {
    /// Stops the thread in the system call that it waits in, once it does.
    #[track_caller]
    pub(crate) fn attach(process: u32) -> Self {
        let mut injector = None;
        eventually(LIMIT, "the daemon waits for something", || {
            injector = Self::stopped(process);
            injector.is_some()
        });
        injector.unwrap()
    }

    fn stopped(process: u32) -> Option<Self> {
        let thread = Pid::from_raw(process.try_into().unwrap());
        ptrace::attach(thread).unwrap();
        assert_eq!(wait(thread), WaitStatus::Stopped(thread, Signal::SIGSTOP));
        let registers = ptrace::getregs(thread).unwrap();
        let path = format!("/proc/{process}/mem");
        let memory = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let injector = Self { thread, registers, memory };
        let mut instruction = [0; 2];
        injector.memory.read_exact_at(&mut instruction, registers.rip - 2).unwrap();
        (instruction == SYSCALL).then_some(injector)
    }

    /// What the call returns: an error number is negative.
    #[track_caller]
    pub(crate) fn call(&self, number: i64, arguments: &[u64]) -> i64 {
        self.prepare(number, arguments);
        loop {
            ptrace::step(self.thread, None).unwrap();
            match wait(self.thread) {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => break,
                // It is told to the daemon another time.
                WaitStatus::Stopped(..) => {}
                other => panic!("{other:?}"),
            }
        }
        ptrace::getregs(self.thread).unwrap().rax.cast_signed()
    }

    /// Puts bytes where the thread's own are not, and returns their address; `slot` tells them from others.
    pub(crate) fn put(&self, slot: u64, bytes: &[u8]) -> u64 {
        assert!(bytes.len() <= 256 && slot < 8);
        let address = (self.registers.rsp - ROOM + slot * 256) & !0xf;
        self.memory.write_all_at(bytes, address).unwrap();
        address
    }

    /// A call after which its parent kills the process, unless that notices first that the parent is out of reach, and ends with
    /// an error. The kernel notifies the tracer first.
    #[track_caller]
    pub(crate) fn last_call(self, number: i64, arguments: &[u64]) {
        self.prepare(number, arguments);
        ptrace::cont(self.thread, None).unwrap();
        let mut ended = wait(self.thread);
        // Behind the call the thread runs with registers that are not its own, and may fail before it is killed: it stays stopped then.
        while matches!(ended, WaitStatus::Stopped(..)) {
            ended = wait(self.thread);
        }
        let is_over =
            matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _) | WaitStatus::Exited(_, 1));
        assert!(is_over, "{ended:?}");
        // There is nothing to be restored.
        std::mem::forget(self);
    }

    fn prepare(&self, number: i64, arguments: &[u64]) {
        let argument = |at: usize| arguments.get(at).copied().unwrap_or(0);
        let mut registers = self.registers;
        // In no system call that the kernel could start again.
        registers.orig_rax = u64::MAX;
        registers.rip -= 2;
        registers.rax = number.unsigned_abs();
        registers.rdi = argument(0);
        registers.rsi = argument(1);
        registers.rdx = argument(2);
        registers.r10 = argument(3);
        registers.r8 = argument(4);
        registers.r9 = argument(5);
        ptrace::setregs(self.thread, registers).unwrap();
    }

    /// The same of a text that ends with a zero.
    pub(crate) fn put_text(&self, slot: u64, text: &str) -> u64 {
        self.put(slot, &[text.as_bytes(), &[0]].concat())
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        // What it was stopped in starts over, or answers that it was interrupted.
        let restored = ptrace::setregs(self.thread, self.registers);
        let detached = ptrace::detach(self.thread, None);
        if !std::thread::panicking() {
            restored.unwrap();
            detached.unwrap();
        }
    }
}

fn wait(thread: Pid) -> WaitStatus {
    waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap()
}
