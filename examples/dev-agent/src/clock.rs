//! The one place that reads the wall clock.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// The wall clock, cut to whole seconds, because that is all that a certificate can express.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the dev agent's clock; pgsvid's own is another crate's"
)]
pub(crate) fn now() -> SystemTime {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}

/// The same instant as rcgen wants it.
pub(crate) fn calendar(instant: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from(instant)
}
