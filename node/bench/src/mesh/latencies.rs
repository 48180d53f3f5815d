//! Many waits in a few numbers.

use std::time::Duration;

use crate::error::BenchError;

/// How long each of many things took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Median, 99th percentile and maximum.
    pub(crate) fn spread(mut self) -> Result<[Duration; 3], BenchError> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1).ok_or(BenchError::NoFigure)?;
        let at = |percent: usize| self.0[last * percent / 100];
        Ok([at(50), at(99), at(100)])
    }
}

/// A span in microseconds.
pub(crate) fn micros(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_a_hundred_and_one_waits_is_three_of_them() {
        let all: Latencies = (0..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(all.spread().unwrap().map(|took| took.as_millis()), [50, 99, 100]);
        assert!(Latencies::default().spread().is_err());
    }
}
