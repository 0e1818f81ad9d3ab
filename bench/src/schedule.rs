//! In which order everything is measured: round by round, so that whoever ends it early has something of each
//! workload, and in each round each workload at all layers one after the other, so that a machine that grows slower
//! grows slower for all. The layer that begins goes round.

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which round; what is before [`Schedule::warmups`] is not kept.
    pub round: usize,
    /// Which workload, by its place in the list.
    pub workload: usize,
    /// Which layer, by its place in the list.
    pub layer: usize,
}

/// All steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// How many workloads there are.
    pub workloads: usize,
    /// How many layers there are.
    pub layers: usize,
    /// How many rounds come first whose samples are not kept.
    pub warmups: usize,
    /// How many rounds come after them.
    pub repeats: usize,
}

impl Schedule {
    /// The steps from the first to the last.
    pub fn steps(self) -> impl Iterator<Item = Step> {
        let rounds = self.warmups.saturating_add(self.repeats);
        (0..rounds).flat_map(move |round| {
            (0..self.workloads).flat_map(move |workload| {
                (0..self.layers).map(move |place| Step {
                    round,
                    workload,
                    layer: (place + round + workload) % self.layers.max(1),
                })
            })
        })
    }

    /// Whether the sample of a step is kept.
    pub fn keeps(self, step: Step) -> bool {
        step.round >= self.warmups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn layers_take_turns_to_begin() {
        let schedule = Schedule { workloads: 1, layers: 3, warmups: 1, repeats: 3 };
        let layers: Vec<usize> = schedule.steps().map(|step| step.layer).collect();
        assert_eq!(layers, [0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2]);
        let kept: Vec<usize> =
            schedule.steps().filter(|step| schedule.keeps(*step)).map(|step| step.round).collect();
        assert_eq!(kept, [1, 1, 1, 2, 2, 2, 3, 3, 3]);
    }

    proptest! {
        #[test]
        fn each_is_measured_as_often(workloads in 0usize..5, layers in 0usize..5, warmups in 0usize..3, repeats in 0usize..5) {
            let schedule = Schedule { workloads, layers, warmups, repeats };
            let mut times = HashMap::new();
            for step in schedule.steps().filter(|step| schedule.keeps(*step)) {
                *times.entry((step.workload, step.layer)).or_insert(0) += 1;
            }
            prop_assert!(times.values().all(|count| *count == repeats));
            let expected = if repeats == 0 { 0 } else { workloads * layers };
            prop_assert_eq!(times.len(), expected);
        }
    }
}
