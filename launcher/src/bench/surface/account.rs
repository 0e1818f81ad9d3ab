//! KVM's exits as KVM itself counts them for whoever has the machine: fewer reasons than the kernel's tracing tells apart,
//! and nobody needs a right for it.

use super::SurfaceError;
use crate::bench::layer::Layer;
use crate::bench::patience::Patience;
use crate::bench::start::ended;
use ::bench::Counts;
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// An account that is longer is none of ours.
const MAX_ACCOUNT_BYTES: u64 = 1 << 20;
/// KVM's figure of all exits.
const ALL: &str = "exits";
/// Its figures of those for one reason each, and what we call them.
const REASONS: [(&str, &str); 7] = [
    ("halt_exits", "halt"),
    ("hypercalls", "hypercall"),
    ("io_exits", "port"),
    ("irq_exits", "interrupt"),
    ("irq_window_exits", "interrupt window"),
    ("mmio_exits", "register"),
    ("nmi_window_exits", "NMI window"),
];

/// How often each reason took KVM out of a guest that runs a script; nothing where there is no guest, or no KVM that tells.
///
/// # Errors
/// Where it fails.
pub fn exits(
    layer: &Layer,
    script: &str,
    within: Duration,
    patience: &Patience,
) -> Result<Option<Counts>, SurfaceError> {
    let file = memfd_create("account", MemfdFlags::CLOEXEC);
    let mut file = File::from(file.map_err(|error| SurfaceError::Account(error.into()))?);
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let Some(command) = layer.accounted(&["sh", "-c", script], &path) else { return Ok(None) };
    ended(command, within, patience)?;
    let mut text = String::new();
    file.rewind().map_err(SurfaceError::Account)?;
    file.take(MAX_ACCOUNT_BYTES).read_to_string(&mut text).map_err(SurfaceError::Account)?;
    let account: Value =
        serde_json::from_str(&text).map_err(|error| SurfaceError::Account(error.into()))?;
    Ok(by_reason(&account["kvm"]))
}

/// The reasons, which add up to all there were.
fn by_reason(kvm: &Value) -> Option<Counts> {
    let mut rest = kvm[ALL].as_u64()?;
    let mut counts = Counts::new();
    for (figure, name) in REASONS {
        let count = kvm[figure].as_u64().unwrap_or(0).min(rest);
        rest -= count;
        if count > 0 {
            counts.insert(name.to_owned(), count);
        }
    }
    counts.insert("other".to_owned(), rest);
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_add_up() {
        let kvm =
            json!({"exits": 100, "io_exits": 20, "mmio_exits": 30, "halt_exits": 0, "other": 7});
        let expected = [("other", 50), ("port", 20), ("register", 30)];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(by_reason(&kvm), Some(Counts::from(expected)));
        assert_eq!(by_reason(&json!({"exits": 5, "io_exits": 9})).unwrap()["port"], 5);
        assert_eq!(by_reason(&Value::Null), None);
    }
}
