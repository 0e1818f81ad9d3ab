//! What samples say without a word about their distribution: the median with an interval of confidence made of
//! order statistics (Hahn & Meeker, "Statistical Intervals", §5.2), and outliers by Tukey's fences, as criterion
//! names them.

/// More samples than this of one workload at one layer are refused.
pub const MAX_SAMPLES: usize = 1000;

/// How sure the interval is to be of holding the median, where there are samples enough.
const CONFIDENCE: f64 = 0.95;
const MILD_FENCE: f64 = 1.5;
const SEVERE_FENCE: f64 = 3.0;

/// The samples of one workload at one layer, summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many samples.
    pub count: usize,
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// Where the interval begins that holds the true median.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// How surely it does: at least 0.95 with six samples or more, less with fewer.
    pub confidence: f64,
    /// Those far from the others. They are named, never dropped.
    pub outliers: Outliers,
}

/// Samples beyond Tukey's fences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outliers {
    /// More than 1.5 times the quartiles' distance beyond a quartile.
    pub mild: usize,
    /// More than three times.
    pub severe: usize,
}

impl Summary {
    /// Of these samples: none without any, nor where one is no finite number.
    pub fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() || samples.len() > MAX_SAMPLES {
            return None;
        }
        if samples.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (cut, confidence) = interval(sorted.len());
        Some(Self {
            count: sorted.len(),
            median: quantile(&sorted, 0.5)?,
            low: *sorted.get(cut)?,
            high: *sorted.get(sorted.len().checked_sub(1 + cut)?)?,
            confidence,
            outliers: outliers(&sorted)?,
        })
    }

    /// Half of the interval, as a share of the median: 0.01 is "± 1 %".
    pub fn uncertainty(&self) -> f64 {
        if self.median == 0.0 {
            return 0.0;
        }
        ((self.high - self.low) / 2.0 / self.median).abs()
    }
}

/// How many samples to leave out at each end, and how sure the interval of the rest is: `n` samples, `k` left out at
/// each end, hold the median unless at most `k` of `n` fair coins fall one way.
fn interval(count: usize) -> (usize, f64) {
    let mut term = 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut tail = term;
    let mut best = (0, (1.0 - 2.0 * tail).max(0.0));
    for cut in 1..count / 2 {
        term *= (count - cut + 1) as f64 / cut as f64;
        tail += term;
        let confidence = 1.0 - 2.0 * tail;
        if confidence < CONFIDENCE {
            break;
        }
        best = (cut, confidence);
    }
    best
}

/// Between the two samples that a share of all lies between.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A place in a list that is not empty.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * (sorted.len().checked_sub(1)?) as f64;
    let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

fn outliers(sorted: &[f64]) -> Option<Outliers> {
    let (first, third) = (quantile(sorted, 0.25)?, quantile(sorted, 0.75)?);
    let beyond = |fence: f64| {
        let reach = fence * (third - first);
        sorted.iter().filter(|sample| **sample < first - reach || **sample > third + reach).count()
    };
    let severe = beyond(SEVERE_FENCE);
    Some(Outliers { mild: beyond(MILD_FENCE) - severe, severe })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Table of Hahn & Meeker: which order statistics hold the median with 95 %, counted from 1.
    #[test]
    fn the_interval_is_the_books() {
        for (count, first) in
            [(6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (30, 10), (50, 18)]
        {
            let (cut, confidence) = interval(count);
            assert_eq!(cut + 1, first, "{count} samples");
            assert!(confidence >= CONFIDENCE, "{count} samples: {confidence}");
        }
        assert_eq!(interval(1), (0, 0.0));
        assert_eq!(interval(2), (0, 0.5));
        assert_eq!(interval(5), (0, 0.9375));
    }

    #[test]
    fn a_few_samples() {
        let summary = Summary::of(&[3.0, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!((summary.median, summary.low, summary.high), (2.5, 1.0, 4.0));
        assert_eq!(summary.outliers, Outliers::default());
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
        assert_eq!(Summary::of(&[f64::INFINITY]), None);
        assert_eq!(Summary::of(&[0.0; MAX_SAMPLES + 1]), None);
    }

    #[test]
    fn outliers_are_named_by_how_far_they_are() {
        let mut samples: Vec<f64> = (0..9).map(f64::from).collect();
        // The quartiles are 2.5 and 7.5 then, and the fences at 15 and 22.5.
        samples.extend([16.0, 40.0]);
        let summary = Summary::of(&samples).unwrap();
        assert_eq!(summary.outliers, Outliers { mild: 1, severe: 1 });
        assert_eq!(summary.count, 11);
    }

    proptest! {
        #[test]
        fn the_interval_is_around_the_median(samples in prop::collection::vec(-1e9f64..1e9, 1..200)) {
            let summary = Summary::of(&samples).unwrap();
            prop_assert!(summary.low <= summary.median && summary.median <= summary.high);
            prop_assert!(samples.contains(&summary.low) && samples.contains(&summary.high));
            prop_assert!(samples.len() < 6 || summary.confidence >= CONFIDENCE);
            let mut turned = samples.clone();
            turned.reverse();
            prop_assert_eq!(Summary::of(&turned).unwrap(), summary);
        }
    }
}
