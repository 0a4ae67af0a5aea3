//! Whether others have exchanged what is published, if only for a moment, and how it is put right.

use std::time::{Duration, SystemTime};

use rustix::fs::AtFlags;
use rustix::time::{ClockId, clock_gettime};

use super::directory::Directory;
use super::error::Error;
use super::trace::Trace;
use super::{Publisher, links, sweep};

/// The kernel notes times by a clock that ticks so often at least.
const TICK: Duration = Duration::from_millis(1);
/// A file server has a clock of its own, which may be ahead.
const MOST_TICKS: u32 = 50;

impl Publisher {
    /// Whether nobody has exchanged anything of the published set since we have left it, not even for a moment: PostgreSQL
    /// may have read it at that moment.
    #[must_use]
    pub fn is_undisturbed(&self) -> bool {
        !self.is_exposed()
            || traces_of(&self.directory, &self.exchangeable())
                .is_ok_and(|traces| traces == self.left)
    }

    /// Notes how we leave what others could exchange.
    pub(super) fn leave(&mut self) -> Result<(), Error> {
        self.left.clear();
        if self.directory.is_exposed() {
            self.left = settled_traces(&self.directory, &self.exchangeable())?;
        }
        Ok(())
    }

    /// The links, and the generation that they lead to.
    fn exchangeable(&self) -> Vec<String> {
        let current = self.current.iter().map(|current| current.name().to_owned());
        self.names().into_iter().chain([links::CURRENT.to_owned()]).chain(current).collect()
    }

    /// Removes the generations that nobody needs any more.
    pub fn sweep(&mut self, now: SystemTime) {
        // It changes the directory, which is not to hide that somebody has exchanged it.
        let above = self.directory.above();
        let undisturbed = self.is_undisturbed();
        if let Some(current) = &self.current {
            let previous = self.previous.as_deref();
            sweep::sweep(&self.directory, current.name(), previous, &self.settings, now);
        }
        if undisturbed && let Ok(above) = above {
            let _ = self.leave_swept(&above);
        }
    }

    /// Notes how a sweep has left the directory, unless something else has changed meanwhile: it may take long, where others
    /// have made many entries. `above` is what was above the directory before.
    fn leave_swept(&mut self, above: &Trace) -> Result<(), Error> {
        if !self.is_exposed() {
            return Ok(());
        }
        let traces = settled_traces(&self.directory, &self.exchangeable())?;
        let own = self.directory.own_trace()?;
        // Where the directory itself can be exchanged, its own trace no longer tells, and what is above it has to.
        let may_differ = |trace: &Trace| trace.is_of_same(&own);
        let same = traces.len() == self.left.len()
            && traces
                .iter()
                .zip(&self.left)
                .all(|(now, left)| now == left || (now.is_of_same(left) && may_differ(now)));
        let is_beside = traces.iter().any(may_differ);
        if same && (!is_beside || self.directory.above()? == *above) {
            self.left = traces;
        }
        Ok(())
    }

    /// Makes the links anew that others have changed, without a new generation: that takes no room on a full volume.
    /// Returns whether the published set is as it was left then.
    pub fn restore_links(&mut self) -> bool {
        let Some(current) = &self.current else { return false };
        let name = current.name().to_owned();
        let in_place = self.directory.is_in_place().is_ok_and(|in_place| in_place);
        if !in_place || !current.is_untouched(&self.directory) {
            return false;
        }
        // What is no link has to be moved away first. A link is replaced at once, so that its name is never free.
        if self.make_links(&name).is_err() {
            let _ = self.preflight().and_then(|()| self.make_links(&name));
        }
        let _ = self.leave();
        self.is_intact()
    }

    fn make_links(&self, generation: &str) -> Result<(), Error> {
        if !links::current(&self.directory).is_ok_and(|name| name.as_deref() == Some(generation)) {
            links::swap(&self.directory, generation)?;
        }
        links::ensure(&self.directory, &self.names()).map(drop)
    }
}

/// What others could exchange and exchange back while PostgreSQL reads: the links, the generation, and what they may rename
/// on the way to the directory. Files in the generation are out of their reach.
fn traces_of(directory: &Directory, names: &[String]) -> Result<Vec<Trace>, Error> {
    let mut traces = directory.exposed()?;
    for name in names {
        let stat = rustix::fs::statat(directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        traces.push(Trace::of(&stat.map_err(|cause| directory.step("look at", name, cause))?));
    }
    Ok(traces)
}

/// The same once the kernel's clock has gone on, so that whatever happens later gets a later time.
fn settled_traces(directory: &Directory, names: &[String]) -> Result<Vec<Trace>, Error> {
    let mut traces = traces_of(directory, names)?;
    for _ in 0..MOST_TICKS {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        if traces.iter().all(|trace| trace.is_before((now.tv_sec, now.tv_nsec))) {
            break;
        }
        std::thread::sleep(TICK);
        traces = traces_of(directory, names)?;
    }
    Ok(traces)
}
