//! The hooks: those that there are, fixed once, and their runs.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::Instant;

use super::channel::Places;
use super::errand::Errand;
use super::itself::itself;
use crate::hooks::{Answer, End, Request, Table};

/// A hook is not begun more often than this, whatever the daemon says. The daemon itself takes twice as long.
const SHORTEST: Duration = Duration::from_millis(50);

/// What there is to run, and what runs.
#[derive(Default)]
pub(super) struct Errands {
    /// `None` until the first daemon has told.
    table: Option<Table>,
    running: Vec<Errand>,
    /// When each was begun last.
    begun: Vec<Option<Instant>>,
}

impl Errands {
    /// Takes the table of a daemon: the first one is what holds from then on. Returns the numbers of that daemon's hooks.
    pub(super) fn fix(&mut self, table: &Table) -> Places {
        let fixed = self.table.get_or_insert_with(|| table.clone());
        self.begun.resize(fixed.0.len(), None);
        fixed.places(table)
    }

    /// Whether there is any hook.
    pub(super) fn are_there(&self) -> bool {
        self.table.as_ref().is_some_and(|table| !table.0.is_empty())
    }

    /// Begins a run; an answer if that is not done. `asked_by` is the number of the daemon that asks.
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
        let runs = self.running.iter().any(|errand| errand.number == request.number);
        if runs || begun.is_some_and(|begun| now < begun + SHORTEST) {
            return refused(End::Busy);
        }
        *begun = Some(now);
        match Errand::start(itself(arguments), entry, request, asked_by) {
            Ok(errand) => {
                self.running.push(errand);
                None
            }
            Err(error) => refused(End::NotStarted(error.raw_os_error().unwrap_or_default())),
        }
    }

    /// What is waited for while hooks run.
    pub(super) fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.running.iter().filter_map(Errand::output)
    }

    /// When to call [`Self::turn`] if no event comes before; `None` if no run waits for a time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.running.iter().filter_map(Errand::next).min()
    }

    /// Reads what hooks have written, and ends those whose time is over.
    pub(super) fn turn(&mut self) {
        let now = Instant::now();
        self.running.iter_mut().for_each(|errand| errand.turn(now));
    }

    /// To be called before anything is reaped.
    pub(super) fn before_reaping(&mut self) {
        self.running.iter_mut().for_each(Errand::before_it_is_reaped);
    }

    /// A process was reaped: if it was a run's, what came of that, and the number of the daemon that had asked.
    pub(super) fn reaped(&mut self, pid: Pid, status: ExitStatus) -> Option<(u32, Answer)> {
        let at = self.running.iter().position(|errand| errand.pid == pid)?;
        let errand = self.running.swap_remove(at);
        Some((errand.asked_by, errand.ended(status)))
    }

    /// Whether anything runs.
    pub(super) fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Asks all that runs to end.
    pub(super) fn ask_to_end(&mut self) {
        self.running.iter_mut().for_each(Errand::ask_to_end);
    }

    /// Ends all that runs.
    pub(super) fn kill(&mut self) {
        self.running.iter_mut().for_each(Errand::kill);
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
        let mut errands = Errands::default();
        assert_eq!(errands.fix(&table(&["a"]))[..2], [0, 255]);
        // A later table only gets the numbers of this one.
        assert_eq!(errands.fix(&table(&["b", "a"]))[..2], [255, 0]);
        for number in 1..=255 {
            let request = Request { number, token: 7, generation: 1 };
            let answer = errands.begin(&[], request, 0);
            assert_eq!(answer, Some(Answer::plain(7, End::Unknown)));
        }
        assert!(!errands.are_running());
    }

    #[test]
    fn h11_where_no_hooks_were_fixed_none_are_there_later() {
        let mut errands = Errands::default();
        errands.fix(&table(&[]));
        errands.fix(&table(&["a"]));
        assert!(!errands.are_there());
        let request = Request { number: 0, token: 1, generation: 1 };
        assert_eq!(errands.begin(&[], request, 0), Some(Answer::plain(1, End::Unknown)));
    }
}
