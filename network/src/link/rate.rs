//! How fast a link may be: so many bytes a second each way.
//!
//! Bytes are counted after they have passed, and what was too much is waited for before the next. So neither frames nor
//! flows are looked at twice, and over any time that can be seen the rate is what it is to be.

use std::time::{Duration, Instant};

/// What may pass at once after a pause, in seconds' worth.
const BURST: f64 = 0.02;

/// The ways of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the guest.
    In,
    /// From it.
    Out,
}

/// A bound.
#[derive(Debug)]
pub struct Rate {
    per_second: f64,
    /// Bytes each way that may pass now; less than none where too many have.
    left: [f64; 2],
    at: Instant,
}

impl Rate {
    /// So many bytes a second each way, from now on.
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "nobody counts so many bytes one by one")]
        let per_second = bytes_per_second.max(1) as f64;
        Self { per_second, left: [per_second * BURST; 2], at: now }
    }

    /// So many bytes have passed.
    pub fn count(&mut self, way: Way, bytes: usize) {
        let [to_guest, from_guest] = &mut self.left;
        let left = if way == Way::In { to_guest } else { from_guest };
        *left -= f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// How long nothing may pass now; `None` where something may.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.at = now;
        let most = self.per_second * BURST;
        self.left = self.left.map(|left| (left + earned).min(most));
        let least = self.left[0].min(self.left[1]);
        (least < 0.0).then(|| Duration::from_secs_f64(-least / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_while_no_more_passes_than_may() {
        let begun = Instant::now();
        let (mut rate, mut now, mut passed) = (Rate::new(1_000_000, begun), begun, 0);
        while now < begun + Duration::from_secs(10) {
            match rate.wait(now) {
                Some(wait) => now += wait + Duration::from_millis(1),
                None => {
                    rate.count(Way::In, 65_000);
                    rate.count(Way::Out, 10);
                    passed += 65_000;
                }
            }
        }
        assert!((9_900_000..10_200_000).contains(&passed), "{passed}");
    }

    #[test]
    fn a_pause_saves_a_moments_worth() {
        let begun = Instant::now();
        let mut rate = Rate::new(1000, begun);
        let later = begun + Duration::from_secs(100);
        assert_eq!(rate.wait(later), None);
        rate.count(Way::Out, 120);
        let wait = rate.wait(later).unwrap();
        assert!((99..=101).contains(&wait.as_millis()), "{wait:?}");
    }
}
