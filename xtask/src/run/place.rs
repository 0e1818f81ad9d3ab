//! What this machine lets an unprivileged container have of its KVM.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::STATE_VOLUME;
use crate::engine::Engine;
use crate::process;

const KVM: &str = "/dev/kvm";
const WITH_QEMU: &str = "cofferdam:tcg";

/// Who runs the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accelerator {
    /// KVM.
    Kvm,
    /// QEMU's TCG.
    Tcg,
}

/// How the launcher is started here.
pub struct Place {
    /// The engine's flags: what the outer container is.
    pub flags: Vec<String>,
    /// The outer image.
    pub image: &'static str,
    /// Who will run the VM.
    pub accelerator: Accelerator,
    /// Whether the launcher is told so, or finds out for itself.
    is_named: bool,
    /// Why, for the person.
    pub verdict: String,
}

impl Place {
    /// Looks at the KVM, and lets the launcher's own doctor judge it from where it will stand.
    pub fn survey(engine: &Engine, wanted: Option<Accelerator>) -> Result<Self> {
        let mut place = Self {
            flags: unprivileged_flags(),
            image: WITH_QEMU,
            accelerator: Accelerator::Tcg,
            is_named: wanted.is_some(),
            verdict: "--accel tcg, as asked for".to_owned(),
        };
        if wanted == Some(Accelerator::Tcg) {
            return Ok(place);
        }
        match fs::metadata(KVM) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                place.verdict = format!("there is no {KVM}: QEMU emulates the microVM, slower");
            }
            known => {
                place.with_kvm(engine, &known.with_context(|| format!("cannot look at {KVM}"))?)?
            }
        }
        if wanted == Some(Accelerator::Kvm) && place.accelerator != Accelerator::Kvm {
            bail!("no KVM for the launcher here: {}", place.verdict);
        }
        Ok(place)
    }

    fn with_kvm(&mut self, engine: &Engine, known: &fs::Metadata) -> Result<()> {
        let (may_group, may_others) =
            (known.mode() & 0o060 == 0o060, known.mode() & 0o006 == 0o006);
        if !may_group && !may_others {
            self.is_named = true;
            self.verdict = format!(
                "{KVM} is {:04o}, its owner's alone, and the launcher is not root: --accel tcg is added \
                 (`chmod 660 {KVM}` would let a group have it)",
                known.mode() & 0o777
            );
            return Ok(());
        }
        self.flags.extend(["--device".to_owned(), KVM.to_owned()]);
        if !may_others {
            self.flags.extend(["--group-add".to_owned(), group_flag(engine, known.gid())]);
        }
        let mut doctor: Command = engine.run();
        doctor.args(&self.flags).args(["--volume", STATE_VOLUME, WITH_QEMU, "doctor", "--json"]);
        let (_, said, complaint) = process::output(&mut doctor)?;
        let report = serde_json::from_str(&said)
            .with_context(|| format!("doctor says no JSON: {said}{complaint}"))?;
        let (accelerator, is_named, verdict) = diagnosis(&report)?;
        self.accelerator = accelerator;
        self.is_named |= is_named;
        self.verdict = verdict;
        if accelerator == Accelerator::Kvm {
            self.image = "cofferdam:latest";
        }
        Ok(())
    }

    /// The launcher's own flags.
    pub fn accelerator_flags(&self) -> &'static [&'static str] {
        match (self.is_named, self.accelerator) {
            (false, _) => &[],
            (true, Accelerator::Kvm) => &["--accel", "kvm"],
            (true, Accelerator::Tcg) => &["--accel", "tcg"],
        }
    }
}

/// What the launcher's doctor said from where it will stand: who runs the VM, whether the launcher is to
/// be told, and why. A KVM that is good is named, so that the launcher cannot quietly do without it.
fn diagnosis(report: &Value) -> Result<(Accelerator, bool, String)> {
    let summary = report["summary"].as_str().context("doctor says nothing")?;
    let failed: Vec<&Value> = report["checks"]
        .as_array()
        .context("doctor checked nothing")?
        .iter()
        .filter(|check| check["status"] == "fail")
        .collect();
    let words = |check: &&Value| {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {} (hint: {})", text("name"), text("value"), text("hint"))
    };
    match report["accelerator"].as_str() {
        Some("kvm") => Ok((Accelerator::Kvm, true, format!("doctor, in there: {summary}"))),
        Some("tcg") => Ok((Accelerator::Tcg, false, format!("doctor, in there: {summary}"))),
        // The group was given, and yet: an engine's user namespace, or another framework.
        _ if !failed.is_empty() && failed.iter().all(|check| check["name"] == "kvm-open") => {
            let words: Vec<String> = failed.iter().map(words).collect();
            let verdict = format!("{}; --accel tcg is added", words.join("; "));
            Ok((Accelerator::Tcg, true, verdict))
        }
        _ => {
            let words: Vec<String> = failed.iter().map(words).collect();
            bail!("doctor, in the outer container: {summary}\n{}", words.join("\n"))
        }
    }
}

fn unprivileged_flags() -> Vec<String> {
    [
        ["--user", "1000:1000"],
        ["--cap-drop", "all"],
        ["--security-opt", "no-new-privileges"],
        ["--network", "none"],
    ]
    .concat()
    .into_iter()
    .chain(["--read-only"])
    .map(str::to_owned)
    .collect()
}

/// A rootless podman cannot give a group that its user namespace does not map; it can keep the user's.
fn group_flag(engine: &Engine, gid: u32) -> String {
    if engine.name() == "podman" && !rustix::process::geteuid().is_root() {
        return "keep-groups".to_owned();
    }
    gid.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(accelerator: Option<&str>, failed: &[&str]) -> Value {
        let check =
            |name: &&str| json!({ "name": name, "status": "fail", "value": "v", "hint": "h" });
        let mut checks: Vec<Value> = failed.iter().map(check).collect();
        checks.push(json!({ "name": "kernel", "status": "ok", "value": "6" }));
        json!({ "accelerator": accelerator, "summary": "because", "checks": checks })
    }

    #[test]
    fn a_good_kvm_is_named_and_a_bad_one_says_why() {
        let (accelerator, is_named, _) = diagnosis(&report(Some("kvm"), &[])).unwrap();
        assert_eq!((accelerator, is_named), (Accelerator::Kvm, true));
        let (accelerator, is_named, verdict) = diagnosis(&report(Some("tcg"), &[])).unwrap();
        assert_eq!((accelerator, is_named), (Accelerator::Tcg, false));
        assert!(verdict.contains("because"), "{verdict}");
    }

    #[test]
    fn a_kvm_that_may_not_be_opened_is_done_without_and_said() {
        let (accelerator, is_named, verdict) = diagnosis(&report(None, &["kvm-open"])).unwrap();
        assert_eq!((accelerator, is_named), (Accelerator::Tcg, true));
        assert!(verdict.contains("kvm-open: v (hint: h)"), "{verdict}");
    }

    #[test]
    fn anything_else_that_fails_ends_the_demo() {
        for failed in [&["kvm-open", "state-directory"][..], &["memory"], &[]] {
            assert!(diagnosis(&report(None, failed)).is_err(), "{failed:?}");
        }
        assert!(diagnosis(&json!({})).is_err());
    }
}
