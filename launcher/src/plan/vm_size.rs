//! How large the VM is: `--vm-memory`, `--vm-cpus`, and what they default to.
//!
//! The outer container's limit covers the VM: guest memory, the page tables and threads of the VMM,
//! and the launcher's processes. Guest memory is only taken as the guest touches it, but a guest
//! fills what it has with cached files; so what it is given must fit.
//!
//! | memory | |
//! |---|---|
//! | the outer container has a limit | the limit less [`overhead_bytes`]: who sets a limit means it to be used (as Kata sizes a VM by its pod) |
//! | it has none | half of the machine's memory, at most 2 GiB (Kata's default; Docker Desktop takes half) |
//! | `--memory` asks for more | that and [`GUEST_OWN_BYTES`], if it fits |
//!
//! CPUs: as many as this process may use (affinity, and the quota rounded up), or as `--cpus` asks for
//! if that is more; 1 to 32. On TCG, where one thread runs them all, one is as fast as several, and that is the default.

use super::size::{self, MIB, SIZE_HINT, SizeError, show};
use crate::cli::{Accelerator, RunArgs};
use crate::error::Explain;
use crate::host::{CpuFacts, MemoryFacts};
use protocol::Resources;

/// What QEMU takes for itself, beside the guest's memory: its cache of translated code, which is told
/// how large it may be, and the program.
const QEMU_BYTES: u64 = CODE_CACHE_MIB as u64 * MIB + 32 * MIB;
/// How much code that QEMU has translated it may keep. It would take a gibibyte.
pub const CODE_CACHE_MIB: u32 = 64;

/// The least a guest kernel of ours boots in.
pub const MIN_MEMORY_MIB: u32 = 64;
/// What the launcher's processes take.
const OWN_BYTES: u64 = 48 * MIB;
/// The most CPUs a VM has.
pub const MAX_VCPUS: u8 = 32;
/// What the guest's kernel and agent need beside the container.
pub const GUEST_OWN_BYTES: u64 = 64 * MIB;
/// The default where nothing limits this place.
const UNLIMITED_DEFAULT_BYTES: u64 = 2048 * MIB;
/// The most that can be asked for: what fits the configuration's type.
const MAX_MEMORY_BYTES: u64 = 16 << 40;

/// The VM's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmSize {
    /// Guest memory, in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub vcpus: u8,
}

/// Why no VM fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VmSizeError {
    /// `--vm-memory` is no size.
    #[error("--vm-memory")]
    Memory(#[source] SizeError),
    /// It is too small.
    #[error("--vm-memory {0:?} is less than 64m, in which the guest kernel does not boot")]
    MemoryTooSmall(String),
    /// It is more than this place has.
    #[error("--vm-memory {typed} is more than {what} of {}", show(*.has))]
    MemoryTooLarge {
        /// What was typed.
        typed: String,
        /// What limits it.
        what: &'static str,
        /// How much that is, in bytes.
        has: u64,
    },
    /// The container's limit does not fit the VM.
    #[error("--memory {memory} does not fit a VM of --vm-memory {vm_memory}")]
    MemoryOverVm {
        /// `--memory`, as typed.
        memory: String,
        /// `--vm-memory`, as typed.
        vm_memory: String,
    },
    /// The container's limit does not fit this place.
    #[error("--memory {memory} does not fit: a VM here can have {}", show(*.ceiling))]
    MemoryOverPlace {
        /// `--memory`, as typed.
        memory: String,
        /// The largest VM, in bytes.
        ceiling: u64,
    },
    /// This place is too small for any VM.
    #[error("the memory limit of {} leaves no room for a VM", show(*.limit))]
    PlaceTooSmall {
        /// The limit, in bytes.
        limit: u64,
        /// QEMU is to run the VM.
        is_tcg: bool,
    },
    /// `--vm-cpus` is no number in its range.
    #[error("--vm-cpus {0:?} is no number from 1 to {MAX_VCPUS}")]
    Cpus(String),
    /// The container's limit exceeds the VM.
    #[error("--cpus {cpus} is more than the VM has by --vm-cpus {vm_cpus}")]
    CpusOverVm {
        /// `--cpus`, as typed.
        cpus: String,
        /// `--vm-cpus`, as typed.
        vm_cpus: String,
    },
}

