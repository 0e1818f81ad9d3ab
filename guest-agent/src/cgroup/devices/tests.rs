//! The program is run by an interpreter written from the kernel's documentation of eBPF.

use super::*;

const READ: u32 = 2;
const WRITE: u32 = 4;
const MKNOD: u32 = 1;
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;

fn allows(kind: u32, access: u32, major: u32, minor: u32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0u64; 11];
    let program = program();
    let mut at = 0usize;
    loop {
        let Instruction { code, registers: pair, offset, immediate } = program[at];
        let (to, from) = ((pair & 15) as usize, (pair >> 4) as usize);
        at += 1;
        let value = immediate as u64;
        match code {
            0x61 => registers[to] = u64::from(context[offset as usize / 4]),
            0xbf => registers[to] = registers[from],
            0xb7 => registers[to] = value,
            0x57 => registers[to] &= value,
            0x77 => registers[to] >>= value,
            0x55 if registers[to] != value => at += offset as usize,
            0x15 if registers[to] == value => at += offset as usize,
            0x55 | 0x15 => {}
            0x95 => return registers[0] != 0,
            other => panic!("instruction {other:#x}"),
        }
    }
}

#[test]
fn the_standard_devices_may_be_opened() {
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        assert!(allows(CHARACTER, READ | WRITE, major, minor), "{major}:{minor}");
        assert!(!allows(BLOCK, READ, major, minor), "{major}:{minor} as a disk");
    }
    assert!(allows(CHARACTER, READ | WRITE, 136, 0) && allows(CHARACTER, READ, 136, 4095));
}

#[test]
fn others_may_be_made_and_not_opened() {
    let others = [
        (BLOCK, 254, 0),
        (BLOCK, 7, 0),
        (CHARACTER, 1, 1),
        (CHARACTER, 1, 11),
        (CHARACTER, 10, 200),
    ];
    for (kind, major, minor) in others {
        assert!(allows(kind, MKNOD, major, minor), "{major}:{minor}");
        for access in [READ, WRITE, READ | WRITE, MKNOD | READ] {
            assert!(!allows(kind, access, major, minor), "{major}:{minor} for {access}");
        }
    }
    assert!(!allows(CHARACTER, READ, 5, 3) && !allows(CHARACTER, READ, 137, 0));
}
