//! `cargo xtask hardening`: what kernel-hardening-checker finds wanting in the guest's kernel is just what
//! is recorded, each with the reason why it stays so.
//!
//! The checker is in none of the packages that building may install, so what it asks is kept as a list
//! and asked here. Its own verdicts, from where it is installed, are held against the same record.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::configure::{self, Options};
use super::vmlinux;
use crate::progress;
use crate::workspace::Workspace;

/// What is asked.
const CHECKS: &str = "kernel-config/expectations/hardening-checks.list";
/// What may be found wanting, and why.
const RECORD: &str = "kernel-config/expectations/hardening-missing.list";
/// Who boots the guest, and the sources that hold the words of its command line.
const TOLD: [(&str, &[&str]); 2] = [
    ("KVM", &["vmm/src/arch/x86_64/layout.rs"]),
    ("TCG", &["launcher/src/accelerator/qemu_arguments.rs", "vmm/src/vhost_user_devices.rs"]),
];

/// Checks by name and wanted value, as `NAME=VALUE`.
type Wanting = BTreeSet<String>;

/// Fails where the built kernel, under either accelerator, lacks what is not recorded, or has what is
/// recorded as lacking. With `verdicts`, a file of the checker's own in JSON, those are judged instead.
///
/// # Errors
/// Where the record is wrong, and where a list, a source or the verdicts cannot be read.
pub fn check(workspace: &Workspace, verdicts: Option<&Path>) -> Result<()> {
    let record = recorded(&read(&workspace.root.join(RECORD))?)?;
    if let Some(path) = verdicts {
        let wanting = refused(&read(path)?).with_context(|| path.display().to_string())?;
        judge(&wanting, &record).with_context(|| path.display().to_string())?;
        progress::say(&format!(
            "the checker finds wanting what has its reason ({RECORD}), and no more"
        ));
        return Ok(());
    }
    let checks = asked(&read(&workspace.root.join(CHECKS))?)?;
    let config = read(&vmlinux(workspace)?.with_file_name("config"))?;
    for (accelerator, sources) in TOLD {
        let mut known = options(&config);
        for source in sources {
            let text = read(&workspace.root.join(source))?;
            known.extend(words(&text).with_context(|| (*source).to_owned())?);
        }
        let wanting: Wanting =
            checks.iter().filter(|it| !it.holds(&known)).map(Check::name).collect();
        judge(&wanting, &record).with_context(|| format!("the guest's kernel on {accelerator}"))?;
    }
    progress::say(&format!(
        "of {} checks {} hold; each of the others has its reason ({RECORD})",
        checks.len(),
        checks.len() - record.len()
    ));
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn judge(wanting: &Wanting, record: &Wanting) -> Result<()> {
    let unexplained =
        wanting.difference(record).map(|it| format!("{it} has no reason in {RECORD}"));
    let stale = record.difference(wanting).map(|it| format!("{it} is so: take it out of {RECORD}"));
    let complaints: Vec<String> = unexplained.chain(stale).collect();
    ensure!(complaints.is_empty(), "hardening is not as recorded:\n{}", complaints.join("\n"));
    Ok(())
}

/// One thing asked: any of these, of it all.
#[derive(Debug)]
struct Check(Vec<Vec<(String, String)>>);

impl Check {
    fn parse(line: &str) -> Result<Self> {
        let term = |text: &str| {
            let (name, value) =
                text.split_once('=').with_context(|| format!("no value: {line}"))?;
            ensure!(!text.contains(' ') && !value.is_empty(), "no check: {line}");
            Ok((name.to_owned(), value.to_owned()))
        };
        let all = |text: &str| text.split(" and ").map(term).collect::<Result<_>>();
        line.split(" or ").map(all).collect::<Result<_>>().map(Self)
    }

    /// That of its first option.
    fn name(&self) -> String {
        let (name, value) = &self.0[0][0];
        format!("{name}={value}")
    }

    fn holds(&self, known: &Options) -> bool {
        self.0.iter().any(|all| all.iter().all(|(name, wanted)| is(known, name, wanted)))
    }
}

fn is(known: &Options, name: &str, wanted: &str) -> bool {
    let value = known.get(name).and_then(Option::as_deref);
    match wanted {
        "n" => value.is_none(),
        "present" => known.contains_key(name),
        "not-off" => value.is_some_and(|it| it != "off" && it != "0"),
        _ => value == Some(wanted),
    }
}

fn asked(list: &str) -> Result<Vec<Check>> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let checks = lines.map(Check::parse).collect::<Result<Vec<_>>>()?;
    ensure!(!checks.is_empty(), "{CHECKS} asks nothing");
    Ok(checks)
}

/// The record; a line without a reason, behind it or above its block, is a mistake.
fn recorded(list: &str) -> Result<Wanting> {
    let mut record = Wanting::new();
    for block in list.split("\n\n") {
        let is_explained = block.starts_with('#');
        for line in block.lines().filter(|line| !line.starts_with('#')) {
            let (name, reason) = line.split_once('#').unwrap_or((line, ""));
            let has_reason = is_explained || !reason.trim().is_empty();
            ensure!(has_reason, "{RECORD}: no reason: {line}");
            let name = Check::parse(name.trim())?.name();
            ensure!(record.insert(name), "{RECORD}: twice: {line}");
        }
    }
    Ok(record)
}

/// A configuration's options, by the names that the checker's users know.
fn options(config: &str) -> Options {
    let bare = |name: String| name.trim_start_matches("CONFIG_").to_owned();
    configure::parse(config).into_iter().map(|(name, value)| (bare(name), value)).collect()
}

/// The words in a Rust source's constants that have CMDLINE in their names.
fn words(source: &str) -> Result<Options> {
    let lines = source.split(';').filter_map(|statement| {
        let (before, value) = statement.split_once(": &str =")?;
        let is_told = before.rsplit(' ').next()?.contains("CMDLINE");
        value.split('"').nth(1).filter(|_| is_told)
    });
    let words: Options = lines
        .flat_map(str::split_whitespace)
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
        .collect();
    ensure!(!words.is_empty(), "no command line stands in it any more");
    Ok(words)
}

/// What the checker, asked for JSON (`-m json`), found wanting.
fn refused(verdicts: &str) -> Result<Wanting> {
    let verdicts: Vec<Value> = serde_json::from_str(verdicts).context("no verdicts in JSON")?;
    ensure!(!verdicts.is_empty(), "no verdict in it");
    let mut wanting = Wanting::new();
    for verdict in &verdicts {
        let text =
            |key: &str| verdict[key].as_str().with_context(|| format!("no {key}: {verdict}"));
        let name = text("option_name")?.trim_start_matches("CONFIG_");
        let wanted = match text("desired_val")? {
            "is not set" => "n",
            "is not off" => "not-off",
            "is present" => "present",
            value => value,
        };
        let is_well = verdict["check_result_bool"].as_bool().context("no check_result_bool")?;
        if !is_well {
            wanting.insert(format!("{name}={wanted}"));
        }
    }
    Ok(wanting)
}

#[cfg(test)]
mod tests;
