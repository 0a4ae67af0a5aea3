//! The application of `exec`: a second child of the parent, beside the daemon, and outside its sandbox.

mod become_it;
mod course;
mod process;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::Pid;
use tokio::time::Instant;

pub use become_it::{NotStarted, application, become_application};
use course::{Course, Step};
pub use course::{NO_SET, OWN_FAILURE};
use process::Running;

use super::report::Report;
use super::settings::{OnRotation, Settings};
use super::signals::Caught;
use crate::hooks::{Answer, End, Request, SetSum};
use crate::sandbox::Descriptors;

/// Most reports that are kept for the next daemon.
const KEPT: usize = 16;

pub(super) struct Application<'a> {
    /// Those of this program.
    arguments: &'a [OsString],
    course: Course,
    process: Option<Running>,
    /// What the application inherits, until no other start of it can follow.
    descriptors: Descriptors,
    /// What the daemon is to log.
    reports: Vec<Report>,
    /// The request that is answered once the application has been started again: its token, the daemon, and its begin.
    asked: Option<(u32, u32, Instant)>,
    answer: Option<(u32, Answer)>,
    gives_up: bool,
}

impl<'a> Application<'a> {
    /// Call it before this process opens anything.
    pub(super) fn new(arguments: &'a [OsString]) -> Self {
        Self {
            descriptors: Descriptors::inherited(),
            arguments,
            course: Course::new(Instant::now()),
            process: None,
            reports: Vec::new(),
            asked: None,
            answer: None,
            gives_up: false,
        }
    }

    /// Takes the settings of a daemon. Returns whether they are those of the first one, which stay.
    pub(super) fn fix(&mut self, settings: &Settings) -> bool {
        self.course.fix(settings)
    }

    /// The daemon has published this set, and it is valid: the application may start.
    pub(super) fn ready(&mut self, set: SetSum) {
        let step = self.course.ready(set);
        self.carry_out(step);
    }

    /// A daemon, by its number, asks that the application follows a set. The answer may come later.
    pub(super) fn ask(&mut self, request: Request, asked_by: u32) {
        let now = Instant::now();
        let waits = self.process.as_ref().zip(self.course.signal_of_a_rotation());
        if waits.is_some_and(|(process, signal)| process.would_end_by(signal)) {
            self.answer = Some((asked_by, Answer::plain(request.token, End::Busy)));
            return;
        }
        match self.course.rotated(request.set, now) {
            Ok(step) => {
                self.asked = Some((request.token, asked_by, now));
                self.carry_out(Some(step));
                if !self.course.is_stopping() {
                    self.done(End::Delivered);
                }
            }
            Err(end) => self.answer = Some((asked_by, Answer::plain(request.token, end))),
        }
    }

    /// Passes a signal on to the application, if it runs. While it does not, the signal may end all.
    pub(super) fn pass(&mut self, caught: Caught) {
        if self.course.signalled(caught.number())
            && let Some(process) = &self.process
        {
            process.pass(caught);
        }
    }

    /// Call it before any child is reaped.
    pub(super) fn before_reaping(&self) {
        if let Some(process) = self.process.as_ref().filter(|_| self.course.is_stopping()) {
            process.end_group();
        }
    }

    /// A child was reaped. Returns whether it was the application.
    pub(super) fn reaped(&mut self, pid: Pid, status: ExitStatus) -> bool {
        if self.process.take_if(|process| process.pid() == pid).is_none() {
            return false;
        }
        self.report(Report::Ended(status));
        let step = self.course.ended(status.code(), status.signal());
        self.carry_out(step);
        self.done(End::Delivered);
        true
    }

    /// When to call [`Self::turn`] if no event comes before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.course.next()
    }

    /// Does what is due by now.
    pub(super) fn turn(&mut self) {
        let step = self.course.on_time(Instant::now());
        self.carry_out(step);
    }

    /// The next answer for the daemon with the number, and what it is to log.
    pub(super) fn news(&mut self, daemon: u32) -> (Option<Answer>, Vec<Report>) {
        let answer = self.answer.take().filter(|(asked_by, _)| *asked_by == daemon);
        (answer.map(|(_, answer)| answer), std::mem::take(&mut self.reports))
    }

    /// The status with which all ends; `None` as long as there is something to do.
    pub(super) fn status(&self) -> Option<u8> {
        self.course.status()
    }

    /// Whether it ends because there was no set in time.
    pub(super) fn gives_up(&self) -> bool {
        self.gives_up
    }

    fn done(&mut self, end: End) {
        let Some((token, asked_by, begun)) = self.asked.take() else { return };
        let took = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        self.answer = Some((asked_by, Answer { took, ..Answer::plain(token, end) }));
    }

    fn carry_out(&mut self, step: Option<Step>) {
        let Some(step) = step else { return };
        match (step, &self.process) {
            (Step::Start, _) => self.start(),
            (Step::Tell(signal), Some(process)) => process.signal(signal),
            (Step::Stop, Some(process)) => process.stop(),
            (Step::Kill, Some(process)) => process.kill(),
            (Step::GiveUp, _) => self.gives_up = true,
            // It has ended meanwhile.
            (Step::Tell(_) | Step::Stop | Step::Kill, None) => {}
        }
    }

    fn start(&mut self) {
        let Some(settings) = self.course.settings() else { return };
        let restarts = settings.on_rotation == OnRotation::Restart;
        match Running::start(self.arguments, settings) {
            Ok(process) => {
                self.report(Report::Started(process.pid()));
                self.process = Some(process);
                // A socket that the application closes is closed for its clients.
                if !restarts {
                    std::mem::take(&mut self.descriptors).close();
                }
            }
            Err(error) => {
                self.report(Report::NotStarted(error.raw_os_error().unwrap_or_default()));
                self.course.not_started();
            }
        }
    }

    fn report(&mut self, report: Report) {
        if self.reports.len() == KEPT {
            self.reports.remove(0);
        }
        self.reports.push(report);
    }
}
