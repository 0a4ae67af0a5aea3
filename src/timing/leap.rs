//! Leaps of the wall clock: somebody has set it, or the machine has slept. Timers notice neither.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::clock;

/// How often the clocks are compared: a machine that wakes is noticed within this time.
const LOOK: Duration = Duration::from_secs(20);
/// Smallest leap. Clocks that are slewed, and a process that waits for its turn, differ by less.
const SMALLEST: Duration = Duration::from_secs(5);

/// By how much the wall clock has run ahead of, or fallen behind, the clock of the timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leap {
    /// It was set forward, or the machine has slept.
    Forward(Duration),
    /// It was set back.
    Back(Duration),
}

/// Compares the clocks, from when it is made on.
#[derive(Debug)]
pub struct Clocks {
    wall: SystemTime,
    timer: Instant,
}

impl Clocks {
    /// Begins to compare.
    #[must_use]
    pub fn compared() -> Self {
        Self { wall: clock::now(), timer: Instant::now() }
    }

    /// Waits for the next leap. May be cancelled without loss.
    pub async fn leap(&mut self) -> Leap {
        loop {
            sleep(LOOK).await;
            let now = Self::compared();
            let before = std::mem::replace(self, now);
            if let Some(leap) = between(before.wall, self.wall, self.timer - before.timer) {
                return leap;
            }
        }
    }
}

/// What the wall clock did while the timers' clock ran for `elapsed`.
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
        // To the nearest second: between the two clocks' readings some time passes.
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
    fn c01_c04_a_leap_is_told_from_the_course_of_time() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let seconds = Duration::from_secs;
        for (elapsed, after, leap) in [
            (seconds(20), start + seconds(20), None),
            (seconds(20), start + seconds(24), None),
            (seconds(20), start + seconds(16), None),
            // A busy machine holds up both.
            (seconds(500), start + seconds(500), None),
            // Asleep for three hours.
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
}
