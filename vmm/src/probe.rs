//! Is this KVM any good? A few instructions in the guest's ring 0 and a counted loop tell.
//!
//! A KVM under a hypervisor without nested virtualisation may interpret ring 0, slowly and not all of
//! it: it looks like any other until a kernel is to boot on it. Whoever asks does so in a process of
//! its own under a deadline: a KVM that misbehaves may keep this from ever returning.

use crate::arch::{ArchError, probe as program};
use crate::kvm::{self, KvmError};
use crate::memory::{self, MemoryError};
use kvm_ioctls::{VcpuExit, VcpuFd};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Slower than this is interpreted: the slowest real processor does hundreds.
const SLOWEST_MIPS: f64 = 20.0;
/// The loop is measured so often and the best counts: one may be interrupted.
const MEASUREMENTS: u32 = 3;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Whether a kernel can be expected to run.
    pub verdict: Verdict,
    /// How many million instructions a second the loop ran at; 0 where it was not reached.
    pub loop_mips: f64,
}

/// Whether a kernel can be expected to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It can.
    Usable,
    /// It cannot, and why.
    Useless(String),
}

/// Why nothing could be found out.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// KVM is not what we need.
    #[error("cannot make a virtual machine")]
    Kvm(#[from] KvmError),
    /// There is no guest memory.
    #[error("cannot give the machine memory")]
    Memory(#[from] MemoryError),
    /// The vCPU cannot be set up.
    #[error("cannot set a processor up")]
    Arch(#[from] ArchError),
}

/// Runs the probe on an open `/dev/kvm`.
///
/// # Errors
/// [`ProbeError`] where no machine can be made at all. One that misbehaves is a report.
pub fn measure(kvm: OwnedFd) -> Result<ProbeReport, ProbeError> {
    let kvm = kvm::open(kvm)?;
    let machine = kvm::create_machine(&kvm, 1)?;
    let memory = memory::create(program::MEMORY_BYTES)?;
    memory::register(&machine, &memory)?;
    let mut vcpu = program::prepare(&kvm, &machine, &memory)?;
    let mut loop_mips = 0.0;
    let verdict = match run(&mut vcpu, &mut loop_mips) {
        Err(reason) => Verdict::Useless(reason),
        Ok(()) if loop_mips < SLOWEST_MIPS => Verdict::Useless(format!(
            "the guest's ring 0 runs at {loop_mips:.1} million instructions a second: it is interpreted"
        )),
        Ok(()) => Verdict::Usable,
    };
    Ok(ProbeReport { verdict, loop_mips })
}

fn run(vcpu: &mut VcpuFd, loop_mips: &mut f64) -> Result<(), String> {
    if expect_write(vcpu, program::RESULT_PORT)? != program::RIGHT {
        return Err("instructions in the guest's ring 0 gave wrong results".to_owned());
    }
    let instructions = f64::from(program::LOOP_ROUNDS * program::LOOP_INSTRUCTIONS);
    for _ in 0..MEASUREMENTS {
        expect_write(vcpu, program::LOOP_PORT)?;
        let begin = Instant::now();
        expect_write(vcpu, program::LOOP_PORT)?;
        let mips = instructions / begin.elapsed().as_secs_f64() / 1e6;
        *loop_mips = loop_mips.max(mips);
    }
    Ok(())
}

/// Runs until a byte is written to `port`, which is what has to come next.
fn expect_write(vcpu: &mut VcpuFd, port: u16) -> Result<u8, String> {
    loop {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(written, [byte])) if written == port => return Ok(*byte),
            Ok(VcpuExit::InternalError) => {
                return Err("kvm could not emulate an instruction of the guest's ring 0".to_owned());
            }
            Ok(other) => return Err(format!("the guest's ring 0 ended in {other:?}")),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {}
            Err(error) => return Err(format!("the guest could not run: {error}")),
        }
    }
}
