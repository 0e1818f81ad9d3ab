//! Machines of a few instructions each: every way a machine ends, through the crate's front door.
//!
//! They need a KVM that works, so `cargo test` alone leaves them out; `make test` runs this program in
//! the reference host. By hand, where there is one: `cargo test --package vmm --test machine`.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};
use vmm::virtio::vsock::Offers;
use vmm::{BootError, FdSlot, FileExtent, Vm, VmConfig, VmExit};

const ENTRY: u32 = 0x20_0000;

/// mov al, 0x2a; out 0xf4, al; hlt
const STOP: &[u8] = &[0xb0, 0x2a, 0xe6, 0xf4, 0xf4];
/// mov al, 0xfe; out 0x64, al; hlt
const RESET: &[u8] = &[0xb0, 0xfe, 0xe6, 0x64, 0xf4];
/// mov word [0x472], 0x1234
const MARK: &[u8] = &[0x66, 0xc7, 0x04, 0x25, 0x72, 0x04, 0x00, 0x00, 0x34, 0x12];
/// ud2, with no interrupt table to go to
const FAULT: &[u8] = &[0x0f, 0x0b];
/// again: jmp again
const SPIN: &[u8] = &[0xeb, 0xfe];
/// cli; again: hlt; jmp again
const SLEEP: &[u8] = &[0xfa, 0xf4, 0xeb, 0xfd];

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
    let kvm = open_kvm();
    let kernel = kernel(&code.concat());
    let whole = |slot, length| FileExtent { file: FdSlot(slot), offset: 0, length };
    let length = kernel.metadata().unwrap().len();
    let config = VmConfig {
        kvm: FdSlot(0),
        memory_mib: 64,
        vcpus,
        kernel: whole(1, length),
        initramfs: whole(1, length),
        cmdline: Vec::new(),
        disks: Vec::new(),
        console: console.is_some().then_some(FdSlot(2)),
    };
    let mut files = vec![kvm.into(), kernel.into()];
    files.extend(console.map(Into::into));
    vmm::boot(&config, files, Offers::new()).unwrap()
}

#[track_caller]
fn ends_in(code: &[&[u8]], expected: VmExit) {
    assert_eq!(boot(1, code, None).wait(), expected);
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

/// Every vCPU thread is brought out of the guest, the busy one and those that were never started.
#[test]
fn a_machine_that_goes_on_for_ever_is_stopped_from_outside() {
    for (vcpus, code) in [(1, SPIN), (1, SLEEP), (32, SPIN)] {
        let vm = boot(vcpus, &[code], None);
        let stopper = vm.stopper();
        let begin = Instant::now();
        let outside = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            stopper.stop(VmExit::Hung);
        });
        assert_eq!(vm.wait(), VmExit::Hung);
        assert!(begin.elapsed() >= Duration::from_millis(50));
        outside.join().unwrap();
    }
}

/// The race that a kick has to win: the stop comes at any time around the entry to the guest.
#[test]
fn a_stop_is_never_missed() {
    for round in 0..40 {
        let vm = boot(2, &[SPIN], None);
        let stopper = vm.stopper();
        let outside = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(round * 25));
            stopper.stop(VmExit::Hung);
        });
        assert_eq!(vm.wait(), VmExit::Hung);
        outside.join().unwrap();
    }
}

/// mov dx, 0x3f8; mov al, 'x'; out dx, al
const PRINT: &[u8] = &[0x66, 0xba, 0xf8, 0x03, 0xb0, b'x', 0xee];

#[test]
fn the_early_log_is_there_only_when_asked_for() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let console = log.reopen().unwrap();
    assert_eq!(boot(1, &[PRINT, PRINT, STOP], Some(console)).wait(), VmExit::Stopped);
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
        console: None,
    };
    let null = File::open("/dev/null").unwrap();
    let refusal = vmm::boot(&config, vec![kernel.into(), null.into()], Offers::new());
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
