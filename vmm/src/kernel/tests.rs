use super::*;
use crate::config::FdSlot;
use crate::memory;
use proptest::prelude::*;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use vm_memory::Bytes;

const MEMORY_END: u64 = 8 << 20;
const ENTRY: u64 = 0x20_0000;
const CODE: &[u8] = b"the first instructions";

/// An honest kernel: two segments, the second with more memory than file.
fn honest() -> Vec<u8> {
    let mut file = vec![0; 0x1000];
    let mut put = |at: usize, bytes: &[u8]| {
        file.splice(at..at + bytes.len(), bytes.iter().copied());
    };
    put(0, b"\x7fELF\x02\x01");
    put(18, &crate::arch::ELF_MACHINE.to_le_bytes());
    put(24, &ENTRY.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &3u16.to_le_bytes());
    let segments = [
        (1u32, 0x800u64, ENTRY, CODE.len() as u64, CODE.len() as u64),
        (4, 0, 0, u64::MAX, 0),
        (1, 0x900, 0x30_0000, 4, 0x1234),
    ];
    for (index, (kind, offset, address, file_bytes, memory_bytes)) in segments.iter().enumerate() {
        let at = 64 + 56 * index;
        put(at, &kind.to_le_bytes());
        for (field, value) in [(8, offset), (24, address), (32, file_bytes), (40, memory_bytes)] {
            put(at + field, &value.to_le_bytes());
        }
    }
    put(0x800, CODE);
    put(0x900, b"data");
    file
}

fn load(bytes: &[u8]) -> (Memory, Result<LoadedKernel, KernelError>) {
    let memory = memory::create(MEMORY_END).unwrap();
    let file = file(bytes);
    let extent = FileExtent { file: FdSlot(0), offset: 3, length: bytes.len() as u64 };
    let result = load_kernel(&memory, Source { file: file.as_fd(), extent }, MEMORY_END);
    (memory, result)
}

/// A file in which the bytes begin at 3 and something follows.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"...").unwrap();
    file.write_all(bytes).unwrap();
    file.write_all(&[0xee; 0x2000]).unwrap();
    file
}

fn with(at: usize, bytes: &[u8]) -> Result<LoadedKernel, KernelError> {
    let mut file = honest();
    file.splice(at..at + bytes.len(), bytes.iter().copied());
    load(&file).1
}

#[test]
fn an_honest_kernel_is_where_it_said() {
    let (memory, kernel) = load(&honest());
    assert_eq!(kernel.unwrap(), LoadedKernel { entry: ENTRY, end: 0x30_1234 });
    let mut bytes = [0; 22];
    memory.read_slice(&mut bytes, GuestAddress(ENTRY)).unwrap();
    assert_eq!(bytes, CODE);
    let mut bytes = [0xff; 6];
    memory.read_slice(&mut bytes, GuestAddress(0x30_0000)).unwrap();
    assert_eq!(&bytes, b"data\0\0");
}

#[test]
fn what_is_no_kernel_is_named() {
    for (at, bytes) in [
        (0, b"MZ".as_slice()),
        (4, &[1]),
        (5, &[2]),
        (18, &[183, 0]),
        (54, &[32, 0]),
        (56, &[0, 0]),
        (56, &[65, 0]),
    ] {
        assert!(matches!(with(at, bytes), Err(KernelError::NotAKernel { .. })), "{at} {bytes:?}");
    }
    assert!(matches!(load(b"\x7fELF").1, Err(KernelError::Read { .. })));
    assert!(matches!(with(32, &u64::MAX.to_le_bytes()), Err(KernelError::Read { .. })));
    assert!(matches!(with(32, &4090u64.to_le_bytes()), Err(KernelError::Read { .. })));
}

#[test]
fn a_segment_outside_its_file_is_refused() {
    let segment = |field: usize, value: u64| with(64 + field, &value.to_le_bytes());
    assert!(matches!(segment(8, 0xff0), Err(KernelError::Outside { index: 0, .. })));
    assert!(matches!(segment(8, u64::MAX - 3), Err(KernelError::Outside { .. })));
    assert!(matches!(segment(32, 23), Err(KernelError::Outside { .. })), "more file than memory");
    assert!(matches!(segment(32, u64::MAX), Err(KernelError::Outside { .. })));
}

#[test]
fn a_segment_where_no_memory_is_for_it_is_refused() {
    let segment = |field: usize, value: u64| with(64 + 112 + field, &value.to_le_bytes());
    for address in [0, 0x472, 0xf_ffff, MEMORY_END - 0x1233, u64::MAX, u64::MAX - 0x1000] {
        assert!(
            matches!(segment(24, address), Err(KernelError::Misplaced { index: 2, .. })),
            "{address:#x}"
        );
    }
    assert!(segment(24, MEMORY_END - 0x1234).is_ok());
    assert!(matches!(segment(40, u64::MAX), Err(KernelError::Misplaced { .. })));
}

#[test]
fn an_entry_in_no_segment_is_refused() {
    for entry in [0, ENTRY - 1, ENTRY + CODE.len() as u64, u64::MAX] {
        assert!(matches!(with(24, &entry.to_le_bytes()), Err(KernelError::Entry { .. })));
    }
}

#[test]
fn the_initramfs_goes_high_and_never_over_the_kernel() {
    let memory = memory::create(MEMORY_END).unwrap();
    let bytes = vec![7; 5000];
    let file = file(&bytes);
    let extent = FileExtent { file: FdSlot(0), offset: 3, length: 5000 };
    let initramfs = Source { file: file.as_fd(), extent };
    let address = load_initramfs(&memory, initramfs, 0x30_0000, MEMORY_END).unwrap();
    assert_eq!(address, MEMORY_END - 0x2000);
    let mut loaded = vec![0; 5001];
    memory.read_slice(&mut loaded, GuestAddress(address)).unwrap();
    assert_eq!((&loaded[..5000], loaded[5000]), (bytes.as_slice(), 0));

    let tight = load_initramfs(&memory, initramfs, MEMORY_END - 0x1fff, MEMORY_END);
    assert!(matches!(tight, Err(KernelError::NoRoom { .. })));
    let extent = FileExtent { length: u64::MAX, ..extent };
    let huge = load_initramfs(&memory, Source { extent, ..initramfs }, 0, MEMORY_END);
    assert!(matches!(huge, Err(KernelError::NoRoom { .. })));
    let extent = FileExtent { length: 20_000, ..extent };
    let short = load_initramfs(&memory, Source { extent, ..initramfs }, 0, MEMORY_END);
    assert!(matches!(short, Err(KernelError::Read { .. })));
}

proptest! {
    #[test]
    fn no_file_is_loaded_over_the_first_megabyte(
        changes in prop::collection::vec((0usize..232, any::<u8>()), 1..12)
    ) {
        let mut bytes = honest();
        for (at, value) in changes {
            bytes[at] = value;
        }
        let (memory, result) = load(&bytes);
        let mut low = vec![0xff; 1 << 20];
        memory.read_slice(&mut low, GuestAddress(0)).unwrap();
        prop_assert!(low.iter().all(|byte| *byte == 0));
        if let Ok(kernel) = result {
            prop_assert!(kernel.end <= MEMORY_END && kernel.entry < kernel.end);
        }
    }
}
