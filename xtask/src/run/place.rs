//! What this machine lets an unprivileged container have of its KVM.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};

use crate::engine::Engine;
use crate::process;

const KVM: &str = "/dev/kvm";

/// How the launcher is started here.
pub struct Place {
    /// The engine's flags: what the outer container is.
    pub flags: Vec<String>,
    /// The outer image.
    pub image: &'static str,
    /// The launcher's own flags.
    pub launcher_flags: Vec<&'static str>,
    /// Why, for the person.
    pub verdict: String,
}

impl Place {
    /// Looks at the KVM, and lets the launcher's own doctor judge it from where it will stand.
    pub fn survey(engine: &Engine) -> Result<Self> {
        let mut place = Self {
            flags: unprivileged_flags(),
            image: "cofferdam:tcg",
            launcher_flags: Vec::new(),
            verdict: String::new(),
        };
        let known = match fs::metadata(KVM) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                place.verdict = format!("there is no {KVM}: QEMU emulates the microVM, slower");
                return Ok(place);
            }
            known => known.with_context(|| format!("cannot look at {KVM}"))?,
        };
        let (may_group, may_others) =
            (known.mode() & 0o060 == 0o060, known.mode() & 0o006 == 0o006);
        if !may_group && !may_others {
            place.launcher_flags = vec!["--accel", "tcg"];
            place.verdict = format!(
                "{KVM} is {:04o}, its owner's alone, and the launcher is not root: --accel tcg is added \
                 (`chmod 660 {KVM}` would let a group have it)",
                known.mode() & 0o777
            );
            return Ok(place);
        }
        place.flags.extend(["--device".to_owned(), KVM.to_owned()]);
        if !may_others {
            place.flags.extend(["--group-add".to_owned(), group_flag(engine, known.gid())]);
        }
        let mut doctor = engine.run();
        doctor.args(&place.flags).args(["cofferdam:latest", "doctor"]);
        if process::capture(&mut doctor).is_ok() {
            place.image = "cofferdam:latest";
            place.verdict = format!("{KVM} works in there: the microVM stands behind hardware");
        } else {
            place.verdict =
                format!("{KVM} opens but does not serve: QEMU stands by for --accel auto");
        }
        Ok(place)
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
