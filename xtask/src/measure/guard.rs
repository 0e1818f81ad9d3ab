//! Whether what was counted just now is more than it may be. Pure.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Counted;
use super::figures::Figures;

/// What the same code may cost more, built by another compiler.
const TOLERANCE: f64 = 0.05;

/// Results that were kept.
pub struct Known {
    million: Figures,
    host_kernel: String,
}

impl Known {
    /// Reads what `make measure` wrote.
    pub fn read(document: &Value) -> Result<Self> {
        let million = Figures::of(&document["million_instructions"])?;
        let host_kernel = document["host_kernel"].as_str().context("no host kernel in it")?;
        Ok(Self { million, host_kernel: host_kernel.to_owned() })
    }

    /// The most that the cheapest of several runs may be: the known median, and what another compiler may cost.
    fn limit(&self) -> f64 {
        self.million.median() * (1.0 + TOLERANCE)
    }
}

/// Judges, and says what was found. By the cheapest run: whatever else goes on, here or in the emulated
/// machine, only adds.
pub fn judge(counted: &Counted, budget: f64, known: Option<&Known>) -> Result<String> {
    let least = counted.million.least();
    ensure!(least <= budget, "{least:.1} M instructions, over the budget of {budget:.0} M");
    let within = format!("{least:.1} M instructions, within the budget of {budget:.0} M");
    let Some(known) = known else {
        return Ok(format!("{within}; nothing is known of earlier ones"));
    };
    if known.host_kernel != counted.host_kernel {
        return Ok(format!(
            "{within}; what is known was counted under Linux {}, not {}",
            known.host_kernel, counted.host_kernel
        ));
    }
    let limit = known.limit();
    ensure!(
        least <= limit,
        "{least:.1} M instructions; what `make measure` found last allows {limit:.1} M: make it cheaper, or \
         measure again and say why it is worth more"
    );
    Ok(format!("{within} and of what is known ({limit:.1} M)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(million: &[f64]) -> Counted {
        let (million, host_kernel) = (Figures(million.to_vec()), "6.1".to_owned());
        Counted { million, host_kernel, text: String::new() }
    }

    fn known(host_kernel: &str) -> Known {
        Known { million: Figures(vec![102.0, 100.0, 101.0]), host_kernel: host_kernel.to_owned() }
    }

    #[test]
    fn more_than_the_budget_or_clearly_more_than_is_known_fails() {
        let known_here = known("6.1");
        // 101 and 5 per cent: 106.05.
        for (least, budget, is_well) in
            [(106.0, 200.0, true), (106.1, 200.0, false), (99.0, 98.0, false), (50.0, 60.0, true)]
        {
            let verdict =
                judge(&counted(&[least + 70.0, least, least + 7.0]), budget, Some(&known_here));
            assert_eq!(verdict.is_ok(), is_well, "{least}: {verdict:?}");
        }
    }

    #[test]
    fn figures_of_another_host_kernel_are_not_compared() {
        assert!(judge(&counted(&[150.0]), 200.0, Some(&known("6.12"))).is_ok());
        assert!(judge(&counted(&[150.0]), 200.0, None).is_ok());
        assert!(judge(&counted(&[250.0]), 200.0, None).is_err());
    }
}
