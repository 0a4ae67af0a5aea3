//! How many lines of the log an agent may cause: each of its messages may differ from the one before.

use tokio::time::Instant;

use super::limits;

/// Lines that are left.
pub(super) struct Lines {
    left: u32,
    at: Instant,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { left: limits::LINES.0, at: Instant::now() }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let (most, each) = limits::LINES;
        let grown = self.at.elapsed().as_nanos() / each.as_nanos();
        if let Ok(grown @ 1..) = u32::try_from(grown) {
            self.left = self.left.saturating_add(grown).min(most);
            self.at = Instant::now();
        }
        let taken = self.left.checked_sub(1);
        self.left = taken.unwrap_or(0);
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a15_lines_are_many_at_once_and_few_for_long() {
        let (most, each) = limits::LINES;
        let mut lines = Lines::new();
        assert_eq!((0..1000).filter(|_| lines.take()).count(), most as usize);
        let mut count = 0;
        for _ in 0..1000 {
            tokio::time::advance(each / 10).await;
            count += usize::from(lines.take());
        }
        assert!((99..=100).contains(&count), "{count}");
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert_eq!((0..1000).filter(|_| lines.take()).count(), most as usize);
    }
}
