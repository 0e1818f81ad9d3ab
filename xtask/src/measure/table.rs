//! README's account of what a run costs, made of what was measured. Pure.

use anyhow::{Context, Result};
use serde_json::Value;

use super::figures::Figures;

/// What README calls the launcher's stages: those that follow each other may share a line.
const STAGES: &[(&str, &[&str])] = &[
    ("arguments, plan, accelerator named by the user", &["plan", "accelerator"]),
    ("image, from the store", &["image"]),
    ("sandbox on disk, processes started", &["machine"]),
    (BOOT, &["boot"]),
    ("container made and started", &["container"]),
    ("the process itself, to its end", &["process"]),
    ("the machine taken down", &["teardown"]),
];
const BOOT: &str = "VMM, guest kernel, agent's first word";

/// The run's text between the marks, from both results.
pub fn of(run: &Value, kernel: &Value) -> Result<String> {
    let text = |key: &str| run[key].as_str().with_context(|| format!("no {key}"));
    let runs = Figures::of(&run["million_instructions"])?;
    let (least, most, count) = (runs.least(), runs.most(), runs.0.len());
    let kernel_runs = Figures::of(&kernel["million_instructions"])?;
    let (kernel_least, kernel_most) = (kernel_runs.least(), kernel_runs.most());
    let budget =
        |result: &Value| result["budget_million_instructions"].as_f64().context("no budget");
    let mut table = format!(
        "{count} warm runs: {least:.1} to {most:.1} million instructions, that is {:.1} to {:.1} ms of that \
         clock (budget: {:.0} million).\nThe guest kernel alone, from its start to its first program: \
         {kernel_least:.1} to {kernel_most:.1} million (budget: {:.0} million).\n{}, commit `{}`, guest kernel \
         {}, host kernel {}.\n\n| stage of the last run | counted ms |\n|---|---|\n",
        2.0 * least,
        2.0 * most,
        budget(run)?,
        budget(kernel)?,
        text("date")?.split('T').next().unwrap_or_default(),
        text("commit")?,
        text("guest_kernel")?,
        text("host_kernel")?,
    );
    let last = &run["last_run"];
    for (name, stages) in STAGES {
        let mut sum = 0.0;
        for stage in *stages {
            let ms = last["stages_ms"][*stage].as_f64();
            sum += ms.with_context(|| format!("no stage {stage}"))?;
        }
        let kernel = last["guest_kernel_ms"].as_f64().filter(|_| *name == BOOT);
        let within = kernel.map(|ms| format!(" ({ms:.1} from the guest's start to the agent's)"));
        table.push_str(&format!("| {name}{} | {sum:.1} |\n", within.unwrap_or_default()));
    }
    table.push_str(&beside_stages(run));
    Ok(table)
}

/// What is known of the run besides; of what its kept results lack, nothing.
fn beside_stages(run: &Value) -> String {
    let mut text = String::new();
    let mut sentences = Vec::new();
    if let Some(alone) = run["program_alone_ms"].as_f64() {
        text.push_str(&format!("| the program alone: loaded, and ended | {alone:.1} |\n"));
        sentences.push("The stages are all of it but 2 % at most (checked).\n".to_owned());
    }
    // A KVM older than Linux 5.14 does not tell.
    let count = |name: &str| run["last_run"]["kvm"][name].as_u64();
    if let (Some(exits), Some(registers), Some(ports)) =
        (count("exits"), count("mmio_exits"), count("io_exits"))
    {
        let to_vmm = registers.saturating_add(ports);
        sentences.push(format!(
            "KVM left the guest {exits} times in that run, {to_vmm} of them for a device's register or a port.\n"
        ));
    }
    if let Some(calls) = run["system_calls"].as_u64() {
        let copied = run["bytes_copied"].as_f64();
        let copied = copied
            .map(|bytes| format!(", by which {:.1} MiB are copied", bytes / f64::from(1 << 20)));
        sentences.push(format!(
            "In such a run our processes make {calls} system calls{}.\n",
            copied.unwrap_or_default()
        ));
    }
    if !sentences.is_empty() {
        text.push('\n');
    }
    text + &sentences.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn without(result: &Value, keys: &[&str]) -> Value {
        let mut result = result.clone();
        result.as_object_mut().unwrap().retain(|key, _| !keys.contains(&key.as_str()));
        result
    }

    #[test]
    fn every_stage_is_in_the_table() {
        let stages = json!({
            "plan": 1.0, "accelerator": 0.5, "image": 2.0, "machine": 3.0, "boot": 4.0,
            "container": 5.0, "process": 6.0, "teardown": 7.0,
        });
        let result = json!({
            "million_instructions": [10.0, 12.0], "budget_million_instructions": 20.0,
            "date": "2026-01-02T03:04:05Z", "commit": "abc", "guest_kernel": "6.12", "host_kernel": "6.1",
            "program_alone_ms": 8.0, "system_calls": 800, "bytes_copied": 3 << 20,
            "last_run": {
                "stages_ms": stages, "guest_kernel_ms": 3.5,
                "kvm": { "exits": 1500, "mmio_exits": 300, "io_exits": 27 },
            },
        });
        let table = of(&result, &result).unwrap();
        assert!(
            table.contains(
                "2 warm runs: 10.0 to 12.0 million instructions, that is 20.0 to 24.0 ms"
            )
        );
        assert!(table.contains("2026-01-02, commit `abc`"));
        let figures: Vec<&str> =
            table.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(' ').next()).collect();
        assert_eq!(figures[1..], ["1.5", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0", "8.0"]);
        assert!(table.contains("left the guest 1500 times in that run, 327 of them"), "{table}");
        assert!(table.contains("800 system calls, by which 3.0 MiB are copied."), "{table}");
        assert!(of(&json!({}), &result).is_err());
        // Of what was kept before it was counted, nothing is said.
        let of_old = of(&without(&result, &["program_alone_ms", "system_calls"]), &result).unwrap();
        assert!(!of_old.contains("program alone") && !of_old.contains("system calls"), "{of_old}");
    }
}