impl Explain for VmSizeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            VmSizeError::Memory(_) => SIZE_HINT.into(),
            VmSizeError::MemoryTooSmall(_) => "a number without a unit is bytes: write 256m".into(),
            VmSizeError::MemoryTooLarge { .. } => {
                "ask for less, or give the outer container more (docker run --memory)".into()
            }
            VmSizeError::MemoryOverVm { .. } => {
                "leave --vm-memory out, and the VM is made large enough".into()
            }
            VmSizeError::MemoryOverPlace { .. } => {
                "ask for less, or give the outer container more (docker run --memory)".into()
            }
            VmSizeError::PlaceTooSmall { is_tcg, .. } => {
                let needed = show(least_limit(*is_tcg).next_multiple_of(MIB));
                format!("give the outer container at least {needed} (docker run --memory)")
            }
            VmSizeError::Cpus(_) => "leave it out, and the VM has the CPUs of this place".into(),
            VmSizeError::CpusOverVm { .. } => {
                "leave --vm-cpus out, and the VM is given enough".into()
            }
        })
    }
}

/// What a VM costs this place beside its guest's memory: the launcher's processes, and an eighth of
/// the limit for page tables and the files of layers and state, at most 512 MiB. On TCG, QEMU too.
pub fn overhead_bytes(limit_bytes: u64, is_tcg: bool) -> u64 {
    let qemu = if is_tcg { QEMU_BYTES } else { 0 };
    OWN_BYTES + qemu + (limit_bytes / 8).min(512 * MIB)
}

/// The smallest limit that a VM fits in.
fn least_limit(is_tcg: bool) -> u64 {
    let qemu = if is_tcg { QEMU_BYTES } else { 0 };
    (u64::from(MIN_MEMORY_MIB) * MIB + OWN_BYTES + qemu) * 8 / 7
}

/// Resolves the VM's size, and says what may go wrong with it.
///
/// # Errors
/// [`VmSizeError`].
pub fn resolve(
    args: &RunArgs,
    resources: &Resources,
    memory: &MemoryFacts,
    cpus: &CpuFacts,
    warnings: &mut Vec<String>,
) -> Result<VmSize, VmSizeError> {
    let bytes = match &args.vm_memory {
        Some(typed) => typed_memory(typed, args, resources, memory, warnings)?,
        None => default_memory(args, resources, memory)?,
    };
    let memory_mib = u32::try_from(bytes / MIB).unwrap_or(u32::MAX);
    Ok(VmSize { memory_mib, vcpus: vcpus(args, resources, cpus)? })
}

fn typed_memory(
    typed: &str,
    args: &RunArgs,
    resources: &Resources,
    memory: &MemoryFacts,
    warnings: &mut Vec<String>,
) -> Result<u64, VmSizeError> {
    let bytes = size::parse(typed).map_err(VmSizeError::Memory)?;
    if bytes < u64::from(MIN_MEMORY_MIB) * MIB {
        return Err(VmSizeError::MemoryTooSmall(typed.to_owned()));
    }
    let (what, has) = match memory.limit_bytes {
        Some(limit) if limit < memory.total_bytes => ("this container's memory limit", limit),
        _ => ("this machine's memory", memory.total_bytes),
    };
    if bytes > has.min(MAX_MEMORY_BYTES) {
        return Err(VmSizeError::MemoryTooLarge { typed: typed.to_owned(), what, has });
    }
    if let Some(limit) = memory.limit_bytes
        && bytes > limit.saturating_sub(overhead_bytes(limit, is_tcg(args)))
    {
        warnings.push(format!(
            "--vm-memory {typed} nearly fills this container's memory limit of {}: if the guest uses \
             it all, the host kernel kills the VM",
            show(limit)
        ));
    }
    match (&args.memory, resources.memory_bytes) {
        (Some(limit), Some(limit_bytes)) if limit_bytes > bytes => {
            Err(VmSizeError::MemoryOverVm { memory: limit.clone(), vm_memory: typed.to_owned() })
        }
        _ => Ok(bytes),
    }
}

