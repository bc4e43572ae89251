//! How fast something is: the mean over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time that the mean is over.
const WINDOW: Duration = Duration::from_secs(10);
/// Positions that are closer together count as one.
const STEP: Duration = Duration::from_millis(200);

/// Positions and when they were reached, the oldest first, and never none.
#[derive(Debug)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    /// Nothing has moved until `now`.
    pub fn new(now: Instant) -> Self {
        Self(VecDeque::from([(now, 0)]))
    }

    /// Notes a position. One before the last means that the work began again.
    pub fn at(&mut self, position: u64, now: Instant) {
        if self.0.back().is_some_and(|(_, last)| *last > position) {
            self.0.clear();
        }
        let is_close = |(time, _): &(Instant, u64)| now.saturating_duration_since(*time) < STEP;
        if self.0.len() > 1 && self.0.back().is_some_and(is_close) {
            let time = self.0.pop_back().map_or(now, |(time, _)| time);
            self.0.push_back((time, position));
        } else {
            self.0.push_back((now, position));
        }
        while self.0.get(1).is_some_and(|(time, _)| now.saturating_duration_since(*time) >= WINDOW)
        {
            self.0.pop_front();
        }
    }

    /// Per second until `now`: what has stopped becomes slower.
    pub fn per_second(&self, now: Instant) -> u64 {
        let (Some((began, first)), Some((_, last))) = (self.0.front(), self.0.back()) else {
            return 0;
        };
        let took = now.saturating_duration_since(*began).as_millis().max(1);
        u64::try_from(u128::from(last - first) * 1000 / took).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_seconds() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut rate = Rate::new(began);
        assert_eq!(rate.per_second(began), 0);
        for second in 1..=20 {
            rate.at(second * 1000, at(second * 1000));
        }
        assert_eq!(rate.per_second(at(20_000)), 1000);
        // Twice as fast: what was long ago no longer counts.
        for second in 1..=12 {
            rate.at(20_000 + second * 2000, at(20_000 + second * 1000));
        }
        assert_eq!(rate.per_second(at(32_000)), 2000);
        assert!(rate.per_second(at(60_000)) < 1000, "it has stopped");
        rate.at(0, at(60_000));
        assert_eq!(rate.per_second(at(61_000)), 0, "it began again");
    }
}
