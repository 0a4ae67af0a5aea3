//! A wall clock for a program, by libfaketime.

use std::fs;
use std::path::PathBuf;

use rustix::time::{ClockId, clock_gettime, clock_settime};

use crate::Directory;

/// A wall clock that is set while a program runs. The program must be linked dynamically. Its timers continue, as when
/// somebody sets the clock. A machine that has slept looks the same to it: the wall clock is ahead by the time that the
/// timers have missed.
#[derive(Debug, Default)]
pub struct WallClock {
    directory: Directory,
}

impl WallClock {
    /// A clock that shows the right time.
    pub fn new() -> Self {
        let clock = Self::default();
        clock.set(0);
        clock
    }

    /// Sets it this many seconds ahead of the right time, or behind it.
    pub fn set(&self, ahead: i64) {
        let new = self.directory.write("new", format!("{ahead:+}\n"), 0o644);
        // The library reads it whenever the program reads the clock.
        fs::rename(new, self.file()).expect("renames a file");
    }

    /// Sets it, and makes the kernel notify every program that the clock was set: the machine's own clock is set to the same
    /// time.
    pub fn leap(&self, ahead: i64) {
        self.set(ahead);
        let shown = clock_gettime(ClockId::Realtime);
        clock_settime(ClockId::Realtime, shown).expect(
            "sets the clock, which takes CAP_SYS_TIME: sudo scripts/test, in a container with --cap-add SYS_TIME",
        );
    }

    /// The variables that make a program use this clock.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        let library = fs::read_dir("/usr/lib").ok().into_iter().flatten().find_map(|entry| {
            let path = entry.ok()?.path().join("faketime/libfaketimeMT.so.1");
            path.exists().then(|| path.display().to_string())
        });
        [
            ("LD_PRELOAD", library.expect("scripts/test installs Debian's libfaketime")),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.directory.join("clock")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Program;

    #[test]
    fn a_running_program_sees_it_set() {
        let clock = WallClock::new();
        let variables = clock.variables();
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let script = "while :; do printf '%(%Y)T\\n' -1; sleep 0.01; done";
        let program = Program::spawn("/bin/bash", ["-c", script], &variables);
        let limit = Duration::from_secs(10);
        let now: i32 = program.wait_for(limit, |line| line.len() == 4).parse().unwrap();
        clock.set(-3 * 366 * 86_400);
        let mark = program.mark();
        program.wait_after(mark, limit, |line| line.parse().is_ok_and(|then: i32| now - then >= 3));
    }
}