/// The largest VM that fits this place, in bytes, and whether something limits it.
fn ceiling(memory: &MemoryFacts, is_tcg: bool) -> Result<(u64, bool), VmSizeError> {
    let limited = memory.limit_bytes.filter(|&limit| limit < memory.total_bytes);
    let available = limited.unwrap_or(memory.total_bytes);
    let ceiling = available.saturating_sub(overhead_bytes(available, is_tcg)).min(MAX_MEMORY_BYTES);
    let ceiling = ceiling - ceiling % MIB;
    if ceiling < u64::from(MIN_MEMORY_MIB) * MIB {
        return Err(VmSizeError::PlaceTooSmall { limit: available, is_tcg });
    }
    Ok((ceiling, limited.is_some()))
}

/// The memory of a VM where nobody says anything of it, in bytes.
///
/// # Errors
/// [`VmSizeError::PlaceTooSmall`].
pub fn default_memory_bytes(memory: &MemoryFacts, is_tcg: bool) -> Result<u64, VmSizeError> {
    let (ceiling, is_limited) = ceiling(memory, is_tcg)?;
    if is_limited {
        return Ok(ceiling);
    }
    let half = memory.total_bytes / 2;
    let default = ceiling.min((half - half % MIB).min(UNLIMITED_DEFAULT_BYTES));
    Ok(default.max(u64::from(MIN_MEMORY_MIB) * MIB))
}

fn default_memory(
    args: &RunArgs,
    resources: &Resources,
    memory: &MemoryFacts,
) -> Result<u64, VmSizeError> {
    let default = default_memory_bytes(memory, is_tcg(args))?;
    let Some(asked) = resources.memory_bytes else { return Ok(default) };
    let needed = asked.saturating_add(GUEST_OWN_BYTES).next_multiple_of(MIB);
    let (ceiling, _) = ceiling(memory, is_tcg(args))?;
    if needed > ceiling {
        let memory = args.memory.clone().unwrap_or_default();
        return Err(VmSizeError::MemoryOverPlace { memory, ceiling });
    }
    Ok(default.max(needed))
}

/// Whether QEMU is known to run the VM. What `auto` comes to is known once it has chosen.
fn is_tcg(args: &RunArgs) -> bool {
    args.accel == Accelerator::Tcg
}

/// The CPUs of a VM where nobody says anything of them.
pub fn default_vcpus(facts: &CpuFacts, is_tcg: bool) -> u8 {
    fitted(facts, 0, is_tcg)
}

/// As many as are of use in this place, or as are asked for if that is more.
fn fitted(facts: &CpuFacts, asked: u64, is_tcg: bool) -> u8 {
    let quota = facts.quota_micros.map_or(u64::MAX, |micros| micros.div_ceil(1_000_000));
    let useful = if is_tcg { 1 } else { u64::from(facts.usable).min(quota) };
    let count = useful.max(asked).clamp(1, u64::from(MAX_VCPUS));
    u8::try_from(count).unwrap_or(MAX_VCPUS)
}

fn vcpus(args: &RunArgs, resources: &Resources, facts: &CpuFacts) -> Result<u8, VmSizeError> {
    let asked = resources.cpu_micros.map_or(0, |micros| micros.div_ceil(1_000_000));
    if let Some(typed) = &args.vm_cpus {
        let count = typed.parse::<u8>().ok().filter(|count| (1..=MAX_VCPUS).contains(count));
        let count = count.ok_or_else(|| VmSizeError::Cpus(typed.clone()))?;
        return match &args.cpus {
            Some(cpus) if asked > u64::from(count) => {
                Err(VmSizeError::CpusOverVm { cpus: cpus.clone(), vm_cpus: typed.clone() })
            }
            _ => Ok(count),
        };
    }
    Ok(fitted(facts, asked, is_tcg(args)))
}
