//! The loop: waits for signals, for messages and the end of the daemon, and for the ends of hooks.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use tokio::time::Instant;

use super::application::{Application, NO_SET, OWN_FAILURE};
use super::channel::{APPLICATION, DaemonMessage, Order, TABLE};
use super::duty::{Duty, Ended, Next};
use super::hook_run::GRACE;
use super::hook_runs::HookRuns;
use super::manager;
use super::signals::{self, Caught, Signals, Wanted};
use super::start::{Daemon, reap};
use crate::{hooks, sandbox};

/// How long a daemon may take to end after the second request.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long a daemon may take to end after the application.
const AFTER_APPLICATION: Duration = Duration::from_secs(3);
/// How many turns of daemon and hooks begin at once within a second, and the pause before each one after them: what floods this
/// process takes no core.
const FREE_TURNS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// How all has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The exit status.
    pub status: u8,
    /// Whether an application was not started because there was no set in time, and the daemon has not said so.
    pub is_untold: bool,
}

/// Starts the daemon with the same arguments, and restarts it whenever it ends. Returns the exit status once the end was
/// requested, or if a daemon ends with a status of its own before any daemon was ready.
///
/// `notify` is the value of `NOTIFY_SOCKET`. `turn_off` is called once the first daemon has been started; until then this
/// process may print an error. Fails only if the first daemon cannot be started.
pub fn keep(
    arguments: &[OsString],
    notify: Option<&OsString>,
    turn_off: impl FnOnce(),
) -> io::Result<u8> {
    sandbox::keep_out_of_dumps().map_err(io::Error::other)?;
    let parent = Parent::new(arguments, Signals::block()?, None);
    Ok(parent.keep(notify, turn_off)?.status)
}

/// The same for `exec`: once a daemon is ready, starts the application that the first daemon has read from the arguments, and
/// ends with it. All signals are for the application.
pub fn keep_with_application(
    arguments: &[OsString],
    notify: Option<&OsString>,
) -> io::Result<Kept> {
    sandbox::stay_out_of_dumps().map_err(io::Error::other)?;
    let application = Application::new(arguments);
    Parent::new(arguments, Signals::block_all()?, Some(application)).keep(notify, || ())
}

struct Parent<'a> {
    arguments: &'a [OsString],
    signals: Signals,
    duty: Duty,
    hook_runs: HookRuns,
    application: Option<Application<'a>>,
    turns: Turns,
}

/// The turns of daemon and hooks within a second.
struct Turns {
    since: Instant,
    count: u32,
}

impl Turns {
    /// Whether there were too many, so that the next one has to wait.
    fn are_many(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self { since: Instant::now(), count: 0 };
        }
        self.count >= FREE_TURNS
    }
}

impl<'a> Parent<'a> {
    fn new(
        arguments: &'a [OsString],
        signals: Signals,
        application: Option<Application<'a>>,
    ) -> Self {
        let turns = Turns { since: Instant::now(), count: 0 };
        let hook_runs = HookRuns::default();
        Self { arguments, signals, duty: Duty::new(), hook_runs, application, turns }
    }

    fn keep(mut self, notify: Option<&OsString>, turn_off: impl FnOnce()) -> io::Result<Kept> {
        let hides = self.application.is_some();
        let mut begun = Instant::now();
        let mut started = Ok(Daemon::start(self.arguments, None, hides)?);
        turn_off();
        loop {
            let ended = match started {
                Ok(mut daemon) => self.attend(&mut daemon),
                Err(error) => Ended::Unknown(format!("cannot be started: {error}")),
            };
            match self.duty.ended(&ended, begun.elapsed()) {
                Next::End(status) => return Ok(self.end(status)),
                Next::Start(pause) => {
                    let seconds = pause.as_secs_f64();
                    let sentence =
                        format!("pgsvid has ended ({ended}) and starts again in {seconds:.1} s");
                    manager::say(notify, &sentence);
                    if !self.rest(pause) {
                        return Ok(self.end(0));
                    }
                }
            }
            begun = Instant::now();
            started = Daemon::start(self.arguments, self.duty.predecessor(), hides);
        }
    }

