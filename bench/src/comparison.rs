//! What has changed from one record to another: only what is greater than both records' uncertainty and than a share
//! that nobody would miss counts.

use crate::record::{Better, Record};
use crate::summary::Summary;

/// Smaller changes than this share of the old figure are none.
const NEGLIGIBLE: f64 = 0.05;

/// One workload at one layer, then and now.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The workload's name.
    pub workload: String,
    /// The layer's name.
    pub layer: String,
    /// The old samples.
    pub old: Summary,
    /// The new ones.
    pub new: Summary,
    /// What that is.
    pub verdict: Verdict,
}

/// What a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It costs more than before.
    Regressed,
    /// No change that can be told from noise.
    Same,
    /// It costs less than before.
    Improved,
}

/// Two records of one machine or of two.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What both have measured in the same unit, what regressed first and the greatest change before the others.
    pub changes: Vec<Change>,
    /// What was measured then and not now: workload and layer.
    pub missing: Vec<(String, String)>,
    /// Whether they are of two machines, so that their difference may be the machines'.
    pub other_machine: bool,
}

impl Change {
    /// By how much the figure has changed, as a share of the old one.
    pub fn share(&self) -> f64 {
        if self.old.median == 0.0 { 0.0 } else { self.new.median / self.old.median - 1.0 }
    }
}

impl Comparison {
    /// Holds a new record against an old one. Workloads and layers are known by their names.
    pub fn of(old: &Record, new: &Record) -> Self {
        let mut changes = Vec::new();
        let mut missing = Vec::new();
        for cell in &old.cells {
            let (Some(workload), Some(layer)) =
                (old.workloads.get(cell.workload), old.layers.get(cell.layer))
            else {
                continue;
            };
            let Some(before) = Summary::of(&cell.samples) else { continue };
            let place = new.workloads.iter().position(|it| {
                (&it.name, it.unit, it.better) == (&workload.name, workload.unit, workload.better)
            });
            let place = place.zip(new.layers.iter().position(|it| it.name == layer.name));
            match place.and_then(|(workload, layer)| new.summary(workload, layer)) {
                Some(after) => changes.push(Change {
                    workload: workload.name.clone(),
                    layer: layer.name.clone(),
                    verdict: verdict(&before, &after, workload.better),
                    old: before,
                    new: after,
                }),
                None => missing.push((workload.name.clone(), layer.name.clone())),
            }
        }
        changes.sort_by(|one, other| {
            let size = |change: &Change| change.share().abs();
            one.verdict.cmp(&other.verdict).then(size(other).total_cmp(&size(one)))
        });
        Self { changes, missing, other_machine: old.machine != new.machine }
    }

    /// Whether anything costs more than before, or cannot be measured any more.
    pub fn is_worse(&self) -> bool {
        let regressed = |change: &Change| change.verdict == Verdict::Regressed;
        !self.missing.is_empty() || self.changes.iter().any(regressed)
    }
}

fn verdict(old: &Summary, new: &Summary, better: Better) -> Verdict {
    let apart = new.low > old.high || new.high < old.low;
    let negligible = (new.median - old.median).abs() <= NEGLIGIBLE * old.median;
    if !apart || negligible {
        return Verdict::Same;
    }
    let grew = new.median > old.median;
    if grew == (better == Better::Less) { Verdict::Regressed } else { Verdict::Improved }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    /// What becomes of the first workload at the second layer where its samples are so many times what they were.
    fn of(factor: f64, better: Better) -> Verdict {
        let (mut old, mut new) = (record(), record());
        new.cells[1].samples.iter_mut().for_each(|sample| *sample *= factor);
        old.workloads[0].better = better;
        new.workloads[0].better = better;
        let comparison = Comparison::of(&old, &new);
        let change =
            comparison.changes.iter().find(|it| (&*it.workload, &*it.layer) == ("fork", "nested"));
        assert_eq!(comparison.is_worse(), change.unwrap().verdict == Verdict::Regressed);
        change.unwrap().verdict
    }

    #[test]
    fn only_what_is_beyond_noise_counts() {
        assert_eq!(of(1.0, Better::Less), Verdict::Same);
        assert_eq!(of(1.04, Better::Less), Verdict::Same);
        assert_eq!(of(1.2, Better::Less), Verdict::Regressed);
        assert_eq!(of(0.8, Better::Less), Verdict::Improved);
        assert_eq!(of(1.2, Better::More), Verdict::Improved);
        assert_eq!(of(0.8, Better::More), Verdict::Regressed);
    }

    #[test]
    fn wide_intervals_hide_a_change() {
        let (old, mut new) = (record(), record());
        new.cells[1].samples = vec![1.0, 1.9, 2.0, 2.1, 2.2, 2.3];
        assert!(!Comparison::of(&old, &new).is_worse());
    }

    #[test]
    fn what_is_gone_is_named() {
        let (old, mut new) = (record(), record());
        new.cells[0].samples.clear();
        let comparison = Comparison::of(&old, &new);
        assert_eq!(comparison.missing, [("fork".to_owned(), "host".to_owned())]);
        assert!(comparison.is_worse() && !comparison.other_machine);
        new.machine.processors = 3;
        assert!(Comparison::of(&old, &new).other_machine);
    }

    #[test]
    fn what_regressed_comes_first() {
        let (old, mut new) = (record(), record());
        new.cells[0].samples.iter_mut().for_each(|sample| *sample *= 0.5);
        new.cells[2].samples.iter_mut().for_each(|sample| *sample *= 0.9);
        let verdicts: Vec<_> =
            Comparison::of(&old, &new).changes.iter().map(|change| change.verdict).collect();
        assert_eq!(verdicts, [Verdict::Regressed, Verdict::Same, Verdict::Improved]);
    }
}
