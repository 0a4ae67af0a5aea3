//! When a certificate is valid: its own dates, and how much two clocks may differ.

use std::time::{Duration, SystemTime};

use super::certificate::Certificate;

/// How far a leaf's start may be ahead of our clock. Agents date certificates 10 s back; machines without a precise clock
/// differ by up to a minute more.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Whether a certificate is valid at `now`, with [`CLOCK_SKEW`] at its start.
pub(super) fn is_valid(certificate: &Certificate, now: SystemTime) -> bool {
    certificate.not_before() <= now + CLOCK_SKEW && now < certificate.not_after()
}
