//! The loop: waits for signals, and for the end of the daemon.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use tokio::time::Instant;

use super::channel::Order;
use super::duty::{Duty, Ended, Next};
use super::manager;
use super::signals::{Signals, Wanted};
use super::start::{Daemon, Heard, reap};
use crate::sandbox;

/// How long a daemon may take that was told twice to end.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Starts the daemon, with the same arguments, and starts it again, until the end is asked for; returns the exit status.
///
/// `notify` is the value of `NOTIFY_SOCKET`. `turn_off` is called once the first daemon has been started, which may have
/// something to print. An error is that of the very first start.
pub fn keep(
    arguments: &[OsString],
    notify: Option<&OsString>,
    turn_off: impl FnOnce(),
) -> io::Result<u8> {
    sandbox::keep_out_of_dumps().map_err(io::Error::other)?;
    let signals = Signals::block()?;
    let mut duty = Duty::new();
    let mut begun = Instant::now();
    let mut started = Ok(Daemon::start(arguments, None)?);
    turn_off();
    loop {
        let ended = match started {
            Ok(daemon) => attend(&daemon, &signals, &mut duty),
            Err(error) => Ended::Unknown(format!("cannot be started: {error}")),
        };
        match duty.ended(&ended, begun.elapsed()) {
            Next::End(status) => return Ok(status),
            Next::Start(pause) => {
                let seconds = pause.as_secs_f64();
                let sentence =
                    format!("pgsvid has ended ({ended}) and starts again in {seconds:.1} s");
                manager::say(notify, &sentence);
                if !rest(pause, &signals) {
                    return Ok(0);
                }
            }
        }
        begun = Instant::now();
        started = Daemon::start(arguments, duty.predecessor());
    }
}

/// Until the daemon ends.
fn attend(daemon: &Daemon, signals: &Signals, duty: &mut Duty) -> Ended {
    let mut deadline = None;
    // Its one word is waited for; after that it cannot wake us.
    let mut awaited = PollFlags::IN;
    loop {
        let mut sources = [PollFd::new(signals, PollFlags::IN), PollFd::new(daemon, awaited)];
        wait(&mut sources, deadline);
        let (signalled, told) = (sources[0].revents(), sources[1].revents());
        if !signalled.is_empty() {
            while let Some(wanted) = signals.next() {
                match wanted {
                    Wanted::Reap => {
                        if let Some(ended) = daemon.reap() {
                            return ended;
                        }
                    }
                    Wanted::Again => daemon.tell(Order::Again),
                    Wanted::End => {
                        daemon.tell(Order::End);
                        // Before it listens it ends by that; after that it takes no notice.
                        daemon.signal(Signal::TERM);
                        if duty.asked_to_end() > 1 {
                            deadline.get_or_insert(Instant::now() + AT_ONCE);
                        }
                    }
                }
            }
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return daemon.end();
        }
        if told.is_empty() {
            continue;
        }
        let heard = daemon.hear();
        if heard == Heard::Ready {
            duty.is_ready();
            awaited = PollFlags::empty();
        }
        if heard == Heard::End || told.contains(PollFlags::HUP) {
            return daemon.end();
        }
    }
}

/// Waits while there is no daemon; false if the end is asked for.
fn rest(pause: Duration, signals: &Signals) -> bool {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        wait(&mut [PollFd::new(signals, PollFlags::IN)], Some(until));
        while let Some(wanted) = signals.next() {
            match wanted {
                Wanted::Reap => reap(),
                // The next daemon does everything anew.
                Wanted::Again => {}
                Wanted::End => return false,
            }
        }
    }
    true
}

fn wait(sources: &mut [PollFd<'_>], until: Option<Instant>) {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    // Interrupted, or short of memory: what there is is looked at.
    let _ = poll(sources, left.as_ref());
}
