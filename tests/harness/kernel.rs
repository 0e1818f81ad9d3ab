//! Kernels to boot instead of the built-in one: tiny ones that do one wrong thing, and the built-in
//! one under another name.
//!
//! Specification: System V ABI, chapter 5; Xen's PVH entry note, which QEMU asks of an ELF kernel.

use super::World;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

const LOAD_ADDRESS: u64 = 0x10_0000;
const CODE_OFFSET: u64 = 0x1000;

/// What a tiny kernel does; each is the same instruction in 32-bit and 64-bit mode.
#[derive(Debug, Clone, Copy)]
pub enum Misdeed {
    /// Jumps to itself.
    Spin,
    /// An invalid instruction, with nothing there to handle the fault.
    TripleFault,
}

/// Writes a tiny kernel; gives where.
pub fn tiny(world: &World, misdeed: Misdeed) -> PathBuf {
    let code: [u8; 2] = match misdeed {
        Misdeed::Spin => [0xeb, 0xfe],
        Misdeed::TripleFault => [0x0f, 0x0b],
    };
    let path = world.scratch_file("tiny-kernel");
    std::fs::write(&path, elf(&code)).expect("a kernel is written");
    path
}

fn elf(code: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; CODE_OFFSET as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    // e_ident: 64 bits, little-endian, version 1.
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &2u16.to_le_bytes());
    put(18, &62u16.to_le_bytes());
    put(20, &1u32.to_le_bytes());
    put(24, &LOAD_ADDRESS.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(52, &64u16.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &2u16.to_le_bytes());
    put(58, &64u16.to_le_bytes());
    let length = 4096u64;
    let mut segment = |at: usize, kind: u32, offset: u64, address: u64, size: u64| {
        put(at, &kind.to_le_bytes());
        put(at + 4, &5u32.to_le_bytes());
        for (index, value) in [offset, address, address, size, size, 4].into_iter().enumerate() {
            put(at + 8 + 8 * index, &value.to_le_bytes());
        }
    };
    segment(64, 1, CODE_OFFSET, LOAD_ADDRESS, length);
    segment(120, 4, 256, 0, 20);
    // The note: name size, description size, XEN_ELFNOTE_PHYS32_ENTRY, "Xen", the entry.
    put(256, &4u32.to_le_bytes());
    put(260, &4u32.to_le_bytes());
    put(264, &18u32.to_le_bytes());
    put(268, b"Xen\0");
    put(272, &(LOAD_ADDRESS as u32).to_le_bytes());
    bytes.extend_from_slice(code);
    bytes.resize((CODE_OFFSET + length) as usize, 0x90);
    bytes
}

/// Writes the built-in kernel with another release of the same length; gives where, and the release.
pub fn renamed(world: &World, release: &str) -> (PathBuf, String) {
    let binary = std::fs::File::open(&world.product).expect("the product opens");
    let part = payload::Payload::locate(&binary).expect("a kernel is appended").kernel;
    let mut kernel = vec![0u8; usize::try_from(part.length).expect("a kernel of some MiB")];
    binary.read_exact_at(&mut kernel, part.offset).expect("the kernel is read");
    let mut other = release.to_owned();
    other.replace_range(..1, "7");
    let (old, new) = (release.as_bytes(), other.as_bytes());
    let mut at = 0;
    while let Some(found) = find(&kernel[at..], old) {
        at += found;
        kernel[at..at + new.len()].copy_from_slice(new);
    }
    let path = world.scratch_file("renamed-kernel");
    std::fs::write(&path, kernel).expect("a kernel is written");
    (path, other)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
