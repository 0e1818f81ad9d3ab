//! How much of the host's kernel a layer reaches: what all its processes outside ask of it for one unit of work, from
//! start and in steady state. What is not reached cannot be attacked.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often each of several things happened.
pub type Counts = BTreeMap<String, u64>;

/// What happens less than once in so many units of work is a start's, not the work's.
const SELDOM: f64 = 10.0;

/// What one piece of work reaches at one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surface {
    /// What one unit of work is.
    pub work: String,
    /// The layer, by its place in the record.
    pub layer: usize,
    /// How many units were done at once.
    pub units: u32,
    /// What it reached; `None` where it failed.
    pub reached: Option<Reached>,
    /// Why nothing was counted.
    pub failure: Option<String>,
}

/// What was reached, for one unit of work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// The host's system calls, by name.
    pub calls: BTreeMap<String, f64>,
    /// KVM's exits by reason; `None` where nobody could count them.
    pub exits: Option<BTreeMap<String, f64>>,
    /// How many different functions of the host's kernel ran, from the start to the end of all units at once; `None` where
    /// nobody could trace them.
    #[serde(default)]
    pub functions: Option<u64>,
}

impl Surface {
    /// How many system calls that are.
    pub fn total(counts: &BTreeMap<String, f64>) -> f64 {
        // A sum of nothing would be minus nothing.
        counts.values().fold(0.0, |sum, count| sum + count)
    }
}

/// What so many units of work add to what happens without any, for one unit. What they hardly ever do is left out.
pub fn per_unit(with: &Counts, without: &Counts, units: u32) -> BTreeMap<String, f64> {
    let units = f64::from(units.max(1));
    let added = |(name, count): (&String, &u64)| {
        let more = count.saturating_sub(without.get(name).copied().unwrap_or(0));
        // As long as it is no time in nanoseconds, a count is a float without loss.
        let each = more as f64 / units;
        (each * SELDOM >= 1.0).then(|| (name.clone(), each))
    };
    with.iter().filter_map(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> Counts {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn what_a_start_does_is_not_the_works() {
        let without = counts(&[("execve", 2), ("read", 10), ("ppoll", 7)]);
        let with =
            counts(&[("execve", 2), ("read", 110), ("ppoll", 5), ("fsync", 1), ("write", 10)]);
        let each = per_unit(&with, &without, 100);
        assert_eq!(
            each.into_iter().collect::<Vec<_>>(),
            [("read".into(), 1.0), ("write".into(), 0.1)]
        );
        let start = per_unit(&without, &Counts::new(), 1);
        assert_eq!(start["read"], 10.0);
        assert_eq!(Surface::total(&start), 19.0);
        assert_eq!(per_unit(&without, &Counts::new(), 0), start);
    }
}
