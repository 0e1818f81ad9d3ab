//! Which licences may be linked, and where crates may come from. Works offline: cargo knows both.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::workspace::Workspace;
use crate::{process, progress};

/// Permissive, and compatible with Apache-2.0.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates whose manifest does not say enough, or that were looked at one by one: name, the licence, why
/// it may be linked.
const LOOKED_AT: &[(&str, &str, &str)] = &[
    (
        "libfuzzer-sys",
        "(MIT OR Apache-2.0) AND NCSA",
        "LLVM's fuzzer, under a permissive licence of its own; linked into the fuzz targets alone",
    ),
    ("rust-criu", "", "MIT by its LICENSE file; the manifest names only the file"),
    (
        "pathrs",
        "MPL-2.0 OR LGPL-3.0-or-later",
        "part of libcontainer, unmodified, in the guest's agent: MPL-2.0 asks for those files' source, \
         which crates.io has",
    ),
];

/// Refuses a dependency of any other licence, or from anywhere but crates.io.
///
/// # Errors
/// One that names each offender.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&workspace.root).args(["metadata", "--format-version=1", "--locked"]);
    let metadata: Value = serde_json::from_str(&process::capture(&mut cargo)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let offenders: Vec<_> = packages.iter().filter_map(offence).collect();
    ensure!(offenders.is_empty(), "dependencies that may not be linked:\n{}", offenders.join("\n"));
    progress::say(&format!(
        "licences and origins of {} crates are as they should be",
        packages.len()
    ));
    Ok(())
}

fn offence(package: &Value) -> Option<String> {
    let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
    let licence = package["license"].as_str().unwrap_or("");
    let is_looked_at = LOOKED_AT
        .iter()
        .any(|(crate_name, known, _)| package["name"] == *crate_name && licence == *known);
    if !is_allowed(licence) && !is_looked_at {
        return Some(format!("{name}: licence {licence:?}"));
    }
    match package["source"].as_str() {
        // Ours, in this workspace.
        None => None,
        Some(source) if source.starts_with("registry+") => None,
        Some(source) => Some(format!("{name}: from {source}")),
    }
}

/// Whether an SPDX expression lets us choose allowed licences only: one side of each OR, both of each AND.
fn is_allowed(expression: &str) -> bool {
    // "MIT/Apache-2.0" is how crates wrote OR before SPDX.
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some((left, right)) = split_outside_parentheses(expression, " AND ") {
        return is_allowed(left) && is_allowed(right);
    }
    if let Some((left, right)) = split_outside_parentheses(expression, " OR ") {
        return is_allowed(left) || is_allowed(right);
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => is_allowed(inner),
        None => ALLOWED.contains(&expression),
    }
}

fn split_outside_parentheses<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    text.match_indices(word).find_map(|(at, _)| {
        let before = &text[..at];
        let balanced = before.matches('(').count() == before.matches(')').count();
        balanced.then(|| (before, &text[at + word.len()..]))
    })
}

#[cfg(test)]
mod tests;
