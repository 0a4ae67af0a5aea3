//! A seam for tests: a publication can be ended at each of its steps, as by a kill, and its writes can be cut short.
//!
//! Outside of tests it does nothing.

#[cfg(test)]
pub(super) use faults::{killed_after, step, writer};
#[cfg(not(test))]
pub(super) use nothing::{step, writer};

#[cfg(not(test))]
mod nothing {
    /// Called before each change on disk.
    pub(in crate::publish) fn step() {}

    /// The writer of file contents.
    pub(in crate::publish) fn writer<W>(file: W) -> W {
        file
    }
}

#[cfg(test)]
mod faults {
    use std::any::Any;
    use std::cell::Cell;
    use std::io::{self, ErrorKind, Write};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    thread_local! {
        static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    struct Killed;

    /// Called before each change on disk.
    pub(in crate::publish) fn step() {
        match STEPS_LEFT.get() {
            Some(0) => resume_unwind(Box::new(Killed)),
            left => STEPS_LEFT.set(left.map(|left| left - 1)),
        }
    }

    /// Runs the work, and ends it after this many steps: nothing is cleaned up, as after a kill. `None` if it was ended.
    pub(in crate::publish) fn killed_after<T>(steps: u32, work: impl FnOnce() -> T) -> Option<T> {
        STEPS_LEFT.set(Some(steps));
        let done = catch_unwind(AssertUnwindSafe(work));
        STEPS_LEFT.set(None);
        done.map_err(|cause: Box<dyn Any + Send>| {
            if !cause.is::<Killed>() {
                resume_unwind(cause);
            }
        })
        .ok()
    }

    /// Accepts few bytes at a time, and is interrupted now and then.
    pub(in crate::publish) struct Reluctant<W>(W, u32);

    /// The writer of file contents.
    pub(in crate::publish) fn writer<W>(file: W) -> Reluctant<W> {
        Reluctant(file, 0)
    }

    impl<W: Write> Write for Reluctant<W> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(3) {
                return Err(ErrorKind::Interrupted.into());
            }
            self.0.write(&bytes[..bytes.len().min(100)])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
}
