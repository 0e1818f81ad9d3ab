//! Whether the launcher's account of a run explains what was counted from outside. Pure.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How much of a run may be in no stage.
const UNEXPLAINED: f64 = 0.02;

/// The `ms` of the program alone, to be loaded and to end, which no stage of its own can see.
///
/// # Errors
/// Where the script did not say.
pub fn program_alone_ms(text: &str) -> Result<f64> {
    let words = super::figures::line(text, "program alone:")?;
    let ms = words.split(' ').next().context("no figure of the program alone")?;
    ms.parse().with_context(|| format!("{ms:?} is no figure"))
}

/// Fails where the stages of the last run and the program alone are not what it cost from exec to exit.
///
/// # Errors
/// Where they are not, or something lacks.
pub fn check(account: &Value, program_alone_ms: f64, counted_million: f64) -> Result<()> {
    let stages = account["stages_ms"].as_object().context("the launcher told no stages")?;
    let sum = stages.values().filter_map(Value::as_f64).sum::<f64>() + program_alone_ms;
    let counted = counted_million * 2.0;
    let unexplained = (counted - sum).abs() / counted;
    ensure!(
        unexplained <= UNEXPLAINED,
        "the stages of the last run and the program alone are {sum:.1} ms, but it took {counted:.1} ms: {:.1} % \
         are in no stage",
        unexplained * 100.0
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_no_stage_explains_is_an_error() {
        let account = json!({ "stages_ms": { "plan": 10.0, "boot": 180.0 } });
        let alone =
            program_alone_ms("host kernel 6\nprogram alone: 7.0 ms, 3.5 M instructions").unwrap();
        assert!(check(&account, alone, 100.0).is_ok());
        for counted in [103.0, 95.0] {
            assert!(check(&account, alone, counted).is_err(), "{counted}");
        }
        assert!(check(&json!(null), alone, 100.0).is_err());
        assert!(program_alone_ms("run 1: 7.0 ms").is_err());
    }
}
