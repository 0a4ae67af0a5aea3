//! The hooks that may run, which the first daemon fixes, and the runs of hooks.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::Instant;

use super::channel::HookNumbers;
use super::hook_run::HookRun;
use super::itself::itself;
use crate::hooks::{Answer, End, Request, Table};

/// Shortest time between two starts of one hook, whatever the daemon requests. The daemon itself waits twice as long.
const SHORTEST: Duration = Duration::from_millis(50);

/// The table of hooks, and the runs that have not ended.
#[derive(Default)]
pub(super) struct HookRuns {
    /// `None` until the first daemon has sent it.
    table: Option<Table>,
    running: Vec<HookRun>,
    /// When each hook was last started.
    begun: Vec<Option<Instant>>,
}

impl HookRuns {
    /// Takes the table of a daemon. The first table stays valid for all later daemons. Returns the numbers of this daemon's
    /// hooks in the first table.
    pub(super) fn fix(&mut self, table: &Table) -> HookNumbers {
        let fixed = self.table.get_or_insert_with(|| table.clone());
        self.begun.resize(fixed.0.len(), None);
        fixed.indexes_of(table)
    }

    /// Whether there is any hook.
    pub(super) fn are_there(&self) -> bool {
        self.table.as_ref().is_some_and(|table| !table.0.is_empty())
    }

    /// Starts a run. Returns an answer for the daemon if the run could not be started. `asked_by` is the number of that daemon.
    pub(super) fn begin(
        &mut self,
        arguments: &[OsString],
        request: Request,
        asked_by: u32,
    ) -> Option<Answer> {
        let refused = |end| Some(Answer::plain(request.token, end));
        let number = usize::from(request.number);
        let entry = self.table.as_ref().and_then(|table| table.0.get(number));
        let (Some(entry), Some(begun)) = (entry, self.begun.get_mut(number)) else {
            return refused(End::Unknown);
        };
        let now = Instant::now();
        let runs = self.running.iter().any(|run| run.number == request.number);
        if runs || begun.is_some_and(|begun| now < begun + SHORTEST) {
            return refused(End::Busy);
        }
        *begun = Some(now);
        match HookRun::start(itself(arguments), entry, request, asked_by) {
            Ok(run) => {
                self.running.push(run);
                None
            }
            Err(error) => refused(End::NotStarted(error.raw_os_error().unwrap_or_default())),
        }
    }

    /// The descriptors to poll for output while hooks run.
    pub(super) fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.running.iter().filter_map(HookRun::output)
    }

    /// When to call [`Self::turn`] if no event comes before; `None` if no run waits for a time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.running.iter().filter_map(HookRun::next).min()
    }

    /// Reads the output of hooks, and ends those whose time is over.
    pub(super) fn turn(&mut self) {
        let now = Instant::now();
        self.running.iter_mut().for_each(|run| run.turn(now));
    }

    /// Call it before any child is reaped.
    pub(super) fn before_reaping(&mut self) {
        self.running.iter_mut().for_each(HookRun::before_it_is_reaped);
    }

    /// For a child that was reaped: if it carried out a run, the number of the daemon that requested it, and the result.
    pub(super) fn reaped(&mut self, pid: Pid, status: ExitStatus) -> Option<(u32, Answer)> {
        let at = self.running.iter().position(|run| run.pid == pid)?;
        let run = self.running.swap_remove(at);
        Some((run.asked_by, run.ended(status)))
    }

    /// Whether anything runs.
    pub(super) fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Asks all running hooks to end.
    pub(super) fn ask_to_end(&mut self) {
        self.running.iter_mut().for_each(HookRun::ask_to_end);
    }

    /// Kills all running hooks.
    pub(super) fn kill(&mut self) {
        self.running.iter_mut().for_each(HookRun::kill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Entry;

    fn table(names: &[&str]) -> Table {
        let entry = |name: &&str| Entry {
            timeout: Duration::from_secs(1),
            bytes: name.as_bytes().to_vec(),
        };
        Table(names.iter().map(entry).collect())
    }

    #[test]
    fn h11_the_first_hook_table_stays_and_other_numbers_run_nothing() {
        let mut hook_runs = HookRuns::default();
        assert_eq!(hook_runs.fix(&table(&["a"]))[..2], [0, 255]);
        // A later table only gets the numbers of this one.
        assert_eq!(hook_runs.fix(&table(&["b", "a"]))[..2], [255, 0]);
        for number in 1..=255 {
            let request = Request { number, token: 7, generation: 1, set: [0; 32] };
            let answer = hook_runs.begin(&[], request, 0);
            assert_eq!(answer, Some(Answer::plain(7, End::Unknown)));
        }
        assert!(!hook_runs.are_running());
    }

    #[test]
    fn h11_where_no_hooks_were_fixed_none_are_there_later() {
        let mut hook_runs = HookRuns::default();
        hook_runs.fix(&table(&[]));
        hook_runs.fix(&table(&["a"]));
        assert!(!hook_runs.are_there());
        let request = Request { number: 0, token: 1, generation: 1, set: [0; 32] };
        assert_eq!(hook_runs.begin(&[], request, 0), Some(Answer::plain(1, End::Unknown)));
    }
}
