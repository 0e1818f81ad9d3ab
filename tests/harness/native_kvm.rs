//! What this machine's own KVM is, as `cofferdam doctor` sees it: some cases have a premise of it.

use super::{Where, World};
use serde_json::Value;

/// This machine's KVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NativeKvm {
    /// It runs machines.
    Works,
    /// It opens, and does not.
    Useless,
    /// It is there, and may not be opened.
    Refused,
    /// There is none.
    Absent,
}

impl NativeKvm {
    /// Asks once for all cases.
    pub fn ask(world: &World) -> Self {
        let output = world.command(&[
            "doctor",
            "--json",
            "--state-dir",
            &world.state().display().to_string(),
        ]);
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("doctor --json: {error}: {}", output.stderr));
        match (check(&said, "kvm-open"), said["accelerator"].as_str()) {
            (None, _) => Self::Absent,
            (Some("ok"), Some("kvm")) => Self::Works,
            (Some("ok"), _) => Self::Useless,
            _ => Self::Refused,
        }
    }

    /// Why a case of such a place cannot be tested here; `None` where it can.
    pub fn is_wrong_for(self, place: Where) -> Option<&'static str> {
        match (place, self) {
            (Where::AutoTcg, Self::Works) => {
                Some("--accel auto takes this machine's KVM, which works")
            }
            (Where::AutoTcg | Where::OpenKvm, Self::Refused) => {
                Some("this user may not open this machine's /dev/kvm")
            }
            (Where::OpenKvm, Self::Absent) => Some("this machine has no /dev/kvm"),
            _ => None,
        }
    }
}

/// The status of one of doctor's checks, where it was made.
pub fn check<'v>(report: &'v Value, name: &str) -> Option<&'v str> {
    let checks = report["checks"].as_array()?;
    checks.iter().find(|it| it["name"] == name).and_then(|it| it["status"].as_str())
}
