//! Limits how many lines of the log an agent can cause: each of its messages may differ from the one before.

use std::time::Duration;

use tokio::time::Instant;

use crate::timing::Budget;

/// The remaining lines.
pub struct Lines {
    most: u32,
    budget: Budget,
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
        Self { most, budget: Budget::new(most, each), short: false }
    }

    /// What happens to the next line. Uses up one of the remaining lines, if there is one.
    pub fn take(&mut self) -> Line {
        let now = Instant::now();
        self.short &= self.budget.left(now) < self.most / 2;
        match self.budget.take(now) {
            Ok(()) => Line::Written,
            Err(_) if std::mem::replace(&mut self.short, true) => Line::Hidden,
            Err(_) => Line::FirstHidden,
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
