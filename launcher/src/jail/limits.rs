//! Resource limits of our processes: on whatever a process that was taken over could let run away.
//!
//! Owns: the numbers. They are kept in `getrlimit(2)`'s units, and soft and hard limit are the same: no
//! process of ours raises one again.

use super::Role;
use crate::sys::Heap;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

const MIB: u64 = 1 << 20;
/// How much address space an unpack process may have, in bytes: a hostile layer gets no more.
const UNPACK_ADDRESS_SPACE: u64 = 1024 * MIB;
/// The same for a fetch process and a hostile registry.
const FETCH_ADDRESS_SPACE: u64 = 512 * MIB;
/// The probe's machine is a few pages.
const PROBE_ADDRESS_SPACE: u64 = 256 * MIB;
/// What a process has beside its guest's memory: program, stacks, heap. Stacks are reserved, not used.
const BESIDE_GUEST_MEMORY: u64 = 1024 * MIB;
/// The heap of a process that serves a guest, in bytes. What its socket device keeps for a host that does
/// not read is most of it, 256 KiB for each of 1024 connections at most. Reserved, not used.
const HEAP: i32 = 320 << 20;
/// More than any process is handed, and makes itself.
const DESCRIPTORS: u64 = 1024;
/// One that shares directories has one for each of many files that a guest knows.
const SHARE_DESCRIPTORS: u64 = 1 << 16;
/// Its memory beside the guest's: what a guest can have it know of files is most of it.
const SHARE_DATA: u64 = 2048 * MIB;

/// One that carries a network has one for each flow of the guest's: as many as there may be.
const NETWORK_DESCRIPTORS: u64 = 1 << 20;
/// Its memory: what waits in each direction of each flow is most of it.
const NETWORK_DATA: u64 = 512 * MIB;
/// Of that, what it keeps when nothing waits, in bytes: what each packet takes comes and goes.
const NETWORK_SLACK: i32 = 2 << 20;

/// Sets what a process of this role needs no first message to know.
///
/// # Errors
/// Where the kernel refuses.
pub(super) fn at_start(role: Role) -> Result<(), Errno> {
    set(Resource::Core, 0)?;
    set(Resource::Msgqueue, 0)?;
    set(Resource::Memlock, 0)?;
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let most = match role {
        Role::Share => SHARE_DESCRIPTORS,
        Role::Network => NETWORK_DESCRIPTORS,
        _ => DESCRIPTORS,
    };
    set(Resource::Nofile, hard.map_or(most, |hard| hard.min(most)))?;
    match role {
        Role::Unpack => set(Resource::As, UNPACK_ADDRESS_SPACE),
        Role::Fetch => set(Resource::As, FETCH_ADDRESS_SPACE),
        Role::Probe => set(Resource::As, PROBE_ADDRESS_SPACE),
        Role::Share => set(Resource::Data, SHARE_DATA),
        Role::Network => set(Resource::Data, NETWORK_DATA),
        Role::Vmm | Role::Devices | Role::Qemu => Ok(()),
    }
}

/// What becomes of the heap of a process of this role.
pub(super) fn heap(role: Role) -> Heap {
    match role {
        Role::Vmm | Role::Devices => Heap::Reserved(HEAP),
        Role::Network => Heap::Slack(NETWORK_SLACK),
        Role::Probe | Role::Unpack | Role::Fetch | Role::Share | Role::Qemu => Heap::Free,
    }
}

/// Bounds the address space of a process that maps so much guest memory.
///
/// # Errors
/// Where the kernel refuses.
pub(super) fn around_guest_memory(memory_mib: u32) -> Result<(), Errno> {
    set(Resource::As, u64::from(memory_mib) * MIB + BESIDE_GUEST_MEMORY)
}

fn set(resource: Resource, most: u64) -> Result<(), Errno> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}
