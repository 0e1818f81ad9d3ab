//! Which devices the processes of a container's cgroup may open: an eBPF program on the cgroup, as
//! cgroup v2 has it. Without it, CAP_MKNOD, which Docker grants by default, would open the disks.
//!
//! Pure: [`program`] makes instructions and loads nothing. Follows Docker's default list: any node
//! may be made; only those listed may be opened. See linux/bpf.h, `struct bpf_cgroup_dev_ctx`.

/// One eBPF instruction: struct bpf_insn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Character devices that may be opened: major number, and minor number where it is not any.
const ALLOWED: [(i32, Option<i32>); 9] = [
    (1, Some(3)), // null
    (1, Some(5)), // zero
    (1, Some(7)), // full
    (1, Some(8)), // random
    (1, Some(9)), // urandom
    (5, Some(0)), // tty
    (5, Some(1)), // console
    (5, Some(2)), // ptmx
    (136, None),  // pts
];

// Instruction codes.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE_REGISTER: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
const JUMP_UNEQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const JUMP_EQUAL: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// Registers: the result, the context, and what is loaded from it.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const KIND_CHARACTER: i32 = 2;
const ACCESS_MKNOD: i32 = 1;

/// The program for a container that may use only the standard devices.
pub fn program() -> Vec<Instruction> {
    let mut code = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        instruction(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(JUMP_UNEQUAL, ACCESS, 0, 2, ACCESS_MKNOD),
    ];
    code.extend(end(true));
    // What is no character device is refused; JUMP_EQUAL steps over that.
    code.push(instruction(JUMP_EQUAL, KIND, 0, 2, KIND_CHARACTER));
    code.extend(end(false));
    for (major, minor) in ALLOWED {
        match minor {
            None => code.push(instruction(JUMP_UNEQUAL, MAJOR, 0, 2, major)),
            Some(minor) => {
                code.push(instruction(JUMP_UNEQUAL, MAJOR, 0, 3, major));
                code.push(instruction(JUMP_UNEQUAL, MINOR, 0, 2, minor));
            }
        }
        code.extend(end(true));
    }
    code.extend(end(false));
    code
}

fn end(allowed: bool) -> [Instruction; 2] {
    [instruction(MOVE, RESULT, 0, 0, i32::from(allowed)), instruction(EXIT, 0, 0, 0, 0)]
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, immediate }
}

#[cfg(test)]
mod tests;
