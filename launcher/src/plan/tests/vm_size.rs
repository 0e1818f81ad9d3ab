//! The VM's memory and CPUs.

use super::*;
use crate::plan::vm_size::{MAX_VCPUS, MIN_MEMORY_MIB, overhead_bytes};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn place(total: u64, limit: Option<u64>, usable: u32, quota_micros: Option<u64>) -> HostFacts {
    HostFacts {
        memory: MemoryFacts { total_bytes: total, limit_bytes: limit },
        cpus: CpuFacts { usable, quota_micros },
        terminal: TerminalFacts::default(),
    }
}

fn resolve(line: &[&str], facts: &HostFacts) -> Result<RunPlan, String> {
    RunPlan::resolve(&args(line), &NamedInputs::default(), facts)
        .map_err(|error| Failure::from(error).to_string())
}

fn memory(line: &[&str], facts: &HostFacts) -> u32 {
    resolve(line, facts).unwrap().sandbox.vm.memory_mib
}

fn vcpus(line: &[&str], facts: &HostFacts) -> u8 {
    resolve(line, facts).unwrap().sandbox.vm.vcpus
}

#[test]
fn memory_without_a_limit_is_half_of_it_and_at_most_2_gib() {
    assert_eq!(memory(&[], &place(16 * GIB, None, 1, None)), 2048);
    assert_eq!(memory(&[], &place(2 * GIB, None, 1, None)), 1024);
    assert_eq!(memory(&[], &place(16 * GIB, Some(64 * GIB), 1, None)), 2048);
}

#[test]
fn memory_with_a_limit_is_the_limit_less_what_we_need() {
    assert_eq!(memory(&[], &place(16 * GIB, Some(GIB), 1, None)), 1024 - 48 - 128);
    assert_eq!(memory(&[], &place(16 * GIB, Some(8 * GIB), 1, None)), 8192 - 48 - 512);
    assert_eq!(memory(&[], &place(16 * GIB, Some(128 * MIB), 1, None)), 64);
}

#[test]
fn qemu_wants_memory_of_its_own() {
    let facts = place(16 * GIB, Some(GIB), 1, None);
    assert_eq!(memory(&["--accel", "tcg"], &facts), 1024 - 48 - 128 - 96);
    let small = place(16 * GIB, Some(128 * MIB), 1, None);
    assert!(resolve(&["--accel", "tcg"], &small).unwrap_err().contains("at least 238 MiB"));
}

#[test]
fn the_containers_limit_grows_the_default() {
    let facts = place(16 * GIB, None, 1, None);
    assert_eq!(memory(&["-m", "512m"], &facts), 2048);
    assert_eq!(memory(&["-m", "4g"], &facts), 4096 + 64);
}

#[test]
fn cpus_are_those_of_this_place() {
    assert_eq!(vcpus(&[], &place(GIB, None, 4, None)), 4);
    assert_eq!(vcpus(&[], &place(GIB, None, 4, Some(1_500_000))), 2);
    assert_eq!(vcpus(&[], &place(GIB, None, 4, Some(200_000))), 1);
    assert_eq!(vcpus(&[], &place(GIB, None, 128, None)), 32);
    assert_eq!(vcpus(&["--cpus", "5.1"], &place(GIB, None, 4, None)), 6);
    assert_eq!(vcpus(&["--vm-cpus", "9"], &place(GIB, None, 4, None)), 9);
    // One thread of QEMU's runs them all.
    assert_eq!(vcpus(&["--accel", "tcg"], &place(GIB, None, 4, None)), 1);
    assert_eq!(vcpus(&["--accel", "tcg", "--cpus", "1.5"], &place(GIB, None, 4, None)), 2);
    assert_eq!(vcpus(&["--accel", "tcg", "--vm-cpus", "3"], &place(GIB, None, 4, None)), 3);
}

