//! Measured values.

use std::time::Duration;

/// Values of one kind, in one unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// Adds a time, in milliseconds.
    pub(crate) fn time(&mut self, time: Duration) {
        self.push(time.as_secs_f64() * 1e3);
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// The smallest value that this part of all values does not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among the values"
        )]
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    /// Median, 99th percentile and count, as cells of a table.
    pub(crate) fn cells(&self) -> [String; 3] {
        [figure(self.median()), figure(self.p99()), self.0.len().to_string()]
    }
}

/// Three digits that count.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        // Of nothing.
        none if none.is_nan() => "-".to_owned(),
        0.0 => "0".to_owned(),
        small if small < 0.1 => format!("{value:.3}"),
        small if small < 10.0 => format!("{value:.2}"),
        small if small < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut sample = Sample::default();
        for value in (1..=200).rev() {
            sample.push(f64::from(value));
        }
        assert_eq!(sample.cells(), ["100", "198", "200"]);
        let mut one = Sample::default();
        one.time(Duration::from_micros(12_345));
        assert_eq!(one.cells(), ["12.3", "12.3", "1"]);
    }
}