    /// Waits until the daemon ends.
    fn attend(&mut self, daemon: &mut Daemon) -> Ended {
        let mut deadline = None;
        // Once it is ready, and there are no hooks, it sends no more messages and cannot wake this process.
        let mut awaited = PollFlags::IN;
        loop {
            self.serve_application(daemon, &mut deadline);
            let (signalled, events) = self.wait(Some((daemon, awaited)), deadline);
            if signalled {
                while let Some(wanted) = self.signals.next() {
                    match wanted {
                        Wanted::Reap => {
                            if let Some(ended) = self.reap(Some(daemon)) {
                                return ended;
                            }
                        }
                        Wanted::Again => daemon.send_order(Order::Again),
                        Wanted::Pass(caught) => self.pass(caught),
                        Wanted::End => {
                            if self.ask_to_end(daemon, Order::End) > 1 {
                                deadline.get_or_insert(Instant::now() + AT_ONCE);
                            }
                        }
                    }
                }
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return daemon.end();
            }
            if events.is_empty() {
                continue;
            }
            let is_end = daemon.receive();
            // Messages that were sent before its end count: a daemon may report that it is ready, and die.
            let sensible = self.listen(daemon);
            if daemon.is_ready && !self.hook_runs.are_there() && self.application.is_none() {
                awaited = PollFlags::empty();
            }
            if !sensible || is_end || events.contains(PollFlags::HUP) {
                return daemon.end();
            }
        }
    }

    /// Does what is due for the application, lets the daemon log what has become of it, and ends the daemon if all is to end.
    fn serve_application(&mut self, daemon: &Daemon, deadline: &mut Option<Instant>) {
        let Some(application) = &mut self.application else { return };
        application.turn();
        if daemon.has_settings {
            let (answer, reports) = application.news(daemon.number());
            for report in reports {
                daemon.send_report(report);
            }
            if let Some(answer) = answer {
                daemon.send_answer(&answer);
            }
        }
        if application.status().is_some() && deadline.is_none() {
            *deadline = Some(Instant::now() + AFTER_APPLICATION);
            let gives_up = application.gives_up();
            self.ask_to_end(daemon, if gives_up { Order::GiveUp } else { Order::End });
        }
    }

    /// Asks the daemon to end. Returns how often that was done.
    fn ask_to_end(&mut self, daemon: &Daemon, order: Order) -> u32 {
        daemon.send_order(order);
        // Before it listens, the signal ends it; after that it ignores the signal.
        daemon.signal(Signal::TERM);
        self.duty.asked_to_end()
    }

    /// Passes a signal on to the application.
    fn pass(&mut self, caught: Caught) {
        if let Some(application) = &mut self.application {
            application.pass(caught);
        }
        if caught.signal() == Some(Signal::TSTP) {
            signals::stop();
        }
    }

    fn reap(&mut self, daemon: Option<&Daemon>) -> Option<Ended> {
        reap(daemon, &mut self.hook_runs, self.application.as_mut())
    }

    /// Handles the daemon's messages. Returns false for a message that no daemon sends.
    fn listen(&mut self, daemon: &mut Daemon) -> bool {
        loop {
            // A second table and second settings are refused by their first byte: reading them costs time.
            let first = daemon.received.first();
            if daemon.has_table && first == Some(&TABLE)
                || daemon.has_settings && first == Some(&APPLICATION)
            {
                return false;
            }
            let Ok(message) = DaemonMessage::take(&mut daemon.received) else { return false };
            match message {
                None => return true,
                Some(DaemonMessage::Table(table)) => {
                    daemon.has_table = true;
                    let numbers = self.hook_runs.fix(&table);
                    if !table.0.is_empty() {
                        daemon.send_hook_numbers(&numbers);
                    }
                }
                Some(DaemonMessage::Ready(set)) => {
                    daemon.is_ready = true;
                    self.duty.is_ready();
                    if let Some(application) = &mut self.application {
                        application.ready(set);
                    }
                }
                // The table comes first, before anything else can influence the daemon.
                Some(DaemonMessage::Hook(_) | DaemonMessage::Application(_))
                    if !daemon.has_table =>
                {
                    return false;
                }
                Some(DaemonMessage::Application(settings)) => {
                    let Some(application) = &mut self.application else { return false };
                    daemon.has_settings = true;
                    daemon.send_agreement(application.fix(&settings));
                }
                Some(DaemonMessage::Hook(request)) => {
                    if let Some(application) = &mut self.application
                        && request.number == hooks::APPLICATION
                    {
                        application.ask(request, daemon.number());
                        continue;
                    }
                    let refused = self.hook_runs.begin(self.arguments, request, daemon.number());
                    if let Some(answer) = refused {
                        daemon.send_answer(&answer);
                    }
                }
            }
        }
    }

