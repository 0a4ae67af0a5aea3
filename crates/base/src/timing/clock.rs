//! The wall clock. It decides about validity; timers run on tokio's clock, which does not jump.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// The wall-clock time.
#[expect(clippy::disallowed_methods, reason = "this is the one home of the wall clock")]
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// The processor time that this thread has used so far.
#[must_use]
pub fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanoseconds)
}

/// A time for people and machines: RFC 3339 in UTC, to the second.
#[must_use]
pub fn utc(time: SystemTime) -> String {
    // Times before 1970 or after 9999 cannot be formatted; certificates may hold them.
    let epoch = SystemTime::UNIX_EPOCH;
    let last = epoch + std::time::Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(time.clamp(epoch, last)).to_string()
}

/// The same to the microsecond, as Kubernetes writes the times of a Lease (`metav1.MicroTime`).
#[must_use]
pub fn utc_to_the_microsecond(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

/// A duration for people: its two largest units, `1h 4m`.
#[must_use]
pub fn roughly(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let units = [
        ("d", seconds / 86_400),
        ("h", seconds / 3600 % 24),
        ("m", seconds / 60 % 60),
        ("s", seconds % 60),
    ];
    let first = units.iter().position(|(_, count)| *count > 0).unwrap_or(units.len() - 1);
    let shown: Vec<String> = units
        .iter()
        .skip(first)
        .take(2)
        .filter(|(_, count)| *count > 0)
        .map(|(unit, count)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

/// A short duration for people: `350 ms` below a second, else as [`roughly`].
#[must_use]
pub fn shortly(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        roughly(duration)
    }
}

/// A duration in milliseconds, to the microsecond.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_are_short() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3_661, "1h 1m"), (3_605, "1h"), (90_000, "1d 1h")]
        {
            assert_eq!(roughly(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn times_out_of_range_are_shown_at_its_ends() {
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(utc(early), "1970-01-01T00:00:00Z");
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(400_000_000_000);
        assert_eq!(utc(late), "9999-12-31T23:59:59Z");
    }
}