#[test]
fn a_typed_size_that_nearly_fills_the_limit_is_warned_of() {
    let facts = place(16 * GIB, Some(GIB), 1, None);
    let plan = resolve(&["--vm-memory", "1000m"], &facts).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "--vm-memory 1000m nearly fills this container's memory limit of 1 GiB: if the guest uses it \
          all, the host kernel kills the VM"
        ]
    );
    assert!(resolve(&["--vm-memory", "512m"], &facts).unwrap().warnings.is_empty());
}

#[test]
fn what_cannot_be_is_refused_in_two_lines() {
    let limited = place(16 * GIB, Some(GIB), 1, None);
    for (line, facts, expected) in [
        (
            &["--vm-memory", "63m"][..],
            &limited,
            "cofferdam: --vm-memory \"63m\" is less than 64m, in which the guest kernel does not boot\n\
             hint: a number without a unit is bytes: write 256m\n",
        ),
        (
            &["--vm-memory", "2g"],
            &limited,
            "cofferdam: --vm-memory 2g is more than this container's memory limit of 1 GiB\n\
             hint: ask for less, or give the outer container more (docker run --memory)\n",
        ),
        (
            &["--vm-memory", "17g"],
            &place(16 * GIB, None, 1, None),
            "cofferdam: --vm-memory 17g is more than this machine's memory of 16 GiB\n\
             hint: ask for less, or give the outer container more (docker run --memory)\n",
        ),
        (
            &["--memory", "512m", "--vm-memory", "256m"],
            &limited,
            "cofferdam: --memory 512m does not fit a VM of --vm-memory 256m\n\
             hint: leave --vm-memory out, and the VM is made large enough\n",
        ),
        (
            &["--memory", "900m"],
            &limited,
            "cofferdam: --memory 900m does not fit: a VM here can have 848 MiB\n\
             hint: ask for less, or give the outer container more (docker run --memory)\n",
        ),
        (
            &[],
            &place(16 * GIB, Some(100 * MIB), 1, None),
            "cofferdam: the memory limit of 100 MiB leaves no room for a VM\n\
             hint: give the outer container at least 128 MiB (docker run --memory)\n",
        ),
        (
            &["--vm-cpus", "33"],
            &limited,
            "cofferdam: --vm-cpus \"33\" is no number from 1 to 32\n\
             hint: leave it out, and the VM has the CPUs of this place\n",
        ),
        (
            &["--cpus", "2.5", "--vm-cpus", "2"],
            &limited,
            "cofferdam: --cpus 2.5 is more than the VM has by --vm-cpus 2\n\
             hint: leave --vm-cpus out, and the VM is given enough\n",
        ),
    ] {
        assert_eq!(resolve(line, facts).unwrap_err(), expected, "{line:?}");
    }
}

proptest! {
    /// Whatever the place, a default VM fits it with what is needed beside it, or is refused.
    #[test]
    fn a_default_vm_always_fits(
        total_mib in 32u64..200_000,
        limit_mib in prop::option::of(1u64..200_000),
        usable in 0u32..300,
        quota in prop::option::of(0u64..100_000_000),
    ) {
        let facts = place(total_mib * MIB, limit_mib.map(|mib| mib * MIB), usable, quota);
        let available = total_mib.min(limit_mib.unwrap_or(u64::MAX)) * MIB;
        let smallest = u64::from(MIN_MEMORY_MIB) * MIB + overhead_bytes(available, false);
        match resolve(&[], &facts) {
            Ok(plan) => {
                let vm = plan.sandbox.vm;
                let bytes = u64::from(vm.memory_mib) * MIB;
                prop_assert!(vm.memory_mib >= MIN_MEMORY_MIB);
                prop_assert!(bytes + overhead_bytes(available, false) <= available);
                prop_assert!((1..=MAX_VCPUS).contains(&vm.vcpus));
            }
            Err(message) => {
                prop_assert!(available < smallest, "{}", message);
            }
        }
    }
}