    /// Waits while there is no daemon; false if all is to end.
    fn rest(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.wait(None, Some(until));
            while let Some(wanted) = self.signals.next() {
                match wanted {
                    Wanted::Reap => drop(self.reap(None)),
                    // The next daemon does everything again anyway.
                    Wanted::Again => {}
                    Wanted::End => return false,
                    Wanted::Pass(caught) => self.pass(caught),
                }
            }
            if let Some(application) = &mut self.application {
                application.turn();
                if application.status().is_some() {
                    return false;
                }
            }
        }
        true
    }

    /// Ends the running hooks, unless the kernel cannot end one. A second request kills them at once. `status` is that of the
    /// last daemon.
    fn end(&mut self, status: u8) -> Kept {
        self.hook_runs.ask_to_end();
        let until = Instant::now() + GRACE + AT_ONCE;
        while self.hook_runs.are_running() && Instant::now() < until {
            // A hook that ignores the request is killed, like after its time-out.
            self.wait(None, Some(until));
            while let Some(wanted) = self.signals.next() {
                if matches!(wanted, Wanted::End | Wanted::Pass(_)) {
                    self.hook_runs.kill();
                }
            }
            drop(self.reap(None));
        }
        match &self.application {
            None => Kept { status, is_untold: false },
            Some(application) => {
                let own = if status == 0 { 0 } else { OWN_FAILURE };
                let is_untold = application.gives_up() && status != NO_SET;
                Kept { status: application.status().unwrap_or(own), is_untold }
            }
        }
    }

    /// Waits until a signal has come, or the daemon's channel has an `awaited` event; also serves the hooks. Returns whether a
    /// signal has come, and the events of the channel.
    fn wait(
        &mut self,
        daemon: Option<(&Daemon, PollFlags)>,
        until: Option<Instant>,
    ) -> (bool, PollFlags) {
        let until = until.into_iter().chain(self.hook_runs.next());
        let application = self.application.as_ref().and_then(Application::next);
        let until = until.chain(application).min();
        if self.turns.are_many() && self.is_signalled(PAUSE) {
            return (true, PollFlags::empty());
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut sources = vec![PollFd::new(&self.signals, PollFlags::IN)];
        sources.extend(daemon.map(|(daemon, awaited)| PollFd::new(daemon, awaited)));
        sources
            .extend(self.hook_runs.outputs().map(|it| PollFd::from_borrowed_fd(it, PollFlags::IN)));
        // Interrupted, or short of memory: the descriptors are checked anyway.
        let _ = poll(&mut sources, left.as_ref());
        let signalled = sources.first().is_some_and(|it| !it.revents().is_empty());
        let events = sources.get(1).filter(|_| daemon.is_some());
        let events = events.map_or(PollFlags::empty(), PollFd::revents);
        let others = sources.iter().skip(1).any(|it| !it.revents().is_empty());
        drop(sources);
        self.turns.count += u32::from(others);
        if self.hook_runs.are_running() {
            self.hook_runs.turn();
        }
        (signalled, events)
    }

    /// Whether a signal comes within this time.
    fn is_signalled(&self, within: Duration) -> bool {
        let limit = Timespec::try_from(within).ok();
        matches!(poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], limit.as_ref()), Ok(1..))
    }
}
