//! Clock changes: somebody has set the wall clock, or the machine has slept. Timers notice neither.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::clock;

/// How often the clocks are compared where the kernel does not report a change, as gVisor's does not.
const LOOK: Duration = Duration::from_secs(20);
/// Smallest change that counts. Slewing, and a process that waits for its turn, make smaller ones.
const SMALLEST: Duration = Duration::from_secs(5);

/// By how much the wall clock moved ahead of, or behind, the timers' clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leap {
    /// It was set forward, or the machine has slept.
    Forward(Duration),
    /// It was set back.
    Back(Duration),
}

/// Compares the two clocks, from its creation on, whenever the kernel reports that the clock was set.
#[derive(Debug)]
pub struct Clocks {
    clock: fn() -> SystemTime,
    wall: SystemTime,
    timer: Instant,
    kernel_reports: Option<AsyncFd<OwnedFd>>,
}

impl Clocks {
    /// Starts to compare. Call it within a tokio runtime.
    #[must_use]
    pub fn compared() -> Self {
        Self { kernel_reports: never_expiring().ok(), ..Self::of(clock::now) }
    }

    /// The same with another wall clock, such as one that a test sets. The kernel reports no changes of it.
    #[must_use]
    pub fn of(clock: fn() -> SystemTime) -> Self {
        Self { clock, wall: clock(), timer: Instant::now(), kernel_reports: None }
    }

    /// The wall-clock time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Whether the kernel reports clock changes. Otherwise the clocks are compared every 20 seconds.
    #[must_use]
    pub fn are_reported(&self) -> bool {
        self.kernel_reports.is_some()
    }

    /// Starts the comparison again: changes before this call do not count.
    pub fn restart(&mut self) {
        (self.wall, self.timer) = (self.now(), Instant::now());
    }

    /// Waits for the next clock change. Safe to cancel.
    pub async fn leap(&mut self) -> Leap {
        loop {
            self.wait_until_set().await;
            let (wall, timer) = (self.now(), Instant::now());
            let leap = between(self.wall, wall, timer - self.timer);
            (self.wall, self.timer) = (wall, timer);
            if let Some(leap) = leap {
                return leap;
            }
        }
    }

    /// Returns when the wall clock may have been set, or the machine may have slept.
    async fn wait_until_set(&mut self) {
        let Some(timer) = &self.kernel_reports else {
            return sleep(LOOK).await;
        };
        let expired = timer.async_io(Interest::READABLE, |timer| {
            read(timer, &mut [0; 8]).map_err(std::io::Error::from)
        });
        let canceled = Errno::CANCELED.raw_os_error();
        match expired.await {
            Err(error) if error.raw_os_error() == Some(canceled) => {}
            other => {
                debug!(?other, "the kernel no longer reports when the clock is set");
                self.kernel_reports = None;
            }
        }
    }
}

/// A timer of the wall clock that the kernel cancels whenever the clock is set or the machine wakes:
/// `TFD_TIMER_CANCEL_ON_SET` of `timerfd_create(2)`. A read rearms it. It costs nothing while it waits.
fn never_expiring() -> std::io::Result<AsyncFd<OwnedFd>> {
    let timer =
        timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let at = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
    let never = Itimerspec { it_interval: at(0), it_value: at(i64::MAX) };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
    #[expect(
        deprecated,
        reason = "unsound with a value that does not own its descriptor; this one does"
    )]
    AsyncFd::with_interest(timer, Interest::READABLE)
}

/// By how much the wall clock moved while the timers' clock ran for `elapsed`.
fn between(before: SystemTime, after: SystemTime, elapsed: Duration) -> Option<Leap> {
    let should_be = before.checked_add(elapsed)?;
    let leap = match after.duration_since(should_be) {
        Ok(ahead) => Leap::Forward(ahead),
        Err(behind) => Leap::Back(behind.duration()),
    };
    let (Leap::Forward(by) | Leap::Back(by)) = leap;
    (by >= SMALLEST).then_some(leap)
}

impl fmt::Display for Leap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the nearest second: some time passes between reading the two clocks.
        let shown = |by: &Duration| clock::roughly(*by + Duration::from_millis(500));
        match self {
            Self::Forward(by) => write!(f, "{} forward", shown(by)),
            Self::Back(by) => write!(f, "{} back", shown(by)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c01_c04_a_clock_change_is_distinguished_from_the_course_of_time() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let seconds = Duration::from_secs;
        for (elapsed, after, leap) in [
            (seconds(20), start + seconds(20), None),
            (seconds(20), start + seconds(24), None),
            (seconds(20), start + seconds(16), None),
            // A busy machine delays both.
            (seconds(500), start + seconds(500), None),
            // The machine slept for three hours.
            (seconds(20), start + seconds(3 * 3600 + 20), Some("3h forward")),
            (seconds(20), start - seconds(86_400 - 20), Some("1d back")),
            (seconds(20), start + seconds(25), Some("5s forward")),
            (seconds(20), start + seconds(15), Some("5s back")),
            (seconds(20), SystemTime::UNIX_EPOCH, Some("11d 13h back")),
        ] {
            let found = between(start, after, elapsed).map(|leap| leap.to_string());
            assert_eq!(found.as_deref(), leap, "{elapsed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn c01_where_the_kernel_does_not_tell_the_clocks_are_compared_from_time_to_time() {
        let mut clocks = Clocks::of(clock::now);
        // The paused timers run to their end; the wall clock does not.
        assert_eq!(clocks.leap().await.to_string(), "20s back");
    }
}
