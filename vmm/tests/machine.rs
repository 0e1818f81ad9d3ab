//! Machines of a few instructions each: every way a machine ends, through the crate's front door.
//!
//! They need a KVM that works, so `cargo test` alone leaves them out; `make test` runs this program in
//! the reference host. By hand, where there is one: `cargo test --package vmm --test machine`.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};
use vmm::virtio::vsock::Offers;
use vmm::{BootError, Console, FdSlot, FileExtent, Heard, Threads, Vm, VmConfig, VmExit};

const ENTRY: u32 = 0x20_0000;

/// mov al, 0x2a; out 0xf4, al; hlt
const STOP: &[u8] = &[0xb0, 0x2a, 0xe6, 0xf4, 0xf4];
/// mov al, 0xfe; out 0x64, al; hlt
const RESET: &[u8] = &[0xb0, 0xfe, 0xe6, 0x64, 0xf4];
/// mov word [0x472], 0x1234
const MARK: &[u8] = &[0x66, 0xc7, 0x04, 0x25, 0x72, 0x04, 0x00, 0x00, 0x34, 0x12];
/// ud2, with no interrupt table to go to
const FAULT: &[u8] = &[0x0f, 0x0b];

/// A kernel of one segment that holds these instructions.
fn kernel(code: &[u8]) -> File {
    let mut bytes = vec![0; 120];
    let mut put = |at: usize, field: &[u8]| {
        bytes.splice(at..at + field.len(), field.iter().copied());
    };
    put(0, b"\x7fELF\x02\x01");
    put(18, &[62, 0]);
    put(24, &ENTRY.to_le_bytes());
    put(32, &[64]);
    put(54, &[56, 0, 1, 0]);
    put(64, &[1]);
    put(72, &[120]);
    put(88, &ENTRY.to_le_bytes());
    put(96, &code.len().to_le_bytes());
    put(104, &code.len().to_le_bytes());
    bytes.extend(code);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file
}

fn open_kvm() -> File {
    let kvm = File::options().read(true).write(true).open("/dev/kvm");
    kvm.expect("these tests need a /dev/kvm that can be opened")
}

fn boot(vcpus: u8, code: &[&[u8]], console: Option<File>) -> Vm {
    boot_with(64, vcpus, code, console)
}

fn boot_with(memory_mib: u32, vcpus: u8, code: &[&[u8]], console: Option<File>) -> Vm {
    let kvm = open_kvm();
    let kernel = kernel(&code.concat());
    let whole = |slot, length| FileExtent { file: FdSlot(slot), offset: 0, length };
    let length = kernel.metadata().unwrap().len();
    let config = VmConfig {
        kvm: FdSlot(0),
        memory_mib,
        vcpus,
        kernel: whole(1, length),
        initramfs: whole(1, length),
        cmdline: Vec::new(),
        disks: Vec::new(),
        shares: None,
        network: None,
        console: console.is_some().then_some(Console { heard: Heard::Everything, file: FdSlot(2) }),
    };
    let mut files = vec![kvm.into(), kernel.into()];
    files.extend(console.map(Into::into));
    vmm::boot(&config, files, Offers::new(), Threads::unconfined()).unwrap()
}

#[track_caller]
fn ends_in(code: &[&[u8]], expected: VmExit) {
    assert_eq!(boot(1, code, None).run().exit, expected);
}

#[test]
fn an_orderly_stop() {
    ends_in(&[STOP], VmExit::Stopped);
}

#[test]
fn a_reset() {
    ends_in(&[RESET], VmExit::Reset);
}

#[test]
fn a_reset_after_a_panic() {
    ends_in(&[MARK, RESET], VmExit::Panicked);
}

#[test]
fn a_fault_that_cannot_be_delivered() {
    ends_in(&[FAULT], VmExit::TripleFault);
}

#[test]
fn a_panic_that_could_not_even_reset() {
    ends_in(&[MARK, FAULT], VmExit::Panicked);
}

#[test]
fn an_orderly_stop_whatever_was_marked_before() {
    ends_in(&[MARK, STOP], VmExit::Stopped);
}

/// What the other processors do at 0x10000, in real mode, after they were started:
/// lock inc byte [0x100]; again: jmp again
const SPIN: &[u8] = &[0xf0, 0xfe, 0x06, 0x00, 0x01, 0xeb, 0xfe];
/// lock inc byte [0x100]; cli; again: hlt; jmp again
const SLEEP: &[u8] = &[0xf0, 0xfe, 0x06, 0x00, 0x01, 0xfa, 0xf4, 0xeb, 0xfd];

/// Starts all other processors on `code`, which is at most 16 bytes, and waits until they have begun.
fn start_others(count: u8, code: &[u8]) -> Vec<u8> {
    let mut program = Vec::new();
    for (at, bytes) in (0x1_0000u32..).step_by(4).zip(code.chunks(4)) {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        program.extend([0xc7, 0x04, 0x25]); // mov dword [at], word
        program.extend(at.to_le_bytes());
        program.extend(word);
    }
    program.extend([
        0xb9, 0x1b, 0x00, 0x00, 0x00, // mov ecx, IA32_APIC_BASE
        0x0f, 0x32, // rdmsr
        0x0d, 0x00, 0x0c, 0x00, 0x00, // or eax, x2APIC mode
        0x0f, 0x30, // wrmsr
        0xb9, 0x30, 0x08, 0x00, 0x00, // mov ecx, x2APIC ICR
        0x31, 0xd2, // xor edx, edx
        0xb8, 0x00, 0x45, 0x0c, 0x00, // mov eax, INIT to all others
        0x0f, 0x30, // wrmsr
        0xb8, 0x10, 0x46, 0x0c, 0x00, // mov eax, STARTUP at 0x10000 to all others
        0x0f, 0x30, // wrmsr
        0x80, 0x3c, 0x25, 0x00, 0x01, 0x00, 0x00, count, // again: cmp byte [0x100], count
        0x75, 0xf6, // jne again
    ]);
    program
}

