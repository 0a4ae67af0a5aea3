//! The loop: waits for signals, for messages and the end of the daemon, and for the ends of hooks.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use tokio::time::Instant;

use super::channel::{DaemonMessage, Order, TABLE};
use super::duty::{Duty, Ended, Next};
use super::hook_run::GRACE;
use super::hook_runs::HookRuns;
use super::manager;
use super::signals::{Signals, Wanted};
use super::start::{Daemon, reap};
use crate::sandbox;

/// How long a daemon may take to end after the second request.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How many turns of daemon and hooks begin at once within a second, and the pause before each one after them: what floods this
/// process takes no core.
const FREE_TURNS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

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
    let mut parent = Parent {
        arguments,
        signals: Signals::block()?,
        duty: Duty::new(),
        hook_runs: HookRuns::default(),
        turns: Turns { since: Instant::now(), count: 0 },
    };
    let mut begun = Instant::now();
    let mut started = Ok(Daemon::start(arguments, None)?);
    turn_off();
    loop {
        let ended = match started {
            Ok(mut daemon) => parent.attend(&mut daemon),
            Err(error) => Ended::Unknown(format!("cannot be started: {error}")),
        };
        match parent.duty.ended(&ended, begun.elapsed()) {
            Next::End(status) => {
                parent.end();
                return Ok(status);
            }
            Next::Start(pause) => {
                let seconds = pause.as_secs_f64();
                let sentence =
                    format!("pgsvid has ended ({ended}) and starts again in {seconds:.1} s");
                manager::say(notify, &sentence);
                if !parent.rest(pause) {
                    parent.end();
                    return Ok(0);
                }
            }
        }
        begun = Instant::now();
        started = Daemon::start(arguments, parent.duty.predecessor());
    }
}

struct Parent<'a> {
    arguments: &'a [OsString],
    signals: Signals,
    duty: Duty,
    hook_runs: HookRuns,
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

impl Parent<'_> {
    /// Waits until the daemon ends.
    fn attend(&mut self, daemon: &mut Daemon) -> Ended {
        let mut deadline = None;
        // Once it is ready, and there are no hooks, it sends no more messages and cannot wake this process.
        let mut awaited = PollFlags::IN;
        loop {
            let (signalled, events) = self.wait(Some((daemon, awaited)), deadline);
            if signalled {
                while let Some(wanted) = self.signals.next() {
                    match wanted {
                        Wanted::Reap => {
                            if let Some(ended) = reap(Some(daemon), &mut self.hook_runs) {
                                return ended;
                            }
                        }
                        Wanted::Again => daemon.send_order(Order::Again),
                        Wanted::End => {
                            daemon.send_order(Order::End);
                            // Before it listens, the signal ends it; after that it ignores the signal.
                            daemon.signal(Signal::TERM);
                            if self.duty.asked_to_end() > 1 {
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
            if daemon.is_ready && !self.hook_runs.are_there() {
                awaited = PollFlags::empty();
            }
            if !sensible || is_end || events.contains(PollFlags::HUP) {
                return daemon.end();
            }
        }
    }

    /// Handles the daemon's messages. Returns false for a message that no daemon sends.
    fn listen(&mut self, daemon: &mut Daemon) -> bool {
        loop {
            // A second table is refused by its first byte: reading it costs time.
            if daemon.has_table && daemon.received.first() == Some(&TABLE) {
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
                Some(DaemonMessage::Ready) => {
                    daemon.is_ready = true;
                    self.duty.is_ready();
                }
                // The table comes first, before anything else can influence the daemon.
                Some(DaemonMessage::Hook(_)) if !daemon.has_table => return false,
                Some(DaemonMessage::Hook(request)) => {
                    let refused = self.hook_runs.begin(self.arguments, request, daemon.number());
                    if let Some(answer) = refused {
                        daemon.send_answer(&answer);
                    }
                }
            }
        }
    }

    /// Waits while there is no daemon; false if the end is requested.
    fn rest(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.wait(None, Some(until));
            while let Some(wanted) = self.signals.next() {
                match wanted {
                    Wanted::Reap => drop(reap(None, &mut self.hook_runs)),
                    // The next daemon does everything again anyway.
                    Wanted::Again => {}
                    Wanted::End => return false,
                }
            }
        }
        true
    }

    /// Ends the running hooks, unless the kernel cannot end one. A second request kills them at once.
    fn end(&mut self) {
        self.hook_runs.ask_to_end();
        let until = Instant::now() + GRACE + AT_ONCE;
        while self.hook_runs.are_running() && Instant::now() < until {
            // A hook that ignores the request is killed, like after its time-out.
            self.wait(None, Some(until));
            while let Some(wanted) = self.signals.next() {
                if wanted == Wanted::End {
                    self.hook_runs.kill();
                }
            }
            drop(reap(None, &mut self.hook_runs));
        }
    }

    /// Waits until a signal has come, or the daemon's channel has an `awaited` event; also serves the hooks. Returns whether a
    /// signal has come, and the events of the channel.
    fn wait(
        &mut self,
        daemon: Option<(&Daemon, PollFlags)>,
        until: Option<Instant>,
    ) -> (bool, PollFlags) {
        let until = until.into_iter().chain(self.hook_runs.next()).min();
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
