//! What each fragment of the guest kernel's configuration costs: the kernel without it, beside the whole.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::figures::Figures;
use super::{Counted, KERNEL_START, NOT_COUNTED, Purpose, heading, run, write};
use crate::kernel::{self, without};
use crate::progress;
use crate::readme;
use crate::workspace::Workspace;

const RESULTS: &str = "kernel-config/fragment-cost.json";
/// Where its table stands.
const DOCUMENT: &str = "kernel-config/README.md";
const COMMAND: &str = "cargo xtask measure --part fragments";

/// Builds and starts a kernel without each of them, keeps what came of it, and writes the table. Each is kept as soon as it is
/// known: whoever goes on later, with the same kernel, measures the rest.
///
/// # Errors
/// Those of building and counting; a kernel that starts nothing.
pub fn measure(workspace: &Workspace, commit: &str) -> Result<()> {
    let mut document = begun(workspace, commit)?;
    for name in without::names(workspace)? {
        if document["fragments"][&name].is_object() {
            progress::say(&format!("{name}: is known"));
            continue;
        }
        let kernel = without::build(workspace, &name)?;
        let (without, bytes) = look(workspace, &kernel.vmlinux, &name)?;
        document["fragments"][&name] = json!({
            "million_instructions_without": without.million.0,
            "bytes_without": bytes,
            "options_of_others_lost": kernel.others_lost,
        });
        write(workspace, RESULTS, &document)?;
        readme::write_in(workspace, DOCUMENT, COMMAND, &table(&document)?)?;
    }
    without::clear(workspace)
}

/// The whole kernel's figures, with what is known already of the same one.
fn begun(workspace: &Workspace, commit: &str) -> Result<Value> {
    let whole = kernel::vmlinux(workspace)?;
    let digest = kernel::digest(workspace)?;
    let (counted, bytes) = look(workspace, &whole, "the whole")?;
    let known = super::known(workspace, RESULTS).ok();
    let same = |it: &Value| {
        it["kernel"] == json!(digest) && it["host_kernel"] == json!(counted.host_kernel)
    };
    if let Some(known) = known.filter(same) {
        return Ok(known);
    }
    let mut document = heading("kernels that lack a fragment", commit, &counted.host_kernel)?;
    document.insert("command".to_owned(), json!(COMMAND));
    document.insert("kernel".to_owned(), json!(digest));
    document.insert("million_instructions".to_owned(), json!(counted.million.0));
    document.insert("bytes".to_owned(), json!(bytes));
    let fragments = without::names(workspace)?.into_iter().map(|name| (name, Value::Null));
    document.insert("fragments".to_owned(), fragments.collect());
    Ok(Value::Object(document))
}

fn look(workspace: &Workspace, vmlinux: &Path, name: &str) -> Result<(Counted, u64)> {
    let bytes = fs::metadata(vmlinux)?.len();
    let arguments = [vmlinux.display().to_string()];
    let counted = run(workspace, &KERNEL_START, &arguments, Purpose::Results)?;
    let counted = counted.with_context(|| format!("{name}: {NOT_COUNTED}"))?;
    progress::say(&format!(
        "{name}: {:.1} M instructions, {bytes} bytes",
        counted.million.median()
    ));
    Ok((counted, bytes))
}

/// The table, from what is kept. Pure.
///
/// # Errors
/// Where the document lacks something.
fn table(document: &Value) -> Result<String> {
    let whole = Figures::of(&document["million_instructions"])?;
    let bytes = document["bytes"].as_f64().context("no size")?;
    let mib = f64::from(1 << 20);
    let mut table = format!(
        "The whole: {:.1} M instructions (median of {}, {:.1} to {:.1}), {:.2} MiB. {}, commit `{}`.\n\n\
         | without | M instructions less | MiB less | options of other fragments that go with it |\n\
         |---|---|---|---|\n",
        whole.median(),
        whole.0.len(),
        whole.least(),
        whole.most(),
        bytes / mib,
        document["date"].as_str().and_then(|it| it.split('T').next()).context("no date")?,
        document["commit"].as_str().context("no commit")?,
    );
    let fragments = document["fragments"].as_object().context("no fragments")?;
    for (name, cost) in fragments {
        if cost.is_null() {
            table.push_str(&format!("| {name} | not measured yet | | |\n"));
            continue;
        }
        let without = Figures::of(&cost["million_instructions_without"])?;
        let less_bytes = bytes - cost["bytes_without"].as_f64().context("no size without it")?;
        table.push_str(&format!(
            "| {name} | {:.1} | {:.2} | {} |\n",
            whole.median() - without.median(),
            less_bytes / mib,
            cost["options_of_others_lost"].as_u64().context("no count of options")?,
        ));
    }
    let heard_by = without::HEARD_BY;
    table.push_str(&format!(
        "| {heard_by} | without it nothing is heard that could be counted | | |\n"
    ));
    for name in without::INDISPENSABLE {
        table.push_str(&format!("| {name} | nothing starts without it | | |\n"));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_the_whole_less_the_kernel_without() {
        let document = json!({
            "date": "2026-01-02T03:04:05Z", "commit": "abc", "bytes": 3 << 20,
            "million_instructions": [40.0, 39.0, 41.0],
            "fragments": { "network": {
                "million_instructions_without": [30.5, 29.5, 90.0], "bytes_without": 1 << 20,
                "options_of_others_lost": 7,
            }, "security": null },
        });
        let table = table(&document).unwrap();
        assert!(table.contains("| network | 9.5 | 2.00 | 7 |\n"), "{table}");
        assert!(table.contains("| security | not measured yet | | |\n"), "{table}");
        assert!(table.starts_with("The whole: 40.0 M"), "{table}");
        assert!(super::table(&json!({ "bytes": 1 })).is_err());
    }

    /// Who reads the table reads what was measured.
    #[test]
    fn the_table_is_made_of_the_results_beside_it() {
        let workspace = Workspace::find().unwrap();
        let is_measured = workspace.root.join(RESULTS).exists();
        let document = is_measured.then(|| super::super::known(&workspace, RESULTS).unwrap());
        let said = document.map_or_else(String::new, |document| table(&document).unwrap());
        readme::says(&workspace, DOCUMENT, COMMAND, &said);
    }
}
