//! Which accelerator runs the machine: what was asked for, or what proves to work.
//!
//! A KVM that is there but may not be opened is an error with its hint, never a silent fallback: the
//! fallback is slower and no hardware wall, and the user has most likely forgotten one flag.

use crate::cli::Accelerator;
use crate::error::Explain;
use crate::host::kvm::{self, DEVICE, DeviceOwner};
use crate::host::place::{QEMU, find_program};
use crate::jail::SpawnError;
use crate::jail::probe::{ProbeOutcome, probe};
use network::config::LinkKind;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;
use vmm::probe::Verdict;

/// Who runs the machine.
#[derive(Debug)]
pub enum Choice {
    /// Our VMM, on this open `/dev/kvm`.
    Kvm(File),
    /// QEMU's TCG.
    Tcg {
        /// QEMU's path.
        qemu: PathBuf,
        /// Why it is not KVM; `None` where TCG was asked for by name.
        reason: Option<String>,
    },
}

impl Choice {
    /// The kind of the link that a guest's network comes by.
    pub fn link(&self) -> LinkKind {
        match self {
            Choice::Kvm(_) => LinkKind::Packets,
            Choice::Tcg { .. } => LinkKind::Stream,
        }
    }

    /// How long a machine may take until its agent speaks. A good KVM takes well under a second, TCG a
    /// few: these are for a crowded place.
    pub fn boot_timeout(&self) -> Duration {
        match self {
            Choice::Kvm(_) => Duration::from_secs(30),
            Choice::Tcg { .. } => Duration::from_secs(120),
        }
    }
}

/// Why nothing can run a machine.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// The device is there, but may not be opened.
    #[error("cannot open {DEVICE}")]
    MayNotOpen {
        /// The device's owner, group and mode.
        owner: Option<DeviceOwner>,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// KVM was asked for by name, and the device is not there or not usable.
    #[error("cannot open {DEVICE}")]
    NotThere(#[source] Errno),
    /// The probe could not be run.
    #[error("cannot probe {DEVICE}")]
    Probe(#[from] SpawnError),
    /// TCG is what is left, and QEMU is not installed.
    #[error("cannot use QEMU's TCG{}: {QEMU} is not in PATH", instead(.reason))]
    NoQemu {
        /// Why it is not KVM.
        reason: Option<String>,
    },
}

impl Explain for ChooseError {
    fn hint(&self) -> Option<String> {
        match self {
            ChooseError::MayNotOpen { owner, .. } => owner.as_ref().map(DeviceOwner::access_hint),
            ChooseError::NotThere(_) => {
                Some("add --device /dev/kvm to the outer container, or use --accel auto".to_owned())
            }
            ChooseError::Probe(_) => None,
            ChooseError::NoQemu { reason: Some(_) } => Some(
                "add --device /dev/kvm to the outer container, or use the image cofferdam:tcg, \
                 which has QEMU"
                    .to_owned(),
            ),
            ChooseError::NoQemu { reason: None } => {
                Some("use the image cofferdam:tcg, which has QEMU".to_owned())
            }
        }
    }
}

/// Chooses. `path` is where programs are looked for (PATH).
///
/// # Errors
/// [`ChooseError`].
pub fn choose(wanted: Accelerator, path: &str) -> Result<Choice, ChooseError> {
    match wanted {
        Accelerator::Tcg => tcg(path, None),
        Accelerator::Kvm => match kvm::open() {
            Ok(device) => Ok(Choice::Kvm(device)),
            Err(errno) if is_refusal(errno) => Err(refused(errno)),
            Err(errno) => Err(ChooseError::NotThere(errno)),
        },
        Accelerator::Auto => match kvm::open() {
            Ok(device) => match unusable(&probe(device.as_fd())?) {
                None => Ok(Choice::Kvm(device)),
                Some(reason) => tcg(path, Some(reason)),
            },
            Err(errno) if is_refusal(errno) => Err(refused(errno)),
            Err(errno) => tcg(path, Some(format!("{DEVICE} cannot be opened ({errno})"))),
        },
    }
}

/// Why a probed KVM cannot run a machine; `None` where it can.
pub fn unusable(outcome: &ProbeOutcome) -> Option<String> {
    match outcome {
        ProbeOutcome::Measured(report) => match &report.verdict {
            Verdict::Usable => None,
            Verdict::Useless(why) => Some(format!("{DEVICE} is there but useless: {why}")),
        },
        ProbeOutcome::Refused(causes) => {
            Some(format!("{DEVICE} is there but: {}", causes.join(": ")))
        }
        ProbeOutcome::TimedOut => Some(format!("{DEVICE} is there but does not answer")),
        ProbeOutcome::Died => Some(format!("{DEVICE} is there but its probe died")),
    }
}

fn instead(reason: &Option<String>) -> String {
    reason.as_ref().map(|why| format!(" instead of KVM ({why})")).unwrap_or_default()
}

fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::ACCESS | Errno::PERM)
}

fn refused(source: Errno) -> ChooseError {
    let owner = kvm::owner();
    ChooseError::MayNotOpen { owner, source }
}

fn tcg(path: &str, reason: Option<String>) -> Result<Choice, ChooseError> {
    match find_program(QEMU, path) {
        Some(qemu) => Ok(Choice::Tcg { qemu, reason }),
        None => Err(ChooseError::NoQemu { reason }),
    }
}
