//! Whether others have replaced published files, even for a moment, and how this is repaired.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::directory::Directory;
use super::error::Error;
use super::trace::Trace;
use super::{Publisher, generation_name, links, sweep};

/// How long to sleep between two looks. The kernel's clock for file times ticks every 1 to 10 ms (`CONFIG_HZ` of 1000 to
/// 100).
const TICK: Duration = Duration::from_millis(1);
/// The most looks in a row: a file server has its own clock, which may be ahead of this machine's.
const MOST_TICKS: u32 = 50;

/// What others could replace, as pgsvid has left it: entries on the path to the directory, and entries in it, each by its path.
pub(super) type Left = BTreeMap<PathBuf, Seen>;

/// Something that others could rename.
#[derive(Debug)]
pub(super) struct Seen {
    /// `None` if it does not exist.
    trace: Option<Trace>,
    /// The trace of the directory that contains it. It is needed for a directory on the path, whose own trace also changes when an
    /// entry is created in it.
    within: Option<Trace>,
}

impl Seen {
    /// Whether nobody has renamed it since. A rename changes both traces, so one unchanged trace is enough.
    fn is_as(&self, left: &Self) -> bool {
        let same = match (&self.trace, &left.trace) {
            (Some(now), Some(left)) => now.is_same_inode(left),
            _ => false,
        };
        self.trace == left.trace || (same && left.within.is_some() && self.within == left.within)
    }
}

impl Publisher {
    /// Whether nobody has replaced anything of the published set since pgsvid left it, not even for a moment: PostgreSQL may
    /// have read it at that moment.
    #[must_use]
    pub fn is_undisturbed(&self) -> bool {
        !self.is_exposed()
            || look(&self.directory, &self.exchangeable()).is_ok_and(|now| {
                now.len() == self.left.len()
                    && now
                        .iter()
                        .all(|(path, now)| self.left.get(path).is_some_and(|left| now.is_as(left)))
            })
    }

    /// The first path that somebody has replaced or renamed since pgsvid left it.
    pub(super) fn disturbance(&self) -> Option<PathBuf> {
        if !self.is_exposed() {
            return None;
        }
        let now = look(&self.directory, &self.exchangeable()).ok()?;
        let differs = |(path, now): &(&PathBuf, &Seen)| {
            !self.left.get(*path).is_some_and(|left| now.is_as(left))
        };
        now.iter().find(differs).map(|(path, _)| path.clone())
    }

    /// Records the present state of what others could replace.
    pub(super) fn leave(&mut self) -> Result<(), Error> {
        self.left.clear();
        if !self.is_exposed() {
            return Ok(());
        }
        if self.settings.keep_until_expiry {
            self.earlier.extend(self.directory.entries(generation_name::PREFIX)?);
            self.earlier.sort_unstable_by(|a, b| b.cmp(a));
            self.earlier.dedup();
            self.earlier.truncate(self.settings.keep_at_most);
        }
        self.left = settled(&self.directory, &self.exchangeable())?;
        Ok(())
    }

    /// The names of the links, of the generation that they lead to, and of earlier generations whose paths clients may hold.
    fn exchangeable(&self) -> Vec<String> {
        let current = self.current.iter().map(|current| current.name().to_owned());
        let links = self.names().into_iter().chain([links::CURRENT.to_owned()]);
        links.chain(current).chain(self.earlier.iter().cloned()).collect()
    }

    /// Removes the generations that nobody needs any more. It does nothing where others may rename: there [`Self::publish`]
    /// removes them before it records the state of the directory, because a removal after that would hide that somebody has
    /// replaced the directory.
    pub fn sweep(&mut self, now: SystemTime) {
        if !self.is_exposed() {
            self.remove_old(now);
        }
    }

    pub(super) fn remove_old(&mut self, now: SystemTime) {
        if let Some(current) = &self.current {
            let previous = self.previous.as_deref();
            let removed =
                sweep::sweep(&self.directory, current.name(), previous, &self.settings, now);
            self.earlier.retain(|name| !removed.contains(name));
        }
    }

    /// Restores the links that others have changed, without a new generation, because that takes no space on a full volume.
    /// Returns whether the published set is then as it was left.
    pub fn restore_links(&mut self) -> bool {
        let Some(current) = &self.current else { return false };
        let name = current.name().to_owned();
        let in_place = self.directory.is_in_place().is_ok_and(|in_place| in_place);
        if !in_place || !current.is_untouched(&self.directory) {
            return false;
        }
        // A file that is not a link must be moved away first. A link is replaced at once, so that its name is never free.
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

/// What others could replace and put back while PostgreSQL reads: the links, generations, and what they may rename on the
/// path to the directory. Files in a generation are out of their reach.
fn look(directory: &Directory, names: &[String]) -> Result<Left, Error> {
    let mut seen = Left::new();
    for step in directory.exposed()? {
        let (trace, within) = (Some(Trace::of(&step.stat)), Some(step.within));
        seen.insert(step.path, Seen { trace, within });
    }
    for name in names {
        let trace = match rustix::fs::statat(directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(Trace::of(&stat)),
            Err(Errno::NOENT) => None,
            Err(cause) => return Err(directory.step("look at", name, cause)),
        };
        seen.insert(Path::new(name).to_owned(), Seen { trace, within: None });
    }
    Ok(seen)
}

/// Looks again until the kernel's clock has ticked, so that any later change gets a later time.
fn settled(directory: &Directory, names: &[String]) -> Result<Left, Error> {
    let mut ticks = 0;
    loop {
        // The time is read before the look: a change after the look, in the same tick, would get the same time.
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let is_past = |trace: &Trace| trace.is_before((now.tv_sec, now.tv_nsec));
        let mut seen = look(directory, names)?;
        ticks += 1;
        if ticks > MOST_TICKS || seen.values().all(|it| it.trace.as_ref().is_none_or(is_past)) {
            // If others keep changing the containing directory, its trace may never be old enough: then it proves nothing, and
            // is left out.
            for it in seen.values_mut() {
                it.within.take_if(|within| !is_past(within));
            }
            return Ok(seen);
        }
        std::thread::sleep(TICK);
    }
}
