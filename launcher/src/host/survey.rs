//! Everything that is asked of this place, for `doctor`.

use super::HostFacts;
use super::cgroup::Limits;
use super::kvm::{self, KvmFacts};
use super::network::{self, NetworkFacts};
use super::place::{self, LandlockFacts, QemuFacts, StateDirFacts};
use super::process::ProcessFacts;
use payload::{Payload, PayloadError};
use rustix::process::{PidfdFlags, pidfd_open};
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;

/// Everything that is asked of this place.
#[derive(Debug)]
pub struct Survey {
    /// What `run` resolves its arguments against.
    pub host: HostFacts,
    /// All limits of its cgroups.
    pub limits: Limits,
    /// `/dev/kvm`.
    pub kvm: KvmFacts,
    /// What the probe found; `None` where it was not run, because the device does not open.
    pub probe: Option<KvmProbe>,
    /// This process.
    pub process: ProcessFacts,
    /// What this place knows of networks.
    pub network: NetworkFacts,
    /// Which groups may send an echo without a privilege; `None` where the kernel does not say.
    pub echo_groups: Option<RangeInclusive<u32>>,
    /// Landlock.
    pub landlock: LandlockFacts,
    /// Whether a process can filter its own system calls.
    pub own_filters: bool,
    /// The state directory.
    pub state_dir: StateDirFacts,
    /// The size of /dev/shm, in bytes.
    pub shared_memory_bytes: Option<u64>,
    /// QEMU, where it is installed.
    pub qemu: Option<QemuFacts>,
    /// The kernel's release.
    pub kernel_release: String,
    /// Why this program has no guest to boot.
    pub no_guest: Option<PayloadError>,
    /// The system calls that are needed, may be denied, and are.
    pub denied_calls: Vec<&'static str>,
}

/// What the probe found.
#[derive(Debug, Clone, PartialEq)]
pub struct KvmProbe {
    /// What KVM refused, or lacks, before an instruction of a guest was run.
    pub refused: Option<String>,
    /// Why this KVM cannot run a machine; `None` where it can.
    pub useless: Option<String>,
    /// How many million instructions a second its ring 0 runs, where that was measured.
    pub mips: Option<f64>,
}

impl Survey {
    /// Asks everything but the probe, which is a process of its own.
    pub fn ask(state_dir: &Path, search_path: &str) -> Self {
        Self {
            host: HostFacts::ask(),
            limits: Limits::read(Path::new("/")),
            kvm: kvm::ask(),
            probe: None,
            process: ProcessFacts::ask(),
            network: NetworkFacts::ask(),
            echo_groups: network::echo_groups(),
            landlock: LandlockFacts::ask(),
            own_filters: crate::sys::has_filters(),
            state_dir: StateDirFacts::ask(state_dir),
            shared_memory_bytes: place::file_system_bytes("/dev/shm"),
            qemu: QemuFacts::ask(search_path),
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
            no_guest: no_guest().err(),
            denied_calls: denied_calls(),
        }
    }
}

fn no_guest() -> Result<(), PayloadError> {
    let program = File::open("/proc/self/exe").map_err(PayloadError::Read)?;
    Payload::locate(&program).map(|_| ())
}

/// Calls that engines' filters of some age do not know.
fn denied_calls() -> Vec<&'static str> {
    let pidfd = pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let tried =
        [("pidfd_open", pidfd.is_err()), ("close_range", crate::sys::try_close_range().is_err())];
    tried.into_iter().filter(|(_, denied)| *denied).map(|(name, _)| name).collect()
}
