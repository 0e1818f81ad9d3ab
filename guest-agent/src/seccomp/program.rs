//! Classic BPF instructions with forward jumps of any length.
//!
//! A condition is written as a jump over the code that holds where it is true; conditional jumps
//! reach 255 instructions, so each is followed by an unconditional one that reaches everywhere.

use libc::sock_filter;
use protocol::{SeccompAction, SeccompArgument, SeccompComparison};

// linux/bpf_common.h
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// linux/seccomp.h: struct seccomp_data.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;

/// Instructions in the making.
#[derive(Debug, Default)]
pub struct Program {
    instructions: Vec<sock_filter>,
}

/// What a comparison of one half of an argument leads to.
#[derive(Clone, Copy)]
enum Goal {
    /// On with the next instruction.
    On,
    /// The condition holds: past the rest of it.
    Holds,
    /// It does not: past the code that depends on it.
    Fails,
}

impl Program {
    /// The finished instructions.
    pub fn finish(self) -> Vec<sock_filter> {
        self.instructions
    }

    fn push(&mut self, code: u16, k: u32) -> usize {
        self.instructions.push(sock_filter { code, jt: 0, jf: 0, k });
        self.instructions.len() - 1
    }

    /// Makes an unconditional jump lead to the next instruction that is pushed.
    fn land(&mut self, jump: usize) {
        let distance = self.instructions.len().saturating_sub(jump + 1);
        if let Some(instruction) = self.instructions.get_mut(jump) {
            instruction.k = u32::try_from(distance).unwrap_or(u32::MAX);
        }
    }

    /// Loads the architecture of the call.
    pub fn load_architecture(&mut self) {
        self.push(LOAD_WORD, ARCHITECTURE_OFFSET);
    }

    /// Loads the number of the call.
    pub fn load_number(&mut self) {
        self.push(LOAD_WORD, NUMBER_OFFSET);
    }

    /// Keeps these bits of what is loaded.
    pub fn mask(&mut self, bits: u32) {
        self.push(AND, bits);
    }

    /// Code for where what is loaded equals `k`. What is loaded must not be needed after it.
    pub fn if_equal(&mut self, k: u32, body: impl FnOnce(&mut Self)) {
        self.guarded(JUMP_EQUAL, k, body);
    }

    /// Code for where what is loaded is at least `k`; it must end in a return.
    pub fn if_at_least(&mut self, k: u32, body: impl FnOnce(&mut Self)) {
        self.guarded(JUMP_AT_LEAST, k, body);
    }

    fn guarded(&mut self, code: u16, k: u32, body: impl FnOnce(&mut Self)) {
        self.instructions.push(sock_filter { code, jt: 1, jf: 0, k });
        let over = self.push(JUMP, 0);
        body(self);
        self.land(over);
    }

    /// Code for where all conditions hold.
    pub fn if_all(
        &mut self,
        conditions: &[SeccompArgument],
        narrow: bool,
        body: impl FnOnce(&mut Self),
    ) {
        let mut failures = Vec::new();
        for condition in conditions {
            self.condition(condition, narrow, &mut failures);
        }
        body(self);
        for jump in failures {
            self.land(jump);
        }
    }

    /// Ends with an action.
    pub fn act(&mut self, action: SeccompAction) {
        let value = match action {
            SeccompAction::Allow => libc::SECCOMP_RET_ALLOW,
            SeccompAction::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            SeccompAction::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            SeccompAction::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            SeccompAction::Trap => libc::SECCOMP_RET_TRAP,
            SeccompAction::Log => libc::SECCOMP_RET_LOG,
        };
        self.push(RETURN, value);
    }

    /// Ends the process.
    pub fn kill(&mut self) {
        self.act(SeccompAction::KillProcess);
    }

    /// One condition: jumps that are taken where it fails are added to `failures`.
    ///
    /// Arguments have 64 bits, loaded high half first; those of a 32-bit call (`narrow`) only the
    /// low half.
    fn condition(&mut self, condition: &SeccompArgument, narrow: bool, failures: &mut Vec<usize>) {
        use SeccompComparison as C;
        let (operand, mask) = match condition.comparison {
            C::MaskedEqual => (condition.value_two, Some(condition.value)),
            _ => (condition.value, None),
        };
        let mut holds = Vec::new();
        if !narrow {
            let (less, equal, greater) = match condition.comparison {
                C::Equal | C::MaskedEqual => (Goal::Fails, Goal::On, Goal::Fails),
                C::NotEqual => (Goal::Holds, Goal::On, Goal::Holds),
                C::LessThan | C::LessOrEqual => (Goal::Holds, Goal::On, Goal::Fails),
                C::GreaterThan | C::GreaterOrEqual => (Goal::Fails, Goal::On, Goal::Holds),
            };
            self.load_half(condition.index, mask, true);
            self.compare(high(operand), (less, equal, greater), (&mut holds, failures));
        }
        let goals = match condition.comparison {
            C::Equal | C::MaskedEqual => (Goal::Fails, Goal::On, Goal::Fails),
            C::NotEqual => (Goal::On, Goal::Fails, Goal::On),
            C::LessThan => (Goal::On, Goal::Fails, Goal::Fails),
            C::LessOrEqual => (Goal::On, Goal::On, Goal::Fails),
            C::GreaterThan => (Goal::Fails, Goal::Fails, Goal::On),
            C::GreaterOrEqual => (Goal::Fails, Goal::On, Goal::On),
        };
        self.load_half(condition.index, mask, false);
        self.compare(low(operand), goals, (&mut holds, failures));
        for jump in holds {
            self.land(jump);
        }
    }

    fn load_half(&mut self, index: u8, mask: Option<u64>, is_high: bool) {
        let half = if is_high { 4 } else { 0 };
        self.push(LOAD_WORD, ARGUMENTS_OFFSET + 8 * u32::from(index) + half);
        if let Some(mask) = mask {
            self.mask(if is_high { high(mask) } else { low(mask) });
        }
    }

    /// Compares what is loaded with `k`, and goes where less, equal and greater lead.
    fn compare(
        &mut self,
        k: u32,
        (less, equal, greater): (Goal, Goal, Goal),
        (holds, failures): (&mut Vec<usize>, &mut Vec<usize>),
    ) {
        let mut on = Vec::new();
        let mut lead = |program: &mut Self, goal: Goal| {
            let jump = program.push(JUMP, 0);
            match goal {
                Goal::On => on.push(jump),
                Goal::Holds => holds.push(jump),
                Goal::Fails => failures.push(jump),
            }
        };
        for (code, goal) in [(JUMP_GREATER, greater), (JUMP_EQUAL, equal)] {
            // Where it is so, the jump that follows is taken; else it is stepped over.
            self.instructions.push(sock_filter { code, jt: 0, jf: 1, k });
            lead(self, goal);
        }
        lead(self, less);
        for jump in on {
            self.land(jump);
        }
    }
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}