/// mov ecx, rounds; again: dec ecx; jnz again
fn pause(rounds: u32) -> Vec<u8> {
    [&[0xb9], rounds.to_le_bytes().as_slice(), &[0xff, 0xc9, 0x75, 0xfc]].concat()
}

/// Every vCPU thread is brought out of the guest: the busy ones, those that sleep, and those that were
/// never started.
#[test]
fn when_one_processor_ends_the_machine_all_are_stopped() {
    for (vcpus, code) in [(4, SPIN), (32, SLEEP)] {
        let vm = boot(vcpus, &[&start_others(vcpus - 1, code), STOP], None);
        assert_eq!(vm.run().exit, VmExit::Stopped);
        assert_eq!(boot(vcpus, &[STOP], None).run().exit, VmExit::Stopped);
    }
}

/// The race that a kick has to win: the stop comes at any time around the others' entries to the guest.
#[test]
fn a_stop_is_never_missed() {
    for round in 0..6 {
        let vm = boot(2, &[&start_others(1, SPIN), &pause(round * 2000), STOP], None);
        assert_eq!(vm.run().exit, VmExit::Stopped);
    }
}

/// KVM's nested virtualisation is the host's attack surface: no guest is told that there is any.
#[test]
fn a_guest_sees_no_virtualisation_extensions() {
    const LOOK: &[u8] = &[
        0xb8, 0x01, 0x00, 0x00, 0x00, // mov eax, 1
        0x0f, 0xa2, // cpuid
        0x0f, 0xba, 0xe1, 0x05, // bt ecx, VMX
        0x72, 0x12, // jc there
        0xb8, 0x01, 0x00, 0x00, 0x80, // mov eax, 0x80000001
        0x0f, 0xa2, // cpuid
        0x0f, 0xba, 0xe1, 0x02, // bt ecx, SVM
        0x72, 0x05, // jc there
    ];
    assert_eq!(STOP.len(), 5);
    // there:
    ends_in(&[LOOK, STOP, RESET], VmExit::Stopped);
}

/// Writes to the first bytes above 4 GiB and reads them again, by a page table of its own at 0x30000.
#[test]
fn memory_above_the_hole_is_memory() {
    const TOUCH: &[u8] = &[
        0x48, 0xb8, 0x83, 0, 0, 0, 1, 0, 0, 0, // mov rax, 4 GiB | present, writable, 2 MiB
        0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x03, 0x00, // mov [0x30000], rax
        0xb8, 0x03, 0x00, 0x03, 0x00, // mov eax, 0x30000 | present, writable
        0x48, 0x89, 0x04, 0x25, 0x20, 0xa0, 0x00,
        0x00, // mov [third-level table + 4 * 8], rax
        0x48, 0xbb, 0, 0, 0, 0, 1, 0, 0, 0, // mov rbx, 4 GiB
        0xc7, 0x03, 0x78, 0x56, 0x34, 0x12, // mov dword [rbx], 0x12345678
        0x0f, 0x09, // wbinvd
        0x81, 0x3b, 0x78, 0x56, 0x34, 0x12, // cmp dword [rbx], 0x12345678
        0x75, 0x05, // jne wrong
    ];
    let machine = |memory_mib| boot_with(memory_mib, 1, &[TOUCH, STOP, RESET], None).run().exit;
    assert_eq!(machine(3 * 1024 + 2), VmExit::Stopped);
    assert_eq!(machine(3 * 1024), VmExit::Reset, "there is none with 3 GiB");
}

/// mov dx, 0x3f8; mov al, 'x'; out dx, al
const PRINT: &[u8] = &[0x66, 0xba, 0xf8, 0x03, 0xb0, b'x', 0xee];

#[test]
fn the_early_log_is_there_only_when_asked_for() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let console = log.reopen().unwrap();
    let vm = boot(1, &[PRINT, PRINT, STOP], Some(console));
    assert_eq!(vm.run().exit, VmExit::Stopped);
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "xx");
    ends_in(&[PRINT, STOP], VmExit::Stopped);
}

#[test]
fn what_is_no_kvm_is_refused() {
    let kernel = kernel(STOP);
    let length = kernel.metadata().unwrap().len();
    let whole = FileExtent { file: FdSlot(0), offset: 0, length };
    let config = VmConfig {
        kvm: FdSlot(1),
        memory_mib: 64,
        vcpus: 1,
        kernel: whole,
        initramfs: whole,
        cmdline: Vec::new(),
        disks: Vec::new(),
        shares: None,
        network: None,
        console: None,
    };
    let null = File::open("/dev/null").unwrap();
    let refusal =
        vmm::boot(&config, vec![kernel.into(), null.into()], Offers::new(), Threads::unconfined());
    assert!(matches!(refusal.err(), Some(BootError::Kvm(vmm::KvmError::Version { .. }))));
}

/// The probe comes to a verdict, and soon, on whatever KVM is here.
#[test]
fn the_probe_ends_within_its_time() {
    let kvm = open_kvm();
    let begin = Instant::now();
    let report = vmm::probe::measure(kvm.into()).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{report:?}");
    let usable = report.verdict == vmm::probe::Verdict::Usable;
    assert_eq!(usable, report.loop_mips >= 20.0, "{report:?}");
}
