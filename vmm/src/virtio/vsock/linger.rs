//! How long a device that was told to stop waits for hosts to take what its guest had sent. Pure.

use std::time::{Duration, Instant};

/// How long hosts may take nothing.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// How long it may last in all, however slowly they take it.
const TOTAL_MAX: Duration = Duration::from_secs(30);

/// A wait that only bytes taken make longer, and nothing longer than so much.
#[derive(Debug)]
pub struct Linger {
    end: Instant,
    patience: Instant,
    kept: usize,
}

impl Linger {
    /// Begins to wait, while so many bytes are kept.
    pub fn new(now: Instant, kept: usize) -> Self {
        Self { end: now + TOTAL_MAX, patience: now + IDLE_MAX, kept }
    }

    /// How long it may still last, while so many bytes are kept; `None` where it is over.
    pub fn left(&mut self, now: Instant, kept: usize) -> Option<Duration> {
        if kept < self.kept {
            self.patience = now + IDLE_MAX;
            self.kept = kept;
        }
        let left = self.patience.min(self.end).saturating_duration_since(now);
        (kept > 0 && !left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_over_when_nothing_is_kept() {
        let now = Instant::now();
        assert_eq!(Linger::new(now, 0).left(now, 0), None);
        assert_eq!(Linger::new(now, 9).left(now + SECOND, 0), None);
    }

    #[test]
    fn only_bytes_taken_make_it_longer() {
        let now = Instant::now();
        let mut linger = Linger::new(now, 100);
        assert_eq!(linger.left(now + 4 * SECOND, 100), Some(SECOND));
        assert_eq!(linger.left(now + 4 * SECOND, 99), Some(5 * SECOND));
        assert_eq!(linger.left(now + 8 * SECOND, 99), Some(SECOND));
        assert_eq!(linger.left(now + 9 * SECOND, 99), None);
    }

    #[test]
    fn a_host_that_takes_byte_after_byte_comes_to_an_end_too() {
        let now = Instant::now();
        let mut linger = Linger::new(now, 1000);
        for second in 1..30 {
            let left = linger.left(now + second * SECOND, 1000 - second as usize);
            assert_eq!(left, Some((5 * SECOND).min((30 - second) * SECOND)));
        }
        assert_eq!(linger.left(now + 30 * SECOND, 1), None);
    }
}
