//! What the kernel reports about this process, on request.

use std::time::Duration;

/// Memory and processor time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    /// Resident memory in bytes.
    pub(super) resident: u64,
    /// Processor time of all threads, in user and kernel mode.
    pub(super) processor: Duration,
}

/// The kernel's unit of processor time, in milliseconds: `USER_HZ` is 100 on every platform that pgsvid is built for. Asking
/// the C library would read files that the sandbox does not grant.
const TICK: u64 = 10;

/// `None` if there is no `/proc`.
pub(super) fn process() -> Option<Process> {
    let read = |path| std::fs::read_to_string(path).ok();
    parse(&read("/proc/self/stat")?, &read("/proc/self/status")?)
}

/// Fields 14 and 15 of `proc_pid_stat(5)`, whose second field is a name in parentheses that may contain any character; and
/// `VmRSS`, in kB, of `proc_pid_status(5)`.
fn parse(stat: &str, status: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let ticks = field(14)?.checked_add(field(15)?)?;
    Some(Process {
        resident: resident.checked_mul(1024)?,
        processor: Duration::from_millis(ticks.checked_mul(TICK)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 11 4096 25";
        let status = "Name:\tpgsvid\nVmRSS:\t    5120 kB\nThreads:\t3\n";
        let wanted = Process { resident: 5 << 20, processor: Duration::from_secs(2) };
        assert_eq!(parse(stat, status), Some(wanted));
        assert_eq!(parse("", status), None);
        assert_eq!(parse(stat, ""), None);
        assert!(process().is_some_and(|process| process.resident > 0));
    }
}
