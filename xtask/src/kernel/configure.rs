//! tinyconfig and the fragments, resolved by the kernel's own Kconfig.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::make;
use crate::process;

/// An option's value as a configuration writes it; `None` is "is not set".
pub type Options = BTreeMap<String, Option<String>>;

/// Writes the configuration that `fragments` give in the source `tree` to `out`.
pub fn config(tree: &Path, fragments: &[PathBuf], out: &Path) -> Result<()> {
    let lost = resolve(tree, fragments)?;
    ensure!(
        lost.is_empty(),
        "the kernel's Kconfig did not follow the fragments: {}",
        lost.join(", ")
    );
    fs::copy(tree.join(".config"), out)
        .with_context(|| format!("cannot write {}", out.display()))?;
    Ok(())
}

/// Configures the source `tree` as `fragments` say; gives what Kconfig did not follow.
pub fn resolve(tree: &Path, fragments: &[PathBuf]) -> Result<Vec<String>> {
    process::capture(make(tree).args(["-s", "tinyconfig"]))?;
    let file = tree.join(".config");
    let mut text = fs::read_to_string(&file)?;
    let mut wanted = Options::new();
    for fragment in fragments {
        let fragment_text = fs::read_to_string(fragment)?;
        wanted.extend(parse(&fragment_text));
        text.push_str(&fragment_text);
    }
    fs::write(&file, text)?;
    process::capture(make(tree).args(["-s", "olddefconfig"]))?;
    Ok(lost(&wanted, &parse(&fs::read_to_string(&file)?)))
}

/// What a fragment or a configuration says.
pub fn parse(text: &str) -> Options {
    text.lines()
        .filter_map(|line| {
            let unset = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set"));
            match unset {
                Some(name) => name.starts_with("CONFIG_").then(|| (name.to_owned(), None)),
                None => line
                    .split_once('=')
                    .filter(|(name, _)| name.starts_with("CONFIG_"))
                    .map(|(name, value)| (name.to_owned(), Some(value.to_owned()))),
            }
        })
        .collect()
}

/// What was asked for and did not come to be. An option that is not there at all is not set.
fn lost(wanted: &Options, resolved: &Options) -> Vec<String> {
    wanted
        .iter()
        .filter_map(|(name, value)| {
            let got = resolved.get(name).cloned().flatten();
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".into());
            (got != *value).then(|| format!("{name} is {}, not {}", shown(&got), shown(value)))
        })
        .collect()
}
