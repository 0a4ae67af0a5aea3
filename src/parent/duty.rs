//! What to do after a daemon has ended: start it again, or not. Pure: its inputs are events.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use super::channel::Predecessor;
use crate::timing::Backoff;

/// The longest first pause. The limit doubles with each pause after it, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);
/// Less than the time after which a service manager's watchdog would act.
const LONGEST: Duration = Duration::from_secs(10);
/// A daemon that has run for this long was able to run.
const LONG: Duration = Duration::from_secs(60);
/// The same of a daemon that has published. Short, because a pod in which no daemon runs leaves its Service: a daemon that is
/// killed every ten seconds must be away for less time than three readiness probes take.
const LONG_FOR_READY: Duration = Duration::from_secs(5);
/// Exit status of a daemon that failed.
const FAILED: u8 = 1;
/// The greatest exit status that the program itself returns. Others come from panics, and from other programs in its place.
const LARGEST_STATUS: i32 = 2;

/// How a daemon ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With this status, which is an exit status or a signal.
    Exited(ExitStatus),
    /// Unknown: it could not be started, or another process got the status.
    Unknown(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => status.fmt(formatter),
            Self::Unknown(why) => formatter.write_str(why),
        }
    }
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start a daemon, after this time.
    Start(Duration),
    /// End, with this status.
    End(u8),
}

/// The parent's state.
#[derive(Debug)]
pub(super) struct Duty {
    /// How often the end was requested.
    asked: u32,
    /// Whether a daemon was ready once: PostgreSQL may have started with what it published.
    ready: bool,
    /// Whether that is so of the daemon that runs.
    ready_now: bool,
    backoff: Backoff,
    predecessor: Option<Predecessor>,
}

impl Duty {
    pub(super) fn new() -> Self {
        Self {
            asked: 0,
            ready: false,
            ready_now: false,
            backoff: Backoff::new(FIRST, LONGEST),
            predecessor: None,
        }
    }

    /// The daemon that ended last.
    pub(super) fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
    }

    /// The daemon has published a valid set.
    pub(super) fn is_ready(&mut self) {
        self.ready = true;
        self.ready_now = true;
    }

    /// Records a request to end; returns how many there have been.
    pub(super) fn asked_to_end(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    /// A daemon has ended after this time.
    ///
    /// If it ends with its own exit status before any daemon was ready, it cannot work with its configuration: the parent
    /// ends with that status, so that its starter knows at once. After that no status ends the parent: what helps PostgreSQL
    /// must not stop.
    pub(super) fn ended(&mut self, how: &Ended, lived: Duration) -> Next {
        let code = match how {
            Ended::Exited(status) => status.code(),
            Ended::Unknown(_) => None,
        };
        if self.asked > 0 {
            return Next::End(match (code, how) {
                (Some(code), _) => u8::try_from(code).unwrap_or(FAILED),
                // Before the daemon takes its signals from the parent, a signal ends it like any program.
                (None, Ended::Exited(status)) if is_wanted(*status) => 0,
                _ => FAILED,
            });
        }
        if let Some(code) = code.filter(|code| !self.ready && *code <= LARGEST_STATUS) {
            return Next::End(u8::try_from(code).unwrap_or(FAILED));
        }
        let long = if std::mem::take(&mut self.ready_now) { LONG_FOR_READY } else { LONG };
        if lived >= long {
            self.backoff.reset();
        }
        let restarts = self.predecessor.as_ref().map_or(0, |one| one.restarts).saturating_add(1);
        self.predecessor = Some(Predecessor { restarts, ended: how.to_string() });
        Next::Start(self.backoff.delay())
    }
}

fn is_wanted(status: ExitStatus) -> bool {
    use nix::sys::signal::Signal::{SIGINT, SIGTERM};
    status.signal().is_some_and(|signal| [SIGTERM as i32, SIGINT as i32].contains(&signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIEFLY: Duration = Duration::from_millis(20);

    fn exited(code: i32) -> Ended {
        Ended::Exited(ExitStatus::from_raw(code << 8))
    }

    fn killed(signal: i32) -> Ended {
        Ended::Exited(ExitStatus::from_raw(signal))
    }

    #[test]
    fn x08_the_first_daemon_that_cannot_do_its_work_ends_the_parent_with_its_status() {
        for code in [1, 2] {
            assert_eq!(
                Duty::new().ended(&exited(code), BRIEFLY),
                Next::End(u8::try_from(code).unwrap())
            );
        }
    }

    #[test]
    fn x08_a_daemon_that_ends_for_any_other_reason_is_started_again_within_a_second() {
        for ready in [false, true] {
            for how in [
                killed(9),
                killed(11),
                killed(15),
                exited(101),
                Ended::Unknown("no memory".to_owned()),
            ] {
                let mut duty = Duty { ready, ..Duty::new() };
                let next = duty.ended(&how, BRIEFLY);
                assert!(
                    matches!(next, Next::Start(pause) if pause <= Duration::from_secs(1)),
                    "{next:?}"
                );
                let last = duty.predecessor().unwrap();
                assert_eq!((last.restarts, &last.ended), (1, &how.to_string()));
            }
        }
    }

    #[test]
    fn x08_once_one_was_ready_no_status_ends_the_parent() {
        let mut duty = Duty::new();
        duty.is_ready();
        for restarts in 1..1000 {
            for code in [0, 1, 2] {
                let next = duty.ended(&exited(code), BRIEFLY);
                assert!(matches!(next, Next::Start(pause) if pause <= LONGEST), "{next:?}");
            }
            assert_eq!(duty.predecessor().unwrap().restarts, 3 * restarts);
        }
        // A daemon that has run for long is started again like the first one.
        let next = duty.ended(&exited(1), LONG);
        assert!(matches!(next, Next::Start(pause) if pause <= FIRST), "{next:?}");
    }

    #[test]
    fn o05_a_daemon_that_publishes_and_is_killed_every_few_seconds_never_waits_longer_than_the_first_time()
     {
        let mut duty = Duty::new();
        for _ in 0..100 {
            duty.is_ready();
            let next = duty.ended(&killed(9), LONG_FOR_READY);
            assert!(matches!(next, Next::Start(pause) if pause <= FIRST), "{next:?}");
        }
        // One that never gets that far waits longer and longer.
        let pauses = (0..100).map(|_| match duty.ended(&killed(9), LONG_FOR_READY) {
            Next::Start(pause) => pause,
            Next::End(status) => panic!("{status}"),
        });
        assert!(pauses.max().unwrap() > FIRST);
    }

    #[test]
    fn asked_to_end_it_ends_with_the_daemons_status() {
        for (how, status) in
            [(exited(0), 0), (exited(1), 1), (killed(15), 0), (killed(2), 0), (killed(9), 1)]
        {
            let mut duty = Duty::new();
            duty.is_ready();
            assert_eq!(duty.asked_to_end(), 1);
            assert_eq!(duty.ended(&how, BRIEFLY), Next::End(status), "{how}");
        }
    }
}
