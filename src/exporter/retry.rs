//! Number of retries, and the pauses between them. Pauses grow and contain a random part, so that
//! many runs that lost one server do not return to it at the same moment.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Limits of repeated attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Number of attempts, including the first; 0 counts as 1.
    pub attempts: u32,
    /// Pause before the second attempt. It doubles with each attempt; a random part of up to the
    /// same length is added.
    pub first_pause: Duration,
    /// Longest pause between two attempts, without the random part.
    pub longest_pause: Duration,
}

impl Retry {
    /// Limits for the download of a disk: five attempts with at most a minute of pauses.
    pub const TRANSFER: Self = Self {
        attempts: 5,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(30),
    };

    /// The pauses before each further attempt.
    pub(super) fn pauses(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(self.first_pause)
            .with_max_delay(self.longest_pause)
            .with_max_times(self.attempts.saturating_sub(1) as usize)
            .with_jitter()
            .build()
    }

    /// The limits for a server that restarts, which takes minutes rather than seconds.
    pub(super) fn of_server(&self) -> Self {
        Self { attempts: self.attempts * 2, longest_pause: self.longest_pause * 2, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_end() {
        let retry = Retry {
            attempts: 6,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(5),
        };
        let pauses: Vec<_> = retry.pauses().map(|pause| pause.as_secs_f64()).collect();
        assert_eq!(pauses.len(), 5);
        for (pause, least) in pauses.iter().zip([1.0, 2.0, 4.0, 5.0, 5.0]) {
            assert!((least..=2.0 * least + 1.0).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn one_attempt_has_no_pause() {
        for attempts in [0, 1] {
            assert_eq!(Retry { attempts, ..Retry::TRANSFER }.pauses().count(), 0);
        }
    }
}
