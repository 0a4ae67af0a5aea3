//! Limits how many lines of the log an agent can cause: each of its messages may differ from the one before.

use std::time::Duration;

use tokio::time::Instant;

/// The remaining lines.
pub struct Lines {
    most: u32,
    each: Duration,
    left: u32,
    at: Instant,
    /// Whether the limit was reached, and fewer than half of the lines are left since then.
    short: bool,
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// It is written.
    Written,
    /// It goes to the debug level, and is the first one since the limit had recovered: the caller logs that once.
    FirstHidden,
    /// It goes to the debug level.
    Hidden,
}

impl Lines {
    /// Allows `most` lines at once, and one more after each time of `each`.
    #[must_use]
    pub fn new((most, each): (u32, Duration)) -> Self {
        Self { most, each, left: most, at: Instant::now(), short: false }
    }

    /// What happens to the next line. Uses up one of the remaining lines, if there is one.
    pub fn take(&mut self) -> Line {
        let grown = self.at.elapsed().as_nanos() / self.each.as_nanos();
        if let Ok(grown @ 1..) = u32::try_from(grown) {
            self.left = self.left.saturating_add(grown).min(self.most);
            self.at = Instant::now();
        }
        self.short &= self.left < self.most / 2;
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Line::Written
            }
            None if std::mem::replace(&mut self.short, true) => Line::Hidden,
            None => Line::FirstHidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::workload_api::limits;

    #[tokio::test(start_paused = true)]
    async fn a15_the_log_limit_allows_a_burst_and_then_one_line_per_interval() {
        let (most, each) = limits::LINES;
        let mut lines = Lines::new(limits::LINES);
        let written = |lines: &mut Lines| lines.take() == Line::Written;
        assert_eq!((0..1000).filter(|_| written(&mut lines)).count(), most as usize);
        let mut count = 0;
        for _ in 0..1000 {
            tokio::time::advance(each / 10).await;
            count += usize::from(written(&mut lines));
        }
        assert!((99..=100).contains(&count), "{count}");
        tokio::time::advance(Duration::from_secs(86_400)).await;
        let all: Vec<Line> = (0..1000).map(|_| lines.take()).collect();
        assert_eq!(all.iter().filter(|line| **line == Line::Written).count(), most as usize);
        assert_eq!(all[most as usize], Line::FirstHidden);
    }

    #[tokio::test(start_paused = true)]
    async fn a15_the_notice_about_hidden_lines_is_logged_once_until_the_limit_has_recovered() {
        let (most, each) = limits::LINES;
        let mut lines = Lines::new(limits::LINES);
        let mut said = 0;
        for _ in 0..1000 {
            tokio::time::advance(each / 3).await;
            said += usize::from(lines.take() == Line::FirstHidden);
        }
        assert_eq!(said, 1);
        tokio::time::advance(each * (most / 2 + 1)).await;
        for _ in 0..1000 {
            said += usize::from(lines.take() == Line::FirstHidden);
        }
        assert_eq!(said, 2);
    }
}
